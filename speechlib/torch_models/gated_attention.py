"""Gated relative position bias (Chen et al. 2022, "WavLM", arXiv:2110.13900, section 3.1).

input -> output: x (batch, frames, width), bias (head, query, key) -> (batch, frames, width).
Special: every head adds to its scores a learned number for the distance between query and key, in
logarithmic buckets; what a frame sounds like opens and closes a gate (as in a GRU) on the numbers
in its row. One table of numbers, in the first block, serves all blocks; each has its own gate.

Notebook: 07_attention_variants
"""

import numpy as np
import torch
from torch import nn

from speechlib import position_embeddings
from speechlib.torch_models import attention
from speechlib.torch_models.attention import MultiHeadAttention
from speechlib.torch_models.transformer import Block


class GatedAttention(MultiHeadAttention):
    """Multi-head attention with a bias by distance, gated by every query."""

    def __init__(self, width, heads, dropout=0.0, key_bias=True, backend="sdpa"):
        super().__init__(width, heads, dropout, key_bias, backend)
        self.gate = nn.Linear(width // heads, 8)  # shared by all heads
        self.gate_scale = nn.Parameter(torch.ones(1, heads, 1, 1))

    def forward(self, x, keys_values, mask=None, bias=None):
        """x (batch, query, width), bias (head, query, key) -> (batch, query, width)."""
        return super().forward(x, keys_values, mask, (self.gates(x), bias))

    def attend(self, query, key, value, mask, bias, traced):
        """As in every attention, but one head at a time: the gated bias of all heads at once is
        large (108 MB for 30 s), and filling memory takes longer than computing it."""
        gates, bias = bias
        if traced:  # the weights of all heads are wanted together
            return super().attend(query, key, value, mask, gates * bias, traced)
        mixed = []
        for head in range(self.heads):
            q, k, v, gate = (y[:, head : head + 1] for y in (query, key, value, gates))
            mixed.append(super().attend(q, k, v, mask, gate * bias[head], traced))
        return torch.cat(mixed, dim=1)

    def gates(self, x):
        """How much of the bias each query takes: (batch, query, width) -> (batch, head, query, 1).

        The gate reads x as it comes in, not the queries made of it, as released by the authors.
        """
        heard = self.gate(attention.split_heads(x, self.heads))  # (batch, head, query, 8)
        update, reset = heard.unflatten(-1, (2, 4)).sum(-1).sigmoid().split(1, dim=-1)
        return update * (reset * self.gate_scale - 1) + 2


class GatedBlock(Block):
    """A `Block` whose self-attention is gated."""

    @staticmethod
    def _attention(c):
        return GatedAttention(c.width, c.heads, c.attention_dropout, c.key_bias, c.attention)


class DistanceBias(nn.Embedding):
    """A learned number for every bucket of distances and every head."""

    def __init__(self, buckets, heads, max_distance):
        super().__init__(buckets, heads)
        self.max_distance = max_distance

    def forward(self, frames):
        """-> (head, query, key), for a sequence of `frames` with itself.

        A row of the bias is the row before, moved by one frame: so the numbers are looked up once
        for each of the 2 * frames - 1 distances, and the rows are windows on those.
        """
        buckets = position_embeddings.relative_position_buckets
        sizes = self.num_embeddings, self.max_distance
        before = buckets(frames, 1, *sizes)[::-1, 0]  # distances 1 - frames to 0
        after = buckets(1, frames, *sizes)[0, 1:]  # 1 to frames - 1
        every = torch.from_numpy(np.concatenate([before, after])).to(self.weight.device)
        numbers = super().forward(every).T  # (head, distance)
        return numbers.unfold(-1, frames, 1).flip(1)
