"""Whisper (Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision").

input -> output: log-mel (batch, mel bins, mel frames) and tokens (batch, tokens)
-> logits (batch, tokens, vocabulary).
Special: two convolutions halve the frames; sinusoids in the encoder, a learned table in the
decoder; pre-norm blocks; keys without bias; the output layer is the token table itself.

Notebook: 09_whisper
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from speechlib import attention_masks, position_embeddings, spec_augment, tokenizers
from speechlib.torch_models import inputs
from speechlib.torch_models.kv_cache import DecoderCache, KVCache, WithMemory
from speechlib.torch_models.linear import linear
from speechlib.torch_models.transformer import Block, is_dropped, run_block


class Sinusoids(nn.Embedding):
    """A table of waves that is not learned: row = position."""

    @torch.no_grad()
    def reset_parameters(self):
        """The published table (where a checkpoint has stored one, that goes first)."""
        table = position_embeddings.sinusoidal_embeddings(*self.weight.shape)
        self.weight.copy_(torch.from_numpy(np.asarray(table, dtype=np.float32)))


class AudioEncoder(nn.Module):
    """Log-mel -> memory: what the decoder looks at."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        width = config.width
        self.conv1 = nn.Conv1d(config.mel_bins, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.positions = Sinusoids(config.frames, width).requires_grad_(False)
        self.dropout = nn.Dropout(config.encoder.dropout)
        self.blocks = nn.ModuleList(Block(config.encoder) for _ in range(config.encoder_layers))
        self.norm = nn.LayerNorm(width)
        self.checkpointing = False
        initialise(self)

    def forward(self, mel, lengths=None):
        """(batch, mel bins, mel frames) -> (batch, frames, width); frames = mel frames / 2.

        lengths (batch,): real mel frames of each row. They are checked and change nothing:
        Whisper listens to the silence that fills its window, too.
        """
        return self.hidden_states(mel, lengths)[-1]

    def hidden_states(self, mel, lengths=None):
        """What goes into the first block and what comes out of each, the last one normed: a list
        of layers + 1, each (batch, frames, width)."""
        mel = self.checked(mel)
        if lengths is not None:
            inputs.lengths(lengths, len(mel), mel.shape[2])
        x = F.gelu(self.conv1(mel))
        x = F.gelu(self.conv2(x)).transpose(1, 2).contiguous()  # (batch, frames, width)
        states = [self.dropout(x + self.positions.weight)]
        for block in self.blocks:
            x = states[-1]
            if not is_dropped(self, self.config.encoder_layer_drop):
                x = _finite(run_block(self, block, x))
            states.append(x)
        return [*states[:-1], self.norm(states[-1])]

    @property
    def output_width(self):
        """Features of a frame of the output."""
        return self.config.width

    @staticmethod
    def output_lengths(lengths):
        """Mel frames -> frames, of the second convolution: a number, or an array (batch,)."""
        return attention_masks.conv_output_length(lengths, kernel=3, stride=2, padding=1)

    def frame_mask(self, lengths, frames):
        """lengths (batch,) in mel frames -> (batch, frames), True = real; None for None."""
        if lengths is None:
            return None
        lengths = inputs.lengths(lengths, device=self.norm.weight.device)
        return attention_masks.padding_mask(self.output_lengths(lengths), frames)

    def checked(self, mel):
        """A mel of the window's shape, (batch, mel bins, mel frames), in the model's number type;
        ValueError for any other, and for numbers that are not finite."""
        bins, frames = self.config.mel_bins, self.config.mel_frames
        mel = inputs.numbers(mel, "mel (batch, mel bins, mel frames)", self.conv1.weight)
        if mel.dim() != 3 or tuple(mel.shape[1:]) != (bins, frames):
            raise ValueError(
                f"expected mel of shape (batch, {bins} mel bins, {frames} mel frames), got "
                f"{tuple(mel.shape)}; speechlib.audio.log_mel(wave, mel_bins={bins}, "
                f"pad_to_seconds={frames / 100:g})[None] makes it"
            )
        if not torch.isfinite(mel).all():
            raise ValueError("expected a finite mel, got NaN or infinity: is the wave finite?")
        return mel


class TextDecoder(WithMemory):
    """Tokens so far + memory -> logits of the next token, at every place."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary, config.width, config.pad)
        self.positions = nn.Embedding(config.slots, config.width)
        self.dropout = nn.Dropout(config.decoder.dropout)
        self.blocks = nn.ModuleList(Block(config.decoder) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.width)
        self.checkpointing = False
        initialise(self)

    def forward(self, tokens, memory=None, token_mask=None, cache=None, memory_mask=None):
        """tokens (batch, tokens), memory (batch, frames, width) -> (batch, tokens, vocabulary).

        token_mask: (batch, tokens so far) True = real token; memory_mask: (batch, frames) True =
        real frame. cache: from `init_cache`; then `tokens` are only the new ones, and memory and
        its mask need not be given again.
        """
        past = 0 if cache is None else cache.length
        table = self.token_embedding.weight
        tokens = inputs.tokens(tokens, self.config.vocabulary, table.device)
        self._fits(past + tokens.shape[1])
        everything = torch.arange(past + tokens.shape[1], device=tokens.device)
        place = everything[past:]
        # also for a lone token, which may look at all: the rule may be somebody else's (`use`)
        mask = attention_masks.causal_mask(place, everything)
        if token_mask is not None:
            real = inputs.token_mask(token_mask, len(tokens), len(everything), tokens.device)
            mask = attention_masks.combine(mask, real)
        memories, heard = self.heard(memory, memory_mask, len(tokens), cache)
        x = self.dropout(self.token_embedding(tokens) + self.positions(place))
        for layer, block in enumerate(self.blocks):
            if cache is None and is_dropped(self, self.config.decoder_layer_drop):
                continue  # with a cache never: a dropped block would miss the past later on
            own = None if cache is None else cache.layers[layer]
            x = run_block(self, block, x, mask, None, memories[layer], heard, own)
        return linear(self.norm(x), table)

    def _fits(self, count):
        if count > self.config.slots:
            raise ValueError(
                f"the text may have {self.config.slots} tokens at most, got {count}; "
                "cut the audio into shorter windows or ask for fewer tokens"
            )

    def init_cache(self, batch, slots=None, memory=None, memory_mask=None):
        """Reserves the buffers and makes the keys and values of memory, once -> `DecoderCache`.

        batch: rows of tokens, those of memory (batch, frames, width) or a multiple (beams: row
        i * beams + j looks at row i); slots: tokens to make room for, None: all that the position
        table has; memory_mask: (batch, frames) True = real frame.
        """
        c, like = self.config, self.token_embedding.weight
        if memory is not None:
            memory = inputs.numbers(memory, "memory (batch, frames, width)", like)
        rows = inputs.memory_rows(memory, batch)
        memories, heard = self.heard(memory, memory_mask, rows)
        size = (batch, c.decoder.heads, c.slots if slots is None else slots)
        layers = [KVCache(*size, c.width // size[1], like.dtype, like.device) for _ in self.blocks]
        return DecoderCache(layers, memories, heard)


class WhisperDecoder(TextDecoder):
    """The decoder as a model of its own: with a memory it writes what was heard, without one it is
    a language model (and the draft of speculative decoding)."""


class Whisper(nn.Module):
    """The whole model: encoder, decoder, and the loss to train it."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder = AudioEncoder(config)
        self.decoder = TextDecoder(config)

    def forward(self, mel, tokens, token_mask=None):
        """mel (batch, mel bins, mel frames), tokens (batch, tokens) -> (batch, tokens, vocabulary).

        token_mask: (batch, tokens), True = real token. Tensors, NumPy arrays or lists; the mel
        takes the model's number type. Raises ValueError for other shapes and unknown tokens.
        """
        return self._logits(self.encode(mel), tokens, token_mask)

    def _logits(self, memory, tokens, token_mask=None):
        tokens = inputs.tokens(tokens, self.config.vocabulary, memory.device)
        if len(memory) != len(tokens):
            raise ValueError(
                f"mel and tokens must have the same batch, got {len(memory)} and {len(tokens)}"
            )
        return self.decoder(tokens, memory, token_mask)

    def encode(self, mel, lengths=None):
        """(batch, mel bins, mel frames) -> memory (batch, frames, width).

        lengths (batch,): real mel frames; in training, SpecAugment hides no others.
        """
        if self.training and self.config.spec_augment is not None:
            mel = hide_spans(self.encoder.checked(mel), self.config.spec_augment, lengths)
        # lengths only where there are any: a learner's own encoder takes the mel alone
        return self.encoder(mel) if lengths is None else self.encoder(mel, lengths)

    def decode(self, tokens, memory=None, memory_mask=None, cache=None, token_mask=None):
        """Tokens and memory, or new tokens and a cache -> logits (batch, tokens, vocabulary)."""
        return self.decoder(tokens, memory, token_mask, cache, memory_mask)

    def init_cache(self, batch, slots=None, memory=None, memory_mask=None):
        """A cache for step-by-step decoding; see `TextDecoder.init_cache`."""
        if memory is None:
            raise ValueError("expected a memory (batch, frames, width), got None; see model.encode")
        return self.decoder.init_cache(batch, slots, memory, memory_mask)

    def freeze_encoder(self):
        """Only the decoder learns from now on."""
        self.encoder.requires_grad_(False)

    def loss(self, mel, labels, lengths=None):
        """Mean cross-entropy of the labels (batch, tokens); -100 is not counted. The decoder
        reads the labels shifted right by one: it never sees the token it must say. lengths as in
        `encode`."""
        c = self.config
        labels = inputs.tokens(labels, c.vocabulary, self.encoder.conv1.weight.device, ignored=-100)
        tokens = tokenizers.shift_tokens_right(labels, *c.pad_and_start())
        logits = self._logits(self.encode(mel, lengths), tokens)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def _finite(x):
    """float16 overflows in large encoders; the published model cuts infinities off there."""
    if x.dtype == torch.float16 and not torch.isfinite(x).all():
        limit = torch.finfo(x.dtype).max - 1000
        return x.clamp(-limit, limit)
    return x


def hide_spans(mel, config, lengths=None):
    """SpecAugment (Park et al. 2019) on mel (batch, mel bins, mel frames): hidden spans are 0.

    lengths (batch,): real mel frames of each row, the only ones that time spans hide; None: all.
    """
    batch, mel_bins, mel_frames = mel.shape
    if lengths is not None:
        lengths = inputs.lengths(lengths, batch, mel_frames).numpy()
    # One draw from torch seeds the spans, so torch.manual_seed alone repeats a training run.
    rng = np.random.default_rng(torch.randint(2**31, ()).item())
    hidden = torch.zeros_like(mel, dtype=torch.bool)
    for size, probability, length, min_spans, axis in (
        (mel_frames, config.time_probability, config.time_length, config.time_min_spans, 1),
        (mel_bins, config.feature_probability, config.feature_length, config.feature_min_spans, 2),
    ):
        if probability > 0:
            spans = spec_augment.span_mask(
                (batch, size), probability, length, lengths if axis == 1 else None, min_spans, rng
            )
            hidden |= torch.from_numpy(spans).to(mel.device).unsqueeze(axis)
    return mel.masked_fill(hidden, 0.0)


@torch.no_grad()
def initialise(model):
    """Fresh weights as published: normal with `init_std`, biases 0, sinusoids in the encoder."""
    std = model.config.init_std
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            module.weight.normal_(0.0, std)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding) and not isinstance(module, Sinusoids):
            module.weight.normal_(0.0, std)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
