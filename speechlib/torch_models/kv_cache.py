"""The static key/value cache of a decoder: what has been computed for earlier tokens is kept.

input -> output: keys and values of the new tokens (batch, head, new, head width) -> those of all
tokens so far (batch, head, tokens, head width).
Special: the buffers are reserved once and never move; `write` fills the next slots and returns a
view of the filled part, so nothing is copied and no attention map shows an empty slot.

Notebook: 07_attention_variants
"""

import torch

from speechlib import limits


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
