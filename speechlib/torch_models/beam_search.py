"""Beam search: the best `beams` texts are kept at every step, not only the best one.

Papers: Graves 2012, "Sequence transduction with recurrent neural networks" (the search); Wu et al.
2016, "Google's neural machine translation system" (length penalty).
input -> output: what was heard, a prompt -> `Generation` of the best text found.
Special: follows transformers 4.46.3 step by step: how many candidates there are, which end tokens
count, when a recording is done. All beams of a recording listen to one memory.

Notebook: 09_whisper
"""

from dataclasses import dataclass, field

import torch

from speechlib.torch_models.next_logits import Generation, NextLogits, end_and_pad, ruled

NOT_YET = -1e9  # score of the copies of the prompt: at first only one beam of a recording counts


@dataclass
class Finished:
    """The best texts of one recording that are at their end, at most `beams`."""

    beams: int
    length_penalty: float
    early_stopping: bool | str
    max_tokens: int
    texts: list = field(default_factory=list)  # (score, tokens, steps), in the order they came

    def add(self, total, tokens, steps):
        """total: summed log-probability; tokens: prompt and text, without the end token; steps
        (new tokens,): log-probabilities, that of an end token included."""
        score = total / len(steps) ** self.length_penalty
        if len(self.texts) == self.beams:
            worst = min(range(self.beams), key=lambda place: self.texts[place][0])
            if score <= self.texts[worst][0]:
                return
            del self.texts[worst]
        self.texts.append((score, tokens, steps))

    def is_done(self, best_total, length):
        """Can no open text become better than the worst kept? best_total: of all candidates that
        have `length` new tokens. A guess where the penalty is positive, unless "never"."""
        if len(self.texts) < self.beams or self.early_stopping is True:
            return len(self.texts) == self.beams
        if self.early_stopping == "never" and self.length_penalty > 0:
            length = self.max_tokens  # the longest text divides its sum the most
        return min(score for score, *_ in self.texts) >= best_total / length**self.length_penalty

    def best(self):
        """(score, tokens, steps) of the best; among equals the last that came."""
        return max(reversed(self.texts), key=lambda text: text[0])


def beam_search(
    model,
    memory,
    tokens,
    max_tokens,
    rules=(),
    cached=True,
    *,
    beams,
    length_penalty=1.0,
    early_stopping=False,
    memory_mask=None,
):
    """memory (batch, frames, width) or None; tokens (batch, prompt) -> `Generation`.

    Rules see log-probabilities, each beam its own; what they forbid is taken from nobody's share.
    """
    batch, begin = tokens.shape
    end, pad = end_and_pad(model, tokens.device)
    next_logits = NextLogits(
        model, memory, memory_mask, batch * beams, begin + max_tokens - 1, cached
    )
    finished = [Finished(beams, length_penalty, early_stopping, max_tokens) for _ in range(batch)]
    done = [False] * batch
    tokens = tokens.repeat_interleave(beams, dim=0)
    steps = tokens.new_zeros((len(tokens), 0), dtype=torch.float32)
    totals = steps.new_full((batch, beams), NOT_YET)
    totals[:, 0] = 0
    for length in range(1, max_tokens + 1):
        still = torch.tensor(done, device=tokens.device).logical_not().repeat_interleave(beams)
        new = next_logits(tokens)[:, -1].log_softmax(dim=-1)
        new = ruled(rules, new, tokens, begin, still)
        candidates = best_candidates(totals.view(-1, 1) + new, batch, len(end))
        kept = []
        for number, ranked in enumerate(candidates):
            if done[number]:
                kept += [(number * beams + beam, pad, 0.0) for beam in range(beams)]
                continue
            opened, ended = split(ranked, beams, end.tolist())
            for row, token, total in ended:
                finished[number].add(total, tokens[row], torch.cat([steps[row], new[row, [token]]]))
            kept += opened
            done[number] = finished[number].is_done(ranked[0][2], length)
        order, chosen, sums = zip(*kept, strict=True) if kept else ((), (), ())
        order, chosen = (torch.tensor(x, device=tokens.device).long() for x in (order, chosen))
        tokens = torch.cat([tokens[order], chosen[:, None]], dim=1)
        steps = torch.cat([steps[order], new[order, chosen][:, None]], dim=1)
        totals = steps.new_tensor(sums).view(batch, beams)
        if all(done):
            break
        next_logits.reorder(order)
    for row, total in enumerate(totals.flatten().tolist()):
        if not done[row // beams]:  # out of tokens: the open texts compete as they are
            finished[row // beams].add(total, tokens[row], steps[row])
    return _best_of([one.best() for one in finished], begin, max_tokens, int(end[0]), pad, tokens)


def best_candidates(totals, batch, ends):
    """totals (batch * beams, vocabulary): summed log-probabilities -> for each recording a list of
    (row, token, total), best first; enough that `beams` remain when all end tokens are left out."""
    rows, vocabulary = totals.shape
    beams = rows // max(batch, 1)
    totals = totals.view(batch, beams * vocabulary)
    count = min(max(2, 1 + ends) * beams, totals.shape[1])
    best, places = totals.topk(count, dim=1)
    return [
        [(number * beams + place // vocabulary, place % vocabulary, total)
         for total, place in zip(*row, strict=True)]
        for number, row in enumerate(zip(best.tolist(), places.tolist(), strict=True))
    ]  # fmt: skip


def split(ranked, beams, end):
    """Candidates of a recording, best first -> (those that go on, those that end).

    The first `beams` without an end token go on; an end token counts only among the first `beams`
    candidates.
    """
    opened, ended = [], []
    for rank, (row, token, total) in enumerate(ranked):
        if token not in end:
            opened.append((row, token, total))
        elif rank < beams:
            ended.append((row, token, total))
        if len(opened) == beams:
            return opened, ended
    raise ValueError(
        f"expected {beams} candidates that go on, got {len(opened)}: the vocabulary has hardly "
        f"more than the end tokens {end}; ask for fewer beams"
    )


def _best_of(best, begin, max_tokens, end, pad, like):
    """(score, tokens, steps) a recording -> `Generation`, filled up after the end."""
    longest = max((len(tokens) for _, tokens, _ in best), default=begin)
    width = min(longest + 1, begin + max_tokens)
    tokens = like.new_full((len(best), width), pad)
    steps = torch.zeros((len(best), width - begin), device=like.device)
    for row, (_, said, sure) in enumerate(best):
        tokens[row, : len(said)] = said
        if len(said) < width:
            tokens[row, len(said)] = end
        steps[row, : len(sure)] = sure
    scores = torch.tensor([score for score, *_ in best], device=like.device, dtype=torch.float32)
    return Generation(tokens=tokens, scores=scores, steps=steps)
