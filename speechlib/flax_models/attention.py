"""Multi-head attention (Vaswani et al. 2017, section 3.2), used by every model of the package.

input -> output: x (batch, query, width), keys and values (batch, head, key, head width)
-> (batch, query, width).
Special: the mirror of `torch_models/attention.py`. Where PyTorch has a device and a `training`
flag, Flax has `how`: the random streams (`rngs`), the number type that is computed in (`dtype`) and
the one that parameters are kept in (`param_dtype`).

Notebook: 19_flax
"""

import jax
import jax.numpy as jnp
from flax import nnx

from speechlib.trace import is_traced, record


def split_heads(x, heads):
    """(batch, frames, width) -> (batch, head, frames, head width)."""
    batch, frames, width = x.shape
    if width % heads:
        raise ValueError(f"width {width} is not a multiple of heads {heads}")
    return x.reshape(batch, frames, heads, width // heads).swapaxes(1, 2)


def merge_heads(x):
    """(batch, head, frames, head width) -> (batch, frames, width): the inverse of `split_heads`."""
    batch, heads, frames, head_width = x.shape
    return x.swapaxes(1, 2).reshape(batch, frames, heads * head_width)


def attention_weights(query, key, mask=None, bias=None):
    """How much every query looks at every key; each row sums to 1.

    query: (batch, head, query, head width), already divided by sqrt(head width).
    key: (batch, head, key, head width).
    mask: boolean, True = may look, broadcast to (batch, head, query, key).
    bias: added to the scores before the mask, same shape.
    Returns (batch, head, query, key). A row that may look nowhere is uniform and finite: the
    hidden scores are the smallest finite number, not minus infinity.
    """
    scores = query @ key.swapaxes(-1, -2)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    return jax.nn.softmax(scores, axis=-1)


def eager(query, key, value, mask=None, bias=None, dropout=None, observe=None):
    """Attention step by step. `observe` may look at the weights and change them; dropout: a
    function, or None."""
    weights = attention_weights(query, key, mask, bias)
    if observe is not None:
        weights = observe(weights)
    return (weights if dropout is None else dropout(weights)) @ value


def sdpa(query, key, value, mask=None, bias=None, dropout=None, observe=None):
    """The same through JAX's own function, which XLA may fuse (so there is nothing to observe). It
    knows no dropout: a layer that drops weights takes the path above."""
    if dropout is not None:
        return eager(query, key, value, mask, bias, dropout)
    query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))  # heads go third there
    mixed = jax.nn.dot_product_attention(query, key, value, bias, mask, scale=1.0)
    return mixed.swapaxes(1, 2)


BACKENDS = {"eager": eager, "sdpa": sdpa}


class MultiHeadAttention(nnx.Module):
    """Queries from x; keys and values from wherever `keys_values` was given its source."""

    def __init__(self, width, heads, dropout=0.0, key_bias=True, backend="sdpa", **how):
        if backend not in BACKENDS:
            raise ValueError(f"attention must be one of {', '.join(BACKENDS)}, got {backend!r}")
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.dropout = nnx.Dropout(dropout, rngs=how["rngs"])
        self.backend = backend
        self.query = nnx.Linear(width, width, **how)
        self.key = nnx.Linear(width, width, use_bias=key_bias, **how)
        self.value = nnx.Linear(width, width, **how)
        self.output = nnx.Linear(width, width, **how)

    def keys_values(self, source):
        """source (batch, key, width) -> keys and values, each (batch, head, key, head width)."""
        return split_heads(self.key(source), self.heads), split_heads(
            self.value(source), self.heads
        )

    def __call__(self, x, keys_values, mask=None, bias=None):
        """x (batch, query, width) -> (batch, query, width). mask: True = may look."""
        key, value = keys_values
        # The query is scaled, not the scores: the same in exact arithmetic, and in float32 the
        # published models round here.
        query = split_heads(self.query(x) * key.shape[-1] ** -0.5, self.heads)
        # Only the step-by-step path holds the weights, so a watched layer takes it.
        traced = is_traced(self, "weights")
        return self.output(merge_heads(self.attend(query, key, value, mask, bias, traced)))

    def attend(self, query, key, value, mask, bias, traced):
        """What the queries find, (batch, head, query, head width), by the backend."""
        idle = self.dropout.deterministic or self.dropout.rate == 0
        return BACKENDS["eager" if traced else self.backend](
            query,
            key,
            value,
            mask,
            bias,
            None if idle else self.dropout,
            observe=self._observe if traced else None,
        )

    def _observe(self, weights):
        return record(self, "weights", weights)
