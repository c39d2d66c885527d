"""The Transformer block that all systems share (Vaswani et al. 2017; pre-norm: Xiong et al. 2020).

input -> output: (batch, frames, width) -> (batch, frames, width).
Special: the mirror of `torch_models/transformer.py`. Flax's own defaults for a layer norm are other
ones (epsilon 1e-6, a variance that is faster and less exact), so they are said here.

Notebook: 19_flax
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from speechlib.flax_models.attention import MultiHeadAttention
from speechlib.trace import record

# GELU by the error function: jax.nn.gelu without more is the tanh approximation, 1e-3 off
ACTIVATIONS = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_new": jax.nn.gelu,
    "relu": jax.nn.relu,
    "selu": jax.nn.selu,
    "silu": jax.nn.silu,
}


class Fixed(nnx.Variable):
    """A table that is kept with the parameters and not learned: no `nnx.Param`, so that what looks
    for those, an optimiser say, does not see it."""


def activation_named(name):
    """The activation function of a config's name; an unknown name is a ValueError."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


class FeedForward(nnx.Module):
    """Two linear layers with an activation between, for every frame by itself."""

    def __init__(self, config, **how):
        self.up = nnx.Linear(config.width, config.feed_forward, **how)
        self.down = nnx.Linear(config.feed_forward, config.width, **how)
        self.activation = activation_named(config.activation)
        self.dropout = nnx.Dropout(config.activation_dropout, rngs=how["rngs"])

    def __call__(self, x):
        """(batch, frames, width) -> (batch, frames, width)."""
        return self.down(self.dropout(self.activation(self.up(x))))


def layer_norm(width, epsilon=1e-5, **how):
    """PyTorch's layer norm: its epsilon, and the variance from the centred values."""
    return nnx.LayerNorm(width, epsilon=epsilon, use_fast_variance=False, **how)


class Block(nnx.Module):
    """Self-attention, then (in a decoder) cross-attention, then the feed-forward part; each is
    added back to what came in."""

    def __init__(self, config, **how):
        self.norm_first = config.norm_first
        self.self_attention = self._attention(config, **how)
        self.self_norm = layer_norm(config.width, config.norm_eps, **how)
        if config.cross_attention:
            self.cross_attention = self._attention(config, **how)
            self.cross_norm = layer_norm(config.width, config.norm_eps, **how)
        self.feed_forward = FeedForward(config, **how)
        self.feed_forward_norm = layer_norm(config.width, config.norm_eps, **how)
        self.dropout = nnx.Dropout(config.dropout, rngs=how["rngs"])

    @staticmethod
    def _attention(c, **how):
        return MultiHeadAttention(
            c.width, c.heads, c.attention_dropout, c.key_bias, c.attention, **how
        )

    def __call__(self, x, mask=None, bias=None, memory=None, memory_mask=None, cache=None):
        """x (batch, frames, width) -> (batch, frames, width).

        mask: who may look at whom inside x; memory: keys and values of the encoder's output, made
        once by `cross_attention.keys_values`; cache: this layer's place in a `DecoderCache`.
        """

        def look_around(y):
            keys_values = self.self_attention.keys_values(y)
            if cache is not None:
                keys_values = cache.write(*keys_values)
            return self.self_attention(y, keys_values, mask, bias)

        def look_at_memory(y):
            return self.cross_attention(y, memory, memory_mask)

        x = self._add(x, look_around, self.self_norm)
        if memory is not None:
            x = self._add(x, look_at_memory, self.cross_norm)
        x = self._add(x, self.feed_forward, self.feed_forward_norm)
        return record(self, "hidden", x)

    def _add(self, x, part, norm):
        """One part with its shortcut; the norm stands before it or after the sum."""
        if self.norm_first:
            return x + self.dropout(part(norm(x)))
        return norm(x + self.dropout(part(x)))


def is_dropped(module, probability):
    """LayerDrop (Fan et al. 2019): while training, a whole block is left out now and then. Under
    `jit` the answer is an array: which it is comes out when the program runs."""
    if module.deterministic or probability == 0:
        return False
    return jax.random.bernoulli(module.rngs(), probability)


def chosen(dropped, before, after):
    """The block's output, or where it was dropped what went in: a compiled program has both."""
    return after if dropped is False else jnp.where(dropped, before, after)
