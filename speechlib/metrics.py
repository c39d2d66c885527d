"""How wrong is a transcript? Word and character error rates.

Source: Levenshtein 1966; error rate as NIST's sclite counts it: (S + I + D) / reference words.
input -> output: reference and hypothesis texts -> errors divided by reference length, 0 = perfect.
Special here: the rate is of the whole corpus (all errors over all words), not a mean of rates.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Errors:
    """Edits that turn a reference into a hypothesis, and how long the reference is."""

    substitutions: int
    insertions: int
    deletions: int
    length: int

    @property
    def total(self) -> int:
        return self.substitutions + self.insertions + self.deletions

    @property
    def rate(self) -> float:
        """Errors / reference length; above 1 where much was invented."""
        if self.length == 0:
            raise ValueError(
                f"expected a reference with at least one word, got none ({self.insertions} "
                "inserted); count inserted words instead of a rate"
            )
        return self.total / self.length

    def __add__(self, other):
        return Errors(
            self.substitutions + other.substitutions,
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.length + other.length,
        )


def edits(reference, hypothesis) -> list[tuple[str, object, object]]:
    """The fewest edits between two sequences, in order: (kind, reference item, hypothesis item).

    kind: "equal", "substitute", "insert" (nothing in the reference: None) or "delete". Of equally
    short ways, the one with substitutions first, seen from the end.
    """
    rows, columns = len(reference), len(hypothesis)
    distance = np.zeros((rows + 1, columns + 1), dtype=np.int64)
    distance[:, 0] = np.arange(rows + 1)
    distance[0, :] = np.arange(columns + 1)
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            change = distance[i - 1, j - 1] + (reference[i - 1] != hypothesis[j - 1])
            distance[i, j] = min(change, distance[i - 1, j] + 1, distance[i, j - 1] + 1)
    steps, i, j = [], rows, columns
    while i or j:
        same = bool(i and j) and reference[i - 1] == hypothesis[j - 1]
        if i and j and distance[i, j] == distance[i - 1, j - 1] + (not same):
            i, j = i - 1, j - 1
            steps.append(("equal" if same else "substitute", reference[i], hypothesis[j]))
        elif i and distance[i, j] == distance[i - 1, j] + 1:
            i -= 1
            steps.append(("delete", reference[i], None))
        else:
            j -= 1
            steps.append(("insert", None, hypothesis[j]))
    return steps[::-1]


def count_errors(reference, hypothesis) -> Errors:
    """The errors between two sequences (of words, characters, tokens, ...)."""
    kinds = [kind for kind, _, _ in edits(reference, hypothesis)]
    return Errors(
        kinds.count("substitute"), kinds.count("insert"), kinds.count("delete"), len(reference)
    )


def word_errors(references, hypotheses) -> Errors:
    """The word errors of a corpus, summed.

    references, hypotheses: one text, or a list with a text (or a list of words) an utterance.
    Texts are split at white space and compared as they are: lower-case them first where case and
    punctuation should not count.
    """
    return sum(_each(references, hypotheses, _words), Errors(0, 0, 0, 0))


def wer(references, hypotheses) -> float:
    """Word error rate: (substitutions + insertions + deletions) / reference words.

    Arguments as for `word_errors`. Raises ValueError when the references have no words at all.
    """
    return word_errors(references, hypotheses).rate


def cer(references, hypotheses) -> float:
    """Character error rate, spaces counted as characters. Arguments: one text each, or lists."""
    return sum(_each(references, hypotheses, list), Errors(0, 0, 0, 0)).rate


def wer_interval(
    references, hypotheses, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """(low, high): where the corpus' WER lies in `level` of `draws` corpora drawn from this one.

    The bootstrap over utterances (Bisani and Ney 2004): utterances are drawn with replacement, as
    many as there are. Utterances of one speaker resemble each other, so the truth is wider.
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    errors = _each(references, hypotheses, _words)
    _ = sum(errors, Errors(0, 0, 0, 0)).rate  # complains where there is no rate
    total = np.array([each.total for each in errors])
    length = np.array([each.length for each in errors])
    drawn = np.random.default_rng(seed).integers(len(errors), size=(draws, len(errors)))
    lengths = length[drawn].sum(axis=1)
    rates = total[drawn].sum(axis=1)[lengths > 0] / lengths[lengths > 0]
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _each(references, hypotheses, split) -> list[Errors]:
    references = [references] if isinstance(references, str) else list(references)
    hypotheses = [hypotheses] if isinstance(hypotheses, str) else list(hypotheses)
    if len(references) != len(hypotheses):
        raise ValueError(
            f"expected as many hypotheses as references, got {len(hypotheses)} for "
            f"{len(references)}; an utterance without a transcript is an empty text"
        )
    pairs = zip(references, hypotheses, strict=True)
    return [count_errors(split(reference), split(hypothesis)) for reference, hypothesis in pairs]


def _words(text) -> list[str]:
    return text.split() if isinstance(text, str) else list(text)
