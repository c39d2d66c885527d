"""Speech2Text2 (Wang et al. 2021, "Large-Scale Self- and Semi-Supervised Learning for Speech
Translation", arXiv 2104.06678): the text decoder that stands behind a wav2vec 2.0 encoder.

input -> output: tokens (batch, tokens), and memory (batch, frames, width) where there is one
-> logits (batch, tokens, vocabulary).
Special: fairseq's sinusoids, which count real tokens only and go on for ever; embeddings times
sqrt(width); post-norm blocks; no norm at the end; the output layer is the token table itself.

Notebook: 16_speech_to_text_2
"""

import math

import torch
from torch import nn

from speechlib import attention_masks, position_embeddings
from speechlib.torch_models import inputs
from speechlib.torch_models.kv_cache import DecoderCache, KVCache, WithMemory
from speechlib.torch_models.linear import linear
from speechlib.torch_models.transformer import Block, is_dropped, run_block


class TokenPositions(nn.Module):
    """Sinusoids by the place of a token among the real ones; padding gets zeros."""

    def __init__(self, config):
        super().__init__()
        self.pad = config.pad
        # real tokens start at row pad + 1: with the usual pad token 1, at row 2
        shape = (config.positions + 2, config.width)
        self.table = nn.Parameter(torch.empty(shape), requires_grad=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self):
        """The table as published. A checkpoint's own goes before it: the last digits differ."""
        self.table.copy_(self._rows(len(self.table)))

    def forward(self, tokens, past=0):
        """tokens (batch, tokens), past: real tokens that went before, a number or (batch, 1)
        -> (batch, tokens, width)."""
        past = past.cpu().numpy() if torch.is_tensor(past) else past
        # as NumPy, for that is what the function of lesson 03 takes
        places = position_embeddings.token_positions(tokens.cpu().numpy(), self.pad, past)
        table = self.up_to(int(places.max(initial=0)) + 1)
        return table[torch.as_tensor(places, device=table.device)]

    def up_to(self, rows):
        """The table, with at least so many rows: what it lacks is built on the way."""
        have = len(self.table)
        if rows <= have:
            return self.table
        return torch.cat([self.table, self._rows(rows)[have:].to(self.table)])

    def _rows(self, rows):
        width = self.table.shape[1]
        table = position_embeddings.sinusoidal_embeddings(rows, width, "fairseq", self.pad)
        return torch.as_tensor(table)


class TextCache(DecoderCache):
    """A cache that also knows which tokens were real: positions count no others."""

    def __init__(self, layers, memory, memory_mask, real):
        super().__init__(layers, memory, memory_mask)
        self.real = real  # (batch, slots) bool

    def past(self):
        """(batch, 1): real tokens so far."""
        return self.real[:, : self.length].sum(dim=1, keepdim=True)

    def reorder(self, rows):
        """As every cache; which tokens were real moves along."""
        super().reorder(rows)
        self.real.copy_(self.real.index_select(0, rows))


class Speech2Text2(WithMemory):
    """Tokens so far + memory -> logits of the next token, at every place."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.scale = math.sqrt(config.width) if config.scale_embedding else 1.0
        self.token_embedding = nn.Embedding(config.vocabulary, config.width, config.pad)
        self.positions = TokenPositions(config)
        self.dropout = nn.Dropout(config.decoder.dropout)
        self.blocks = nn.ModuleList(Block(config.decoder) for _ in range(config.decoder_layers))
        self.checkpointing = False
        initialise(self)

    def forward(self, tokens, memory=None, memory_mask=None, token_mask=None, cache=None):
        """tokens (batch, tokens), memory (batch, frames, width) -> (batch, tokens, vocabulary).

        memory_mask: (batch, frames) True = real frame. token_mask: (batch, tokens so far) True =
        real token. Without a memory it is a causal language model. cache: from `init_cache`; then
        `tokens` are only the new ones, and the memory and its mask need not be given again.
        """
        c, table = self.config, self.token_embedding.weight
        tokens = inputs.tokens(tokens, c.vocabulary, table.device)
        batch, new = tokens.shape
        past = 0 if cache is None else cache.length
        everything = torch.arange(past + new, device=tokens.device)
        # also for a lone token, which may look at all: the rule may be somebody else's (`use`)
        mask = attention_masks.causal_mask(everything[past:], everything)
        if token_mask is not None:
            real = inputs.token_mask(token_mask, batch, past + new, tokens.device)
            mask = attention_masks.combine(mask, real)
        memories, memory_mask = self.heard(memory, memory_mask, batch, cache)
        positions = self.positions(tokens, 0 if cache is None else cache.past())
        x = self.dropout(self.token_embedding(tokens) * self.scale + positions)
        for layer, block in enumerate(self.blocks):
            if cache is None and is_dropped(self, c.decoder_layer_drop):
                continue  # with a cache never: a dropped block would miss the past later on
            own = None if cache is None else cache.layers[layer]
            x = run_block(self, block, x, mask, None, memories[layer], memory_mask, own)
        if cache is not None:
            cache.real[:, past : past + new] = tokens != c.pad
        return linear(x, table)

    def init_cache(self, batch, slots, memory=None, memory_mask=None):
        """Reserves room for `slots` tokens in each of `batch` rows, and makes the keys and values
        of the memory once. With beams a memory has fewer rows: row i of it serves rows
        i * beams to (i + 1) * beams - 1."""
        c, like = self.config, self.token_embedding.weight
        if memory is not None:
            memory = inputs.numbers(memory, "memory (batch, frames, width)", like)
        rows = inputs.memory_rows(memory, batch)
        memories, memory_mask = self.heard(memory, memory_mask, rows)
        size = (batch, c.decoder.heads, slots, c.width // c.decoder.heads)
        layers = [KVCache(*size, like.dtype, like.device) for _ in self.blocks]
        real = torch.zeros(batch, slots, dtype=torch.bool, device=like.device)
        return TextCache(layers, memories, memory_mask, real)


@torch.no_grad()
def initialise(model):
    """Fresh weights as published: normal with `init_std`, biases 0, the pad token's row 0."""
    std = model.config.init_std
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0.0, std)
            module.bias.zero_()
    model.token_embedding.weight.normal_(0.0, std)
    model.token_embedding.weight[model.config.pad].zero_()
