"""Gated relative position bias (Chen et al. 2022, "WavLM", arXiv:2110.13900, section 3.1).

input -> output: x (batch, frames, width), bias (head, query, key) -> (batch, frames, width).
Special: the mirror of `torch_models/gated_attention.py`. The windows on the distances are looked up
by number: JAX has no view that overlaps with itself.

Notebook: 19_flax
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from speechlib import position_embeddings
from speechlib.flax_models import attention
from speechlib.flax_models.attention import MultiHeadAttention
from speechlib.flax_models.transformer import Block


class GatedAttention(MultiHeadAttention):
    """Multi-head attention with a bias by distance, gated by every query."""

    def __init__(self, width, heads, dropout=0.0, key_bias=True, backend="sdpa", **how):
        super().__init__(width, heads, dropout, key_bias, backend, **how)
        self.gate = nnx.Linear(width // heads, 8, **how)  # shared by all heads
        self.gate_scale = nnx.Param(jnp.ones((1, heads, 1, 1), how["param_dtype"]))

    def __call__(self, x, keys_values, mask=None, bias=None):
        """x (batch, query, width), bias (head, query, key) -> (batch, query, width)."""
        return super().__call__(x, keys_values, mask, self.gates(x) * bias)

    def gates(self, x):
        """How much of the bias each query takes: (batch, query, width) -> (batch, head, query, 1).

        The gate reads x as it comes in, not the queries made of it, as released by the authors.
        """
        heard = self.gate(attention.split_heads(x, self.heads))  # (batch, head, query, 8)
        heard = heard.reshape(*heard.shape[:-1], 2, 4).sum(axis=-1)
        update, reset = jnp.split(jax.nn.sigmoid(heard), 2, axis=-1)
        return update * (reset * self.gate_scale[...].astype(x.dtype) - 1) + 2


class GatedBlock(Block):
    """A `Block` whose self-attention is gated."""

    @staticmethod
    def _attention(c, **how):
        return GatedAttention(
            c.width, c.heads, c.attention_dropout, c.key_bias, c.attention, **how
        )


class DistanceBias(nnx.Embed):
    """A learned number for every bucket of distances and every head."""

    def __init__(self, buckets, heads, max_distance, **how):
        super().__init__(buckets, heads, **how)
        self.max_distance = max_distance

    def __call__(self, frames):
        """-> (head, query, key), for a sequence of `frames` with itself.

        A row of the bias is the row before, moved by one frame: so the numbers are looked up once
        for each of the 2 * frames - 1 distances, and the rows are windows on those.
        """
        buckets = position_embeddings.relative_position_buckets
        sizes = self.num_embeddings, self.max_distance
        before = buckets(frames, 1, *sizes)[::-1, 0]  # distances 1 - frames to 0
        after = buckets(1, frames, *sizes)[0, 1:]  # 1 to frames - 1
        numbers = super().__call__(np.concatenate([before, after])).T  # (head, distance)
        count = np.arange(frames)
        return numbers[:, frames - 1 + count[None, :] - count[:, None]]
