"""Speech2Text2 (Wang et al. 2021, "Large-Scale Self- and Semi-Supervised Learning for Speech
Translation", arXiv 2104.06678): the text decoder that stands behind a wav2vec 2.0 encoder.

input -> output: tokens (batch, tokens), and memory (batch, frames, width) where there is one
-> logits (batch, tokens, vocabulary).
Special: the mirror of `torch_models/speech_to_text_2.py`. Shapes may not depend on values under
`jit`, so the table is as long as the longest text could be, not as this one is.

Notebook: 19_flax
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from speechlib import attention_masks, position_embeddings
from speechlib.flax_models import inputs
from speechlib.flax_models.kv_cache import DecoderCache, KVCache, WithMemory
from speechlib.flax_models.transformer import Block, Fixed, chosen, is_dropped


class TokenPositions(nnx.Module):
    """Sinusoids by the place of a token among the real ones; padding gets zeros."""

    def __init__(self, config, **how):
        self.pad = config.pad
        # real tokens start at row pad + 1: with the usual pad token 1, at row 2
        self.table = Fixed(jnp.asarray(self._rows(config.positions + 2, config.width)))

    def __call__(self, tokens, past=0, longest=None):
        """tokens (batch, tokens), past: real tokens that went before, a number or (batch, 1);
        longest: tokens that there can be at most, past ones included -> (batch, tokens, width)."""
        places = position_embeddings.token_positions(tokens, self.pad, past)
        return self.up_to(self.pad + 1 + (longest or tokens.shape[1]))[places]

    def up_to(self, rows):
        """The table, with at least so many rows: what it lacks is built on the way."""
        table = self.table[...]
        have, width = table.shape
        if rows <= have:
            return table
        return jnp.concatenate([table, self._rows(rows, width)[have:].astype(table.dtype)])

    def _rows(self, rows, width):
        return position_embeddings.sinusoidal_embeddings(rows, width, "fairseq", self.pad)


class TextCache(DecoderCache):
    """A cache that also knows which tokens were real: positions count no others."""

    def __init__(self, layers, memory, memory_mask, real):
        super().__init__(layers, memory, memory_mask)
        self.real = nnx.Cache(real)  # (batch, slots) bool

    def past(self):
        """(batch, 1): real tokens so far."""
        written = jnp.arange(self.slots) < self.length  # `cut` leaves what it forgets in place
        return (self.real[...] & written).sum(axis=1, keepdims=True)

    def reorder(self, rows):
        """As every cache; which tokens were real moves along."""
        super().reorder(rows)
        self.real.set_value(self.real[rows])


class Speech2Text2(WithMemory):
    """Tokens so far + memory -> logits of the next token, at every place."""

    def __init__(self, config, rngs, dtype=None, param_dtype=jnp.float32):
        how = {"rngs": rngs, "dtype": dtype, "param_dtype": param_dtype}
        self.config = config
        self.dtype, self.deterministic = dtype, False
        self.rngs = rngs.dropout.fork()
        self.scale = math.sqrt(config.width) if config.scale_embedding else 1.0
        self.token_embedding = nnx.Embed(config.vocabulary, config.width, **how)
        self.positions = TokenPositions(config, **how)
        self.dropout = nnx.Dropout(config.decoder.dropout, rngs=rngs)
        self.blocks = nnx.List(
            Block(config.decoder, **how) for _ in range(config.decoder_layers)
        )
        initialise(self, rngs)

    def __call__(self, tokens, memory=None, memory_mask=None, token_mask=None, cache=None):
        """tokens (batch, tokens), memory (batch, frames, width) -> (batch, tokens, vocabulary).

        memory_mask: (batch, frames) True = real frame. token_mask: (batch, tokens so far) True =
        real token. Without a memory it is a causal language model. cache: from `init_cache`; then
        `tokens` are only the new ones, and the memory and its mask need not be given again.
        """
        c = self.config
        tokens = inputs.tokens(tokens, c.vocabulary)
        batch, new = tokens.shape
        past = 0 if cache is None else cache.length
        everything = jnp.arange(new if cache is None else cache.places(new))
        mask = attention_masks.causal_mask(past + jnp.arange(new), everything)
        if token_mask is not None:
            real = inputs.token_mask(token_mask, batch, past + new, len(everything))
            mask = attention_masks.combine(mask, real)
        memories, memory_mask = self.heard(memory, memory_mask, batch, cache)
        seen, longest = (0, new) if cache is None else (cache.past(), cache.slots)
        positions = self.positions(tokens, seen, longest)
        x = self._embedded(tokens) * self.scale + positions.astype(self.dtype)
        x = self.dropout(x)
        for layer, block in enumerate(self.blocks):
            # with a cache never: a dropped block would miss the past later on
            dropped = cache is None and is_dropped(self, c.decoder_layer_drop)
            own = None if cache is None else cache.layers[layer]
            y = block(x, mask, memory=memories[layer], memory_mask=memory_mask, cache=own)
            x = chosen(dropped, x, y)
        if cache is not None:
            real = (cache.real.get_value(), tokens != c.pad, past)
            cache.real.set_value(jax.lax.dynamic_update_slice_in_dim(*real, axis=1))
        return self.token_embedding.attend(x)

    def _embedded(self, tokens):
        """The rows of the table; that of the pad token learns nothing here, as in PyTorch."""
        x = self.token_embedding(tokens)
        return jnp.where((tokens == self.config.pad)[:, :, None], jax.lax.stop_gradient(x), x)

    def init_cache(self, batch, slots, memory=None, memory_mask=None):
        """Reserves room for `slots` tokens in each of `batch` rows, and makes the keys and values
        of the memory once."""
        c, like = self.config, self.token_embedding.embedding
        memories, memory_mask = self.heard(memory, memory_mask, batch)
        size = (batch, c.decoder.heads, slots, c.width // c.decoder.heads)
        layers = [KVCache(*size, self.dtype or like.dtype) for _ in self.blocks]
        return TextCache(layers, memories, memory_mask, jnp.zeros((batch, slots), bool))


def initialise(model, rngs):
    """Fresh weights as published: normal with `init_std`, biases 0, the pad token's row 0."""

    def normal(variable):
        draw = jax.random.normal(rngs.params(), variable.shape, variable.dtype)
        variable.set_value(model.config.init_std * draw)

    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Linear):
            normal(module.kernel)
            module.bias.set_value(jnp.zeros_like(module.bias.get_value()))
    table = model.token_embedding.embedding
    normal(table)
    table.set_value(table.get_value().at[model.config.pad].set(0))
