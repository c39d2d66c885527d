"""How wrong is it? Word and character error rates, equal error rate, diarisation error.

Source: Levenshtein 1966; error rate as NIST's sclite counts it: (S + I + D) / reference words;
diarisation error as NIST's md-eval counts it (missed + false alarm + wrong speaker) / speech.
input -> output: what is right and what was said -> errors divided by the right amount, 0 = perfect.
Special here: the rate is of the whole corpus (all errors over all words), not a mean of rates.
"""

import contextlib
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
    errors = _each(references, hypotheses, _words)
    _ = sum(errors, Errors(0, 0, 0, 0)).rate  # complains where there is no rate
    counts = np.array([(each.total, each.length) for each in errors])
    return bootstrap(_rate_of_counts, counts, level=level, draws=draws, seed=seed)


def _rate_of_counts(counts):
    """counts: (utterances, 2), errors and words. No words: no rate."""
    errors, words = counts.sum(axis=0)
    return errors / words if words else float("nan")


def bootstrap(
    statistic, items, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """(low, high): where a number lies in `level` of `draws` data sets drawn from this one.

    statistic(items) -> the number; items: a list or an array whose first axis is items. As many
    items are drawn as there are, with replacement (Efron 1979). A draw that has no such number
    (NaN, or a ValueError: no words, one class) is left out; ValueError when that is all of them.
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    if not len(items):
        raise ValueError("expected items to draw from, got none")
    found = []
    for chosen in np.random.default_rng(seed).integers(len(items), size=(draws, len(items))):
        drawn = items[chosen] if isinstance(items, np.ndarray) else [items[i] for i in chosen]
        with contextlib.suppress(ValueError):
            found.append(float(statistic(drawn)))
    found = [value for value in found if value == value]
    if not found:
        raise ValueError(f"none of {draws} draws from {len(items)} items has such a number")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
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


def eer(scores, same) -> float:
    """Equal error rate: accept as many wrong pairs as right ones are refused; 0 = perfect.

    scores: (trials,), higher = rather the same voice; same: (trials,), True or 1 = it is the same.
    Between two thresholds the rates are joined by a straight line, as in the ROC curve, so equal
    scores count half. Raises ValueError unless there are trials of both kinds.
    """
    accepted, refused = detection_errors(scores, same)[1:]
    apart = accepted - refused  # 1 to -1, never up
    last = np.flatnonzero(apart >= 0)[-1]
    share = apart[last] / (apart[last] - apart[last + 1])
    return float(accepted[last] + share * (accepted[last + 1] - accepted[last]))


def detection_errors(scores, same) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each threshold gets wrong: (thresholds, false acceptances, false rejections).

    Arguments as for `eer`. Accepted is what scores at least the threshold: from minus infinity
    (everything) by all scores upwards to infinity (nothing). Rates of the trials of that kind.
    """
    scores, same = np.asarray(scores, dtype=np.float64), np.asarray(same)
    if scores.ndim != 1 or scores.shape != same.shape or np.isnan(scores).any():
        raise ValueError(
            f"expected scores and same of one shape (trials,), without NaN, got {scores.shape} and "
            f"{same.shape}"
        )
    same = same.astype(bool)
    if same.all() or not same.any():
        raise ValueError(
            f"expected trials of the same voice and of different voices, got {same.sum()} of the "
            f"same and {(~same).sum()} of different ones"
        )
    thresholds = np.concatenate([[-np.inf], np.unique(scores), [np.inf]])
    right, wrong = np.sort(scores[same]), np.sort(scores[~same])
    refused = np.searchsorted(right, thresholds) / len(right)
    accepted = 1 - np.searchsorted(wrong, thresholds) / len(wrong)
    return thresholds, accepted, refused


@dataclass(frozen=True)
class DiarizationErrors:
    """Speaker time (in frames, or in seconds for segments) that was told wrongly, and in all."""

    missed: float
    false_alarm: float
    confused: float  # the wrong speaker
    speech: float  # of all speakers of the reference

    @property
    def rate(self) -> float:
        if self.speech == 0:
            raise ValueError("expected a reference in which somebody speaks, got silence")
        return (self.missed + self.false_alarm + self.confused) / self.speech

    def __add__(self, other):
        names = ("missed", "false_alarm", "confused", "speech")
        return DiarizationErrors(*(getattr(self, n) + getattr(other, n) for n in names))


def diarization_error(reference, hypothesis) -> float:
    """Diarisation error rate: (missed + false alarm + wrong speaker) / speech of the reference.

    Arguments as for `diarization_errors`. Raises ValueError when nobody speaks in the reference.
    """
    return diarization_errors(reference, hypothesis).rate


def diarization_errors(reference, hypothesis) -> DiarizationErrors:
    """The errors of one recording; add those of several recordings up.

    reference, hypothesis, each: (frames, speakers) of True and False or 1 and 0; or (frames,) whole
    numbers, the speaker of each frame, negative = nobody; or segments (start_s, end_s, speaker).
    Speakers may be named and ordered differently on both sides: the one-to-one match with the most
    time in common counts. Where several speak at once, each of them counts.
    """
    if _is_segments(reference) or _is_segments(hypothesis):
        weight, right, told = _pieces(reference, hypothesis)
    else:
        right, told = _activity(reference), _activity(hypothesis)
        weight = np.ones(len(right))
    if len(right) != len(told):
        raise ValueError(f"expected as many frames on both sides, got {len(right)} and {len(told)}")
    together = (right * weight[:, None]).T @ told  # (speaker, speaker), time in common
    rows, columns = _best_match(together)
    agreed = (right[:, rows] * told[:, columns]).sum(axis=1)
    speaking, claimed = right.sum(axis=1), told.sum(axis=1)
    return DiarizationErrors(
        missed=float(weight @ np.maximum(speaking - claimed, 0)),
        false_alarm=float(weight @ np.maximum(claimed - speaking, 0)),
        confused=float(weight @ (np.minimum(speaking, claimed) - agreed)),
        speech=float(weight @ speaking),
    )


def _best_match(together):
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(together, maximize=True)


def _is_segments(speakers) -> bool:
    return isinstance(speakers, list | tuple) and all(
        isinstance(segment, tuple) and len(segment) == 3 and segment[0] < segment[1]
        for segment in speakers
    )


def _pieces(*sides):
    """Segments -> seconds of each piece between two changes, and who speaks in it on each side."""
    if not all(map(_is_segments, sides)):
        raise ValueError("expected segments (start_s, end_s, speaker) on both sides, or on neither")
    times = np.unique([t for side in sides for start, end, _ in side for t in (start, end)])
    activity = []
    for side in sides:
        names = list(dict.fromkeys(name for _, _, name in side))
        speaks = np.zeros((max(len(times) - 1, 0), len(names)))
        for start, end, name in side:
            speaks[(times[:-1] >= start) & (times[1:] <= end), names.index(name)] = 1
        activity.append(speaks)
    return np.diff(times), *activity


def _activity(speakers) -> np.ndarray:
    """(frames, speakers) of 0 and 1."""
    speakers = np.asarray(speakers)
    if speakers.ndim == 1 and (speakers.dtype.kind in "iu" or not len(speakers)):
        return (speakers[:, None] == np.unique(speakers[speakers >= 0])).astype(float)
    if speakers.ndim != 2 or not np.isin(speakers, (0, 1)).all():
        raise ValueError(
            "expected (frames, speakers) of 1 = speaks and 0, (frames,) of speaker numbers, or "
            "tuples (start_s, later end_s, speaker), got shape "
            f"{speakers.shape} of {speakers.dtype}"
        )
    return speakers.astype(float)


def perplexity(shares) -> float:
    """Among how many equally likely things was chosen? exp of the entropy.

    shares: (things,) counts or probabilities, not negative; scaled to a sum of 1.
    """
    shares = np.asarray(shares, dtype=np.float64)
    if shares.ndim != 1 or not (shares >= 0).all() or not shares.sum() > 0:
        raise ValueError(f"expected (things,) of counts or probabilities, got {shares!r}")
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
