"""A decoder and what it listens to, asked for the logits of the next token: step by step.

input -> output: tokens so far (rows, tokens) -> logits (rows, last places, vocabulary).
Special: searches neither know caches nor which system they search in. Several rows (the beams of
one recording) share one memory row: row i * beams + j listens to memory row i.

Notebook: 07_attention_variants
"""

from dataclasses import dataclass

import torch

from speechlib import generation_rules


@dataclass(frozen=True)
class Generation:
    """tokens (batch, tokens): prompt, then what was generated, padded after the end token.
    scores (batch,): summed log-probability of the generated tokens; of beams: what they were ranked
    by, the sum / generated tokens^length_penalty.
    steps (batch, new tokens): log-probability of every new token, 0 after the end."""

    tokens: torch.Tensor
    scores: torch.Tensor
    steps: torch.Tensor


class NextLogits:
    """model: a lone decoder, or one that encodes and decodes; memory (batch, frames, width) or
    None; memory_mask (batch, frames) or None; rows: a multiple of the batch; slots: the most tokens
    that will be read; cached=False reads everything from the start at every call."""

    def __init__(self, model, memory, memory_mask, rows, slots, cached=True):
        self.decode = model.decode if hasattr(model, "decode") else model
        masked = {} if memory_mask is None else {"memory_mask": memory_mask}
        if cached:
            self.cache = model.init_cache(rows, slots, memory=memory, **masked)
            self.given = {}
        else:
            self.cache = None
            self.given = {"memory": memory, **masked}
            if memory is not None and len(memory) not in (0, rows):
                beams = rows // len(memory)
                self.given = {n: x.repeat_interleave(beams, 0) for n, x in self.given.items()}

    def __call__(self, tokens, places=1):
        """tokens (rows, all tokens so far) -> (rows, places, vocabulary), float32: what comes after
        each of the last `places` tokens. With a cache only tokens that it has not seen are read."""
        if self.cache is None:
            return self.decode(tokens, **self.given)[:, -places:].float()
        return self.decode(tokens[:, self.cache.length :], cache=self.cache)[:, -places:].float()

    def forget(self, length):
        """As if only the first `length` tokens had been read."""
        if self.cache is not None:
            self.cache.cut(min(length, self.cache.length))

    def reorder(self, rows):
        """Row i goes on as what row rows[i] was."""
        if self.cache is not None:
            self.cache.reorder(rows)


def ruled(rules, scores, tokens, begin, open_rows=None):
    """scores (rows, vocabulary) with minus infinity where a rule forbids a token.

    tokens (rows, tokens so far), the first `begin` of them the prompt. open_rows: (rows,) True =
    still being written; the others are left as they are.
    """
    if not rules or (open_rows is not None and not open_rows.any()):
        return scores
    every = slice(None) if open_rows is None or open_rows.all() else open_rows
    # most rules only name tokens: those need neither NumPy nor the scores
    named, others = generation_rules.named_first(rules, tokens.shape[1] == begin, scores.shape[1])
    left = scores.index_fill(1, torch.tensor(named, device=scores.device).long(), -torch.inf)
    if others:
        seen, said = left[every].cpu().numpy(), tokens[every].cpu().numpy()
        allowed = torch.from_numpy(generation_rules.allowed_tokens(others, seen, said, begin))
        hidden = torch.zeros_like(scores, dtype=torch.bool)
        hidden[every] = ~allowed.to(scores.device)
        left = left.masked_fill(hidden, -torch.inf)
    if torch.isneginf(left[every].amax(dim=-1)).any():  # nothing is left: this says so
        seen, said = scores[every].cpu().numpy(), tokens[every].cpu().numpy()
        generation_rules.allowed_tokens(rules, seen, said, begin)
    return left


def settings_of(model) -> dict:
    """The checkpoint's generation settings; {} for a model that came from none."""
    if not hasattr(model, "checkpoint"):
        return {}
    return generation_rules.settings_of(model.checkpoint.config, model.checkpoint.generation)


def end_and_pad(model, device):
    """The tokens that end a text (a tensor) and the one that fills up after it."""
    end, pad = generation_rules.end_and_pad(settings_of(model), model.config)
    return torch.tensor(end, device=device), pad
