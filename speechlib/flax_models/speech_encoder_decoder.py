"""SpeechEncoderDecoder (Wang et al. 2021, "Large-Scale Self- and Semi-Supervised Learning for
Speech Translation", arXiv 2104.06678; the idea for text: Rothe et al. 2020, arXiv 1907.12461):
an encoder that was trained to listen and a decoder that was trained to write, joined.

input -> output: waveform (batch, samples) and tokens (batch, tokens)
-> logits (batch, tokens, vocabulary).
Special: the mirror of `torch_models/speech_encoder_decoder.py`.

Notebook: 19_flax
"""

import jax
import jax.numpy as jnp
from flax import nnx

from speechlib import tokenizers
from speechlib.configs import SpeechEncoderDecoderConfig
from speechlib.flax_models import inputs
from speechlib.flax_models.losses import label_smoothed_cross_entropy


class SpeechEncoderDecoder(nnx.Module):
    """Two models as one. From two checkpoints:

        SpeechEncoderDecoder(sl.load("encoder-folder", framework="flax"),
                             sl.load("decoder-folder", framework="flax"), rngs=nnx.Rngs(0))

    encoder: a WavLM; decoder: a Speech2Text2, or the `decoder` of another model. They are joined,
    not copied. config: which tokens start, end and fill up a text; None: the decoder's own. Raises
    ValueError for parts that do not fit.
    """

    def __init__(
        self, encoder, decoder, config=None, rngs=None, dtype=None, param_dtype=jnp.float32
    ):
        _check("encoder", encoder, "frame_mask")
        _check("decoder", decoder, "init_cache")
        self.config = SpeechEncoderDecoderConfig.joining(encoder.config, decoder.config, config)
        self.encoder = encoder
        self.decoder = decoder
        how = {"rngs": rngs or nnx.Rngs(0), "dtype": dtype, "param_dtype": param_dtype}
        self.bridge = _linear(*self.config.bridge, **how) if self.config.bridge else None

    def __call__(self, waveform, tokens, lengths=None, token_mask=None):
        """waveform (batch, samples), tokens (batch, tokens) -> (batch, tokens, vocabulary).

        lengths: (batch,) real samples of each row; token_mask: (batch, tokens), True = real token.
        Raises ValueError for other shapes and unknown tokens.
        """
        memory, memory_mask = self.encode(waveform, lengths)
        tokens = inputs.tokens(tokens, self.config.vocabulary)
        if len(memory) != len(tokens):
            raise ValueError(
                "audio and tokens must have the same batch: the encoder got "
                f"{len(memory)} rows, the decoder {len(tokens)}"
            )
        return self.decode(tokens, memory, memory_mask, token_mask=token_mask)

    def encode(self, waveform, lengths=None):
        """waveform (batch, samples) -> memory (batch, frames, decoder's width), and which of its
        frames are real, (batch, frames) bool; None without lengths."""
        memory = self.encoder(waveform, lengths)
        memory_mask = self.encoder.frame_mask(lengths, memory.shape[1])
        return memory if self.bridge is None else self.bridge(memory), memory_mask

    def decode(self, tokens, memory=None, memory_mask=None, cache=None, token_mask=None):
        """Tokens and what `encode` gave, or new tokens and a cache -> logits (batch, tokens,
        vocabulary). So one memory serves many texts."""
        return self.decoder(
            tokens, memory=memory, memory_mask=memory_mask, token_mask=token_mask, cache=cache
        )

    def init_cache(self, batch, slots, memory=None, memory_mask=None):
        """A cache for step-by-step decoding: `slots` tokens in each of `batch` rows."""
        return self.decoder.init_cache(batch, slots, memory=memory, memory_mask=memory_mask)

    def loss(self, waveform, labels, lengths=None):
        """Mean cross-entropy of the labels (batch, tokens); -100 is not counted. The decoder
        reads the labels shifted right by one: it never sees the token it must say."""
        c = self.config
        labels = inputs.tokens(labels, c.vocabulary, ignored=-100)
        tokens = tokenizers.shift_tokens_right(labels, *c.pad_and_start())
        logits = self(waveform, tokens, lengths)
        return label_smoothed_cross_entropy(logits, labels, smoothing=0.0)

    def freeze_feature_encoder(self):
        """The encoder's convolutions stay as they are while the rest learns, as is usual for
        small data."""
        self.encoder.freeze_feature_encoder()

    def resize_token_embeddings(self, *_):
        """Refused, as in Hugging Face: the vocabulary is the decoder's."""
        raise ValueError(
            "expected a decoder with the vocabulary you want, got a request to resize the "
            "embedding through the SpeechEncoderDecoder: make a decoder whose config has that "
            "vocabulary, copy the rows of token_embedding that you keep, and join it: "
            "SpeechEncoderDecoder(model.encoder, decoder)"
        )


def _linear(features, width, **how):
    """A linear layer with PyTorch's fresh values: uniform up to 1 / sqrt(features)."""

    def draw(key, shape, dtype, out_sharding=None):
        return features**-0.5 * jax.random.uniform(key, shape, dtype, -1, 1)

    return nnx.Linear(features, width, kernel_init=draw, bias_init=draw, **how)


def _check(name, part, needs):
    """A whole model in the place of one of its parts is told apart by name."""
    if isinstance(part, nnx.Module) and hasattr(part, needs) and not hasattr(part, "encode"):
        return
    hint = f"; hand its `.{name}`" if hasattr(part, name) else ""
    article = "an" if name == "encoder" else "a"
    raise ValueError(f"expected {article} {name} of this package, got {type(part).__name__}{hint}")
