"""The static key/value cache of a decoder: what has been computed for earlier tokens is kept.

input -> output: keys and values of the new tokens (batch, head, new, head width) -> those of all
tokens so far (batch, head, tokens, head width).
Special: the buffers are reserved once and never move; `write` fills the next slots and returns a
view of the filled part, so nothing is copied and no attention map shows an empty slot.

Notebook: 07_attention_variants
"""

import torch


class KVCache:
    """Keys and values of one layer, for up to `slots` tokens."""

    def __init__(self, batch, heads, slots, head_width, dtype=torch.float32, device="cpu"):
        if slots < 1:
            raise ValueError(f"a cache needs at least one slot, got {slots}")
        shape = (batch, heads, slots, head_width)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0  # tokens written so far

    def write(self, key, value):
        """Appends (batch, head, new, head width); returns all keys and all values so far.

        Raises ValueError for another batch than the cache was made for, and when it is full.
        """
        if len(key) != len(self.keys):
            raise ValueError(
                f"the cache was made for a batch of {len(self.keys)}, {len(key)} came; make one "
                "with new_cache(memory) for this memory"
            )
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
        """Row i becomes what row rows[i] was; rows: (batch,) integers. The buffers stay."""
        self.keys.copy_(self.keys.index_select(0, rows))
        self.values.copy_(self.values.index_select(0, rows))


class DecoderCache:
    """One `KVCache` a layer, and the keys and values of the encoder's output, made once."""

    def __init__(self, layers, memory):
        self.layers = layers  # list of KVCache
        self.memory = memory  # list of (keys, values), one a layer

    @property
    def length(self):
        """Tokens written so far."""
        return self.layers[0].length

    def reorder(self, rows):
        """Beam search moves whole hypotheses; their memory moves along."""
        for layer in self.layers:
            layer.reorder(rows)
        self.memory = [(k.index_select(0, rows), v.index_select(0, rows)) for k, v in self.memory]
