"""Speculative decoding: a small model guesses several tokens, the big one checks them at once.

Paper: Leviathan et al. 2023, "Fast inference from Transformers via speculative decoding".
input -> output: what was heard by both, a prompt -> `Generation`, exactly that of greedy search.
Special: a token of the small model stays only where the big one would have chosen it, so the
small one changes the speed and never the text.

Notebook: 09_whisper
"""

import torch

from speechlib.torch_models.next_logits import Generation, NextLogits, end_and_pad, ruled

DRAFTED = 5  # tokens that the small model guesses before the big one looks


def speculative_search(
    model,
    memory,
    tokens,
    max_tokens,
    rules=(),
    cached=True,
    *,
    draft,
    draft_memory,
    memory_mask=None,
    draft_mask=None,
):
    """memory, draft_memory: what each model heard; tokens (batch, prompt) -> `Generation`.

    The rows of a batch go on together: what is guessed rightly in all of them is kept.
    """
    rows, begin = tokens.shape
    end, pad = end_and_pad(model, tokens.device)
    slots = begin + max_tokens - 1
    judge = NextLogits(model, memory, memory_mask, rows, slots, cached)
    room = slots if draft.config.slots is None else draft.config.slots
    guess = NextLogits(draft, draft_memory, draft_mask, rows, min(slots, room), cached)
    finished = torch.zeros(rows, dtype=torch.bool, device=tokens.device)
    steps = []
    while len(steps) < max_tokens and not finished.all():
        count = min(DRAFTED, max_tokens - len(steps) - 1, room - tokens.shape[1] + 1)
        guessed = _guessed(guess, tokens, count, rules, begin, end, finished)
        logits = judge(guessed, places=guessed.shape[1] - tokens.shape[1] + 1)
        for place in range(logits.shape[1]):
            scores = ruled(rules, logits[:, place], tokens, begin, ~finished)
            chosen = scores.argmax(dim=-1)
            sure = scores.log_softmax(dim=-1).gather(1, chosen[:, None])[:, 0]
            chosen = torch.where(finished, pad, chosen)
            steps.append(torch.where(finished, 0.0, sure))
            tokens = torch.cat([tokens, chosen[:, None]], dim=1)
            finished = finished | torch.isin(chosen, end)
            if finished.all() or tokens.shape[1] > guessed.shape[1]:
                break  # all are at their end, or all guesses were right
            if (chosen != guessed[:, tokens.shape[1] - 1])[~finished].any():
                break
        # the last token has been chosen, not read; what was read after it was guessed wrongly
        judge.forget(tokens.shape[1] - 1)
        guess.forget(tokens.shape[1] - 1)
    steps = torch.stack(steps, dim=1)
    return Generation(tokens=tokens, scores=steps.sum(dim=1), steps=steps)


def _guessed(guess, tokens, count, rules, begin, end, finished):
    """tokens (rows, tokens) with up to `count` more that the small model would choose."""
    finished = finished.clone()
    for _ in range(count):
        chosen = ruled(rules, guess(tokens)[:, -1], tokens, begin, ~finished).argmax(dim=-1)
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        finished |= torch.isin(chosen, end)
        if finished.all():
            break
    return tokens
