"""Looking on while a Whisper learns: one utterance, asked again and again.

input -> output: a model at some step -> where it looks for each word, and what it writes.
Special: the words are told, so that from the first step on there is a row for each of them; what
the model would write by itself stands beside it. Looking changes nothing in the training.
"""

from dataclasses import dataclass

import numpy as np
import torch

from speechlib.torch_models.generation import generate
from speechlib.torch_models.word_timing import cross_attention

FRAMES_A_SECOND = 50
ROOM = 2  # frames on either side that count as inside a word: a frame hears 65 ms


@dataclass(frozen=True)
class Glimpse:
    """What was seen at one step."""

    step: int
    weights: np.ndarray  # (words, frames): mean over the heads of the last decoder block
    written: str  # what the model writes by itself
    inside: float  # share of the weight that lies inside the right word, mean over the words


class Watched:
    """One utterance, and everything seen of it so far (`.glimpses`).

    mel: (mel bins, mel frames), one window; words: (word, start_s, end_s, …), as an `Utterance`
    has them; tokens: the id of each word, one a word; prompt: the tokens before the first word;
    name: function of a token id -> its text.
    """

    def __init__(self, mel, words, tokens, prompt, name):
        if len(words) != len(tokens):
            raise ValueError(f"one token a word is needed, got {len(words)}, {len(tokens)}")
        self.mel, self.words = np.asarray(mel), [tuple(word) for word in words]
        self._tokens, self._prompt, self._name = list(tokens), list(prompt), name
        self.glimpses = []

    @torch.no_grad()
    def look(self, whisper, step):
        """-> the `Glimpse` of this step, kept as well."""
        whisper.eval()  # the trainer sets what it needs at its next step
        mel = torch.from_numpy(self.mel)[None].to(whisper.encoder.conv1.weight)
        memory, prompt = whisper.encode(mel), torch.tensor([self._prompt], device=mel.device)
        heads = cross_attention(whisper, memory, prompt, self._tokens)[-1]
        first = len(self._prompt) - 1  # the row that finds a token is the one before it
        weights = heads[:, first : first + len(self._tokens)].mean(axis=0)
        room = whisper.config.slots - len(self._prompt)
        found = generate(whisper, mel, max_tokens=room, prompt=self._prompt, rules=[])
        texts = [self._name(token) for token in found.tokens[0, len(self._prompt) :].tolist()]
        written = " ".join(filter(None, texts))
        self.glimpses.append(Glimpse(step, weights, written, self.inside(weights)))
        return self.glimpses[-1]

    def inside(self, weights):
        """Share of the weight (words, frames) inside the right word, mean over the words."""
        spans = [(round(FRAMES_A_SECOND * start_s), round(FRAMES_A_SECOND * end_s))
                 for _, start_s, end_s, *_ in self.words]  # fmt: skip
        shares = [row[max(0, start - ROOM) : end + ROOM].sum()
                  for row, (start, end) in zip(weights, spans, strict=True)]  # fmt: skip
        return float(np.mean(shares))
