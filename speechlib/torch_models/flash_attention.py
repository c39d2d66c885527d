"""Flash attention (Dao et al. 2022, "FlashAttention", arXiv:2205.14135), over the online softmax
of Milakov & Gimelshein 2018 (arXiv:1805.02867).

input -> output: query (batch, head, query, head width), keys and values (batch, head, key, head
width) -> (batch, head, query, head width).
Special: the table of weights (query x key) never exists; a tile of it does, which updates a running
maximum, a running sum and a running output. On the way back tiles are made again, not kept. Takes
masks, bias and dropout; where padding is all that is hidden, it is cut out first ("un-padding").
Here it is to be read: the published kernel keeps its tiles in a GPU's fast memory.

Notebook: 07_attention_variants
"""

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

TILE = 256  # queries, and keys, in a tile


def flash(query, key, value, mask=None, bias=None, dropout=0.0, observe=None):
    """Attention by tiles: the numbers of `attention.eager`, in memory for one tile of weights."""
    if bias is None and _hides_padding_only(mask):
        return _without_padding(query, key, value, mask[:, 0, 0], dropout)
    shape = (*query.shape[:3], key.shape[2])
    mask, bias = (x if x is None else x.expand(shape) for x in (mask, bias))
    strips = []
    for start in range(0, query.shape[2], TILE):
        here = slice(start, start + TILE)
        cut = [x if x is None else x[:, :, here] for x in (query, mask, bias)]
        arguments = (cut[0], key, value, *cut[1:], dropout)
        if torch.is_grad_enabled():
            strips.append(checkpoint(_strip, *arguments, use_reentrant=False))
        else:
            strips.append(_strip(*arguments))
    return torch.cat(strips, dim=2) if strips else query


def _strip(query, key, value, mask, bias, dropout):
    """A tile of queries walks over all keys, tile by tile -> (batch, head, query, head width)."""
    exact = torch.promote_types(query.dtype, torch.float32)  # sums of half numbers would lose much
    lowest = torch.finfo(query.dtype).min
    largest = query.new_full((*query.shape[:3], 1), lowest, dtype=exact)  # score so far
    total = torch.zeros_like(largest)  # of exp(score - largest)
    mixed = torch.zeros_like(query, dtype=exact)  # sum of exp(score - largest) * value
    for start in range(0, key.shape[2], TILE):
        here = slice(start, start + TILE)
        scores = query @ key[:, :, here].transpose(-1, -2)
        if bias is not None:
            scores = scores + bias[..., here]
        if mask is not None:
            scores = scores.masked_fill(~mask[..., here], lowest)
        scores = scores.to(exact)
        # any number could be taken off: it cancels, so it has no gradient
        new = torch.maximum(largest, scores.detach().amax(dim=-1, keepdim=True))
        shrink, odds = (largest - new).exp(), (scores - new).exp()
        total = total * shrink + odds.sum(dim=-1, keepdim=True)
        mixed = mixed * shrink + F.dropout(odds, dropout) @ value[:, :, here].to(exact)
        largest = new
    return (mixed / total).to(query.dtype)


def unpad(x, real):
    """Real frames of all rows in one row: x (batch, frames, ...), real (batch, frames) True = real
    -> (real frames, ...) and cumulative lengths (batch + 1,): row i is from [i] to [i + 1]."""
    lengths = real.sum(dim=1)
    return x[real], F.pad(lengths.cumsum(dim=0), (1, 0))


def pad_back(packed, real):
    """The inverse of `unpad`: (real frames, ...) -> (batch, frames, ...), zeros where not real."""
    x = packed.new_zeros((*real.shape, *packed.shape[1:]))
    return x.masked_scatter(real.view(*real.shape, *[1] * (packed.dim() - 1)), packed)


def flash_packed(query, key, value, query_ends, key_ends, dropout=0.0):
    """Rows of all lengths in one: query (queries, head, head width), keys and values (keys, head,
    head width) -> (queries, head, head width). The cumulative lengths (batch + 1,) say where a row
    ends; none looks into another (the weights are block-diagonal)."""
    rows = []
    ends = zip(query_ends.tolist(), key_ends.tolist(), strict=True)
    q_start, k_start = next(ends)
    for q_end, k_end in ends:
        parts = query[q_start:q_end], key[k_start:k_end], value[k_start:k_end]
        q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in parts)  # (1, head, frames, head width)
        rows.append(flash(q, k, v, dropout=dropout)[0].transpose(0, 1))
        q_start, k_start = q_end, k_end
    return torch.cat(rows)


def _hides_padding_only(mask):
    """True for a mask (batch, 1, 1, key) that leaves some key in every row."""
    return mask is not None and mask.shape[1:3] == (1, 1) and bool(mask.any(dim=-1).all())


def _without_padding(query, key, value, real, dropout):
    """Only keys that are real are looked at; the others are not even multiplied."""
    real = real.expand(len(query), -1)
    (key, ends), (value, _) = (unpad(x.transpose(1, 2), real) for x in (key, value))
    every = torch.ones(len(query), query.shape[2], dtype=torch.bool, device=query.device)
    packed, query_ends = unpad(query.transpose(1, 2), every)
    mixed = flash_packed(packed, key, value, query_ends, ends, dropout)
    return pad_back(mixed, every).transpose(1, 2)
