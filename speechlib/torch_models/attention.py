"""Multi-head attention (Vaswani et al. 2017, section 3.2), used by every model of the package.

input -> output: x (batch, query, width), keys and values (batch, head, key, head width)
-> (batch, query, width).
Special: keys and values are made by `keys_values(source)` and handed in. So attention knows
neither caches nor cross-attention: the caller decides what to look at and what to reuse.

Notebook: 06_attention, 07_attention_variants
"""

import torch
from torch import nn
from torch.nn import functional as F

from speechlib.torch_models.flash_attention import flash
from speechlib.torch_models.linear import Linear
from speechlib.trace import is_traced, record


def split_heads(x, heads):
    """(batch, frames, width) -> (batch, head, frames, head width)."""
    batch, frames, width = x.shape
    if width % heads:
        raise ValueError(f"width {width} is not a multiple of heads {heads}")
    return x.view(batch, frames, heads, width // heads).transpose(1, 2)


def merge_heads(x):
    """(batch, head, frames, head width) -> (batch, frames, width): the inverse of `split_heads`."""
    batch, heads, frames, head_width = x.shape
    return x.transpose(1, 2).reshape(batch, frames, heads * head_width)


def fold_beams(query, beams):
    """(batch * beams, head, query, head width) -> (batch, head, beams * query, head width): beams
    that look at the same keys are further queries, so that the keys need no copy for each."""
    rows, heads, queries, head_width = query.shape
    query = query.view(rows // beams, beams, heads, queries, head_width).transpose(1, 2)
    return query.reshape(rows // beams, heads, beams * queries, head_width)


def unfold_beams(mixed, beams):
    """The inverse of `fold_beams`."""
    batch, heads, queries, head_width = mixed.shape
    mixed = mixed.view(batch, heads, beams, queries // beams, head_width).transpose(1, 2)
    return mixed.reshape(batch * beams, heads, queries // beams, head_width)


def attention_weights(query, key, mask=None, bias=None):
    """How much every query looks at every key; each row sums to 1.

    query: (batch, head, query, head width), already divided by sqrt(head width).
    key: (batch, head, key, head width).
    mask: boolean, True = may look, broadcast to (batch, head, query, key).
    bias: added to the scores before the mask, same shape.
    Returns (batch, head, query, key). A row that may look nowhere is uniform and finite: the
    hidden scores are the smallest finite number, not minus infinity.
    """
    scores = query @ key.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1)


def eager(query, key, value, mask=None, bias=None, dropout=0.0, observe=None):
    """Attention step by step. `observe` may look at the weights and change them."""
    weights = attention_weights(query, key, mask, bias)
    if observe is not None:
        weights = observe(weights)
    return F.dropout(weights, dropout) @ value


def sdpa(query, key, value, mask=None, bias=None, dropout=0.0, observe=None):
    """The same through PyTorch's fused kernel, which never holds all weights at once (so there
    is nothing to observe). A row that may look nowhere looks everywhere, with a query of 0: the
    kernel itself gives NaN or 0 there, or a wrong gradient. A single query has few weights: the
    kernel gains nothing, and in bfloat16 takes three times as long."""
    if query.shape[2] == 1:
        return eager(query, key, value, mask, bias, dropout)
    added = bias
    if mask is not None:
        blind = ~mask.any(dim=-1, keepdim=True)
        query = query.masked_fill(blind, 0.0)
        added = torch.zeros_like(mask, dtype=query.dtype) if bias is None else bias
        added = added.masked_fill(~mask, torch.finfo(query.dtype).min).masked_fill(blind, 0.0)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=added, dropout_p=dropout, scale=1.0
    )


BACKENDS = {"eager": eager, "sdpa": sdpa, "flash": flash}


class MultiHeadAttention(nn.Module):
    """Queries from x; keys and values from wherever `keys_values` was given its source."""

    def __init__(self, width, heads, dropout=0.0, key_bias=True, backend="sdpa"):
        super().__init__()
        if backend not in BACKENDS:
            raise ValueError(f"attention must be one of {', '.join(BACKENDS)}, got {backend!r}")
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.dropout = dropout
        self.backend = backend
        self.query = Linear(width, width)
        self.key = Linear(width, width, bias=key_bias)
        self.value = Linear(width, width)
        self.output = Linear(width, width)

    def keys_values(self, source):
        """source (batch, key, width) -> keys and values, each (batch, head, key, head width)."""
        return split_heads(self.key(source), self.heads), split_heads(
            self.value(source), self.heads
        )

    def forward(self, x, keys_values, mask=None, bias=None):
        """x (batch, query, width) -> (batch, query, width). mask: True = may look."""
        key, value = keys_values
        # The query is scaled, not the scores: the same in exact arithmetic, and in float32 the
        # published models round here.
        query = split_heads(self.query(x) * key.shape[-1] ** -0.5, self.heads)
        # Only the step-by-step path holds the weights, so a watched layer takes it.
        traced = is_traced(self, "weights")
        beams = len(query) // max(len(key), 1)  # several rows of x may share one of the keys
        if beams > 1 and traced:
            key, value = (y.repeat_interleave(beams, dim=0) for y in (key, value))
            mask = mask if mask is None else mask.repeat_interleave(len(key) // len(mask), dim=0)
        elif beams > 1:
            query = fold_beams(query, beams)
        mixed = self.attend(query, key, value, mask, bias, traced)
        if len(mixed) < len(x):
            mixed = unfold_beams(mixed, beams)
        return self.output(merge_heads(mixed))

    def attend(self, query, key, value, mask, bias, traced):
        """What the queries find, (batch, head, query, head width), by the backend."""
        return BACKENDS["eager" if traced else self.backend](
            query,
            key,
            value,
            mask,
            bias,
            self.dropout if self.training else 0.0,
            observe=self._observe if traced else None,
        )

    def _observe(self, weights):
        return record(self, "weights", weights)
