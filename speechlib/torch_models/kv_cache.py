"""The static key/value cache of a decoder: what has been computed for earlier tokens is kept.

input -> output: keys and values of the new tokens (batch, head, new, head width) -> those of all
tokens so far (batch, head, tokens, head width).
Special: the buffers are reserved once and never move; `write` fills the next slots and returns a
view of the filled part, so nothing is copied and no attention map shows an empty slot.

Notebook: 07_attention_variants
"""

import torch
from torch import nn

from speechlib import attention_masks, limits
from speechlib.torch_models import inputs


class KVCache:
    """Keys and values of one layer, for up to `slots` tokens."""

    def __init__(self, batch, heads, slots, head_width, dtype=torch.float32, device="cpu"):
        limits.cache_size(batch, slots)
        shape = (batch, heads, slots, head_width)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0  # tokens written so far

    def write(self, key, value):
        """Appends (batch, head, new, head width); returns all keys and all values so far.

        Raises ValueError for another batch than the cache was made for, and when it is full.
        """
        limits.cache_rows(len(self.keys), len(key))
        end = self.length + key.shape[2]
        if end > self.keys.shape[2]:
            raise ValueError(
                f"the cache has {self.keys.shape[2]} slots, {self.length} are filled and "
                f"{key.shape[2]} more tokens came; reserve more slots or generate fewer tokens"
            )
        new = torch.arange(self.length, end, device=key.device)
        self.keys.index_copy_(2, new, key)
        self.values.index_copy_(2, new, value)
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reorder(self, rows):
        """Row i becomes what row rows[i] was; rows: (batch,) integers. The buffers stay, and what
        has not been written yet is not moved."""
        for buffer in (self.keys, self.values):
            filled = buffer[:, :, : self.length]
            filled.copy_(filled.index_select(0, rows))


class DecoderCache:
    """One `KVCache` a layer, and the keys and values of the encoder's output, made once.

    memory may have fewer rows than the layers: beams of one recording share them (row
    i * beams + j of the layers belongs to row i of memory).
    """

    def __init__(self, layers, memory, memory_mask=None):
        self.layers = layers  # list of KVCache
        self.memory = memory  # list of (keys, values) or None, one a layer
        self.memory_mask = memory_mask  # (batch, 1, 1, frames) True = may look, or None: all

    @property
    def length(self):
        """Tokens written so far."""
        return self.layers[0].length

    def cut(self, length):
        """Forgets all but the first `length` tokens."""
        for layer in self.layers:
            layer.length = length

    def reorder(self, rows):
        """Row i goes on as what row rows[i] was. Its memory moves along, unless beams share it:
        they never leave their recording."""
        for layer in self.layers:
            layer.reorder(rows)
        heard = [pair for pair in self.memory if pair is not None]
        if heard and len(heard[0][0]) == len(rows):
            self.memory = [
                pair and tuple(x.index_select(0, rows) for x in pair) for pair in self.memory
            ]
            if self.memory_mask is not None:
                self.memory_mask = self.memory_mask.index_select(0, rows)


class WithMemory(nn.Module):
    """A decoder whose blocks look at the encoder's output: each makes its keys and values of it
    once, and a cache keeps them."""

    def heard(self, memory, memory_mask, batch, cache=None):
        """What the blocks look at: their keys and values as `memories` gives them, and which frames
        are real, (batch, 1, 1, frames) or None: all.

        memory (batch, frames, width) and memory_mask (batch, frames) or None; batch: rows of the
        tokens, or of the memory; cache: a `DecoderCache` or None. A cache without a memory keeps
        the one that comes; a mask that comes goes before the cache's, this once. Raises ValueError
        for another batch or memory than the cache was made for, and for a mask without a memory.
        """
        if cache is not None:  # now: a lone position would fit any number of rows
            limits.cache_rows(len(cache.layers[0].keys), batch)
        if cache is None or cache.memory[0] is None:
            memories, real = self.memories(memory, batch), None
        else:
            memories, real = cache.memory, cache.memory_mask
            if memory is not None:
                rows, _, frames, _ = memories[0][0].shape
                came = inputs.as_tensor(memory, "memory (batch, frames, width)").shape
                limits.cache_memory((rows, frames, self.config.width), came)
        if memory_mask is not None:
            if memories[0] is None:
                raise ValueError("expected a memory for this memory_mask, got None")
            keys = memories[0][0]
            real = inputs.memory_mask(memory_mask, len(keys), keys.shape[2], keys.device)
            real = attention_masks.for_keys(real)
        if cache is not None and cache.memory[0] is None and memory is not None:
            cache.memory, cache.memory_mask = memories, real
        return memories, real

    def memories(self, memory, batch=None):
        """(batch, frames, width) -> the keys and values that each block looks at: a list of
        pairs, one a block, each (batch, head, frames, head width); Nones without a memory."""
        if memory is None:
            return [None] * len(self.blocks)
        batch = len(memory) if batch is None else batch
        memory = inputs.memory(memory, batch, self.config.width, self.token_embedding.weight)
        pairs = [block.cross_attention.keys_values(memory) for block in self.blocks]
        # read at every step: in one piece for each head it is quicker
        return [(keys.contiguous(), values.contiguous()) for keys, values in pairs]
