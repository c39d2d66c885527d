"""The static key/value cache of a decoder: what has been computed for earlier tokens is kept.

input -> output: keys and values of the new tokens (batch, head, new, head width) -> those of all
tokens so far (batch, head, tokens, head width).
Special: the mirror of `torch_models/kv_cache.py`. In JAX a new shape is a new compilation, so
`write` returns all slots, and the causal mask hides the empty ones.

Notebook: 19_flax
"""

import jax
import jax.numpy as jnp
from flax import nnx

from speechlib import attention_masks, limits
from speechlib.flax_models import inputs
from speechlib.trace import is_open


class KVCache(nnx.Module):
    """Keys and values of one layer, for up to `slots` tokens."""

    def __init__(self, batch, heads, slots, head_width, dtype=jnp.float32):
        limits.cache_size(batch, slots)
        shape = (batch, heads, slots, head_width)
        self.keys = nnx.Cache(jnp.zeros(shape, dtype))
        self.values = nnx.Cache(jnp.zeros(shape, dtype))
        self.length = nnx.Cache(jnp.zeros((), jnp.int32))  # tokens written so far

    def write(self, key, value):
        """Appends (batch, head, new, head width); returns all keys and all values so far.

        Raises ValueError for another batch than the cache was made for, and when it is full (which
        cannot be seen under `jit`).
        """
        limits.cache_rows(len(self.keys), len(key))
        places, begin = self.places(key.shape[2]), self.length[...]
        for buffer, new in ((self.keys, key), (self.values, value)):
            new = new.astype(buffer.dtype)
            old = buffer.get_value()
            buffer.set_value(jax.lax.dynamic_update_slice_in_dim(old, new, begin, axis=2))
        self.length.set_value(begin + key.shape[2])
        return self.keys[:, :, :places], self.values[:, :, :places]

    def places(self, new):
        """How many keys the next `new` tokens get to look at: all slots, for a shape that stays is
        compiled once. Only who traces (outside `jit`) gets those that are filled."""
        slots, length = self.keys.shape[2], self.length[...]
        if isinstance(length, jax.core.Tracer):
            return slots
        if length + new > slots:
            raise ValueError(
                f"the cache has {slots} slots, {length} are filled and {new} more tokens came; "
                "reserve more slots or generate fewer tokens"
            )
        return int(length) + new if is_open() else slots

    def reorder(self, rows):
        """Row i becomes what row rows[i] was; rows: (batch,) integers."""
        for buffer in (self.keys, self.values):
            buffer.set_value(buffer[rows])


class DecoderCache(nnx.Module):
    """One `KVCache` a layer, and the keys and values of the encoder's output, made once."""

    def __init__(self, layers, memory, memory_mask=None):
        self.layers = nnx.List(layers)
        self.listen(memory, memory_mask)

    def listen(self, memory, memory_mask=None):
        """memory: list of (keys, values) or None, one a layer; memory_mask: (batch, 1, 1, frames),
        True = may look, or None: all."""
        self.memory, self.memory_mask = nnx.data(memory), nnx.data(memory_mask)

    @property
    def length(self):
        """Tokens written so far."""
        return self.layers[0].length[...]

    @property
    def slots(self):
        """Tokens that there is room for."""
        return self.layers[0].keys.shape[2]

    def places(self, new):
        """How many keys the next `new` tokens get to look at."""
        return self.layers[0].places(new)

    def cut(self, length):
        """Forgets all but the first `length` tokens."""
        for layer in self.layers:
            layer.length.set_value(jnp.asarray(length, jnp.int32))

    def reorder(self, rows):
        """Row i goes on as what row rows[i] was. Its memory moves along."""
        for layer in self.layers:
            layer.reorder(rows)
        self.listen(*jax.tree.map(lambda x: x[rows], (self.memory, self.memory_mask)))


class WithMemory(nnx.Module):
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
                came = inputs.as_array(memory, "memory (batch, frames, width)").shape
                limits.cache_memory((rows, frames, self.config.width), came)
        if memory_mask is not None:
            if memories[0] is None:
                raise ValueError("expected a memory for this memory_mask, got None")
            keys = memories[0][0]
            real = inputs.memory_mask(memory_mask, len(keys), keys.shape[2])
            real = attention_masks.for_keys(real)
        if cache is not None and cache.memory[0] is None and memory is not None:
            cache.listen(memories, real)
        return memories, real

    def memories(self, memory, batch=None):
        """(batch, frames, width) -> the keys and values that each block looks at: a list of
        pairs, one a block, each (batch, head, frames, head width); Nones without a memory."""
        if memory is None:
            return [None] * len(self.blocks)
        batch = len(memory) if batch is None else batch
        memory = inputs.memory(memory, batch, self.config.width, self.dtype)
        return [block.cross_attention.keys_values(memory) for block in self.blocks]
