"""The Transformer block that all systems share (Vaswani et al. 2017; pre-norm: Xiong et al. 2020).

input -> output: (batch, frames, width) -> (batch, frames, width).
Special: two switches, `norm_first` and `cross_attention`; what only one system has is a subclass
in that system's file.

Notebook: 09_whisper
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from speechlib.torch_models.attention import MultiHeadAttention
from speechlib.torch_models.linear import Linear
from speechlib.trace import record

ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "selu": F.selu,
    "silu": F.silu,
}


def activation_named(name):
    """The activation function of a config's name; an unknown name is a ValueError."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


class FeedForward(nn.Module):
    """Two linear layers with an activation between, for every frame by itself."""

    def __init__(self, config):
        super().__init__()
        self.up = Linear(config.width, config.feed_forward)
        self.down = Linear(config.feed_forward, config.width)
        self.activation = activation_named(config.activation)
        self.dropout = nn.Dropout(config.activation_dropout)

    def forward(self, x):
        """(batch, frames, width) -> (batch, frames, width)."""
        return self.down(self.dropout(self.activation(self.up(x))))


class Block(nn.Module):
    """Self-attention, then (in a decoder) cross-attention, then the feed-forward part; each is
    added back to what came in."""

    def __init__(self, config):
        super().__init__()
        self.norm_first = config.norm_first
        self.self_attention = self._attention(config)
        self.self_norm = nn.LayerNorm(config.width, config.norm_eps)
        if config.cross_attention:
            self.cross_attention = self._attention(config)
            self.cross_norm = nn.LayerNorm(config.width, config.norm_eps)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = nn.LayerNorm(config.width, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def _attention(c):
        return MultiHeadAttention(c.width, c.heads, c.attention_dropout, c.key_bias, c.attention)

    def forward(self, x, mask=None, bias=None, memory=None, memory_mask=None, cache=None):
        """x (batch, frames, width) -> (batch, frames, width).

        mask: who may look at whom inside x; memory: keys and values of the encoder's output, made
        once by `cross_attention.keys_values`; cache: this layer's place in a `DecoderCache`.
        """

        def look_around(y):
            keys_values = self.self_attention.keys_values(y)
            if cache is not None:
                keys_values = cache.write(*keys_values)
            return self.self_attention(y, keys_values, mask, bias)

        def look_at_memory(y):
            return self.cross_attention(y, memory, memory_mask)

        x = self._add(x, look_around, self.self_norm)
        if memory is not None:
            x = self._add(x, look_at_memory, self.cross_norm)
        x = self._add(x, self.feed_forward, self.feed_forward_norm)
        return record(self, "hidden", x)

    def _add(self, x, part, norm):
        """One part with its shortcut; the norm stands before it or after the sum."""
        if self.norm_first:
            return x + self.dropout(part(norm(x)))
        return norm(x + self.dropout(part(x)))


def is_dropped(module, probability):
    """LayerDrop (Fan et al. 2019): while training, a whole block is left out now and then."""
    return module.training and probability > 0 and torch.rand(()).item() < probability


def run_block(stack, block, *inputs):
    """block(*inputs); while training with `stack.checkpointing` its inner values are not kept but
    computed again on the way back (Chen et al. 2016): less memory, more time, equal gradients."""
    if stack.checkpointing and stack.training:
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)
