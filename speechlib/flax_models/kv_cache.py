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

from speechlib import limits
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
