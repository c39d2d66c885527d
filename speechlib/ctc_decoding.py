"""From CTC scores to labels: greedy, and prefix beam search (Graves 2012; Hannun et al. 2014).

input -> output: log-probabilities (frames, classes) -> the labels that were said.
Special: many alignments spell one text. Greedy takes the best alignment and collapses it; prefix
beam search adds up the alignments of each text, so it can find a text whose best alignment is not
the best of all.

Notebook: 12_ctc
"""

import numpy as np

from speechlib import limits

NEVER = float("-inf")


def collapse(classes, blank=0) -> list[int]:
    """One class a frame -> labels: repeats become one, then blanks are dropped.

    [7, 7, 0, 7, 5] -> [7, 7, 5]: only a blank in between keeps two equal labels apart.
    """
    classes = np.asarray(classes)
    if classes.ndim != 1:
        raise ValueError(f"expected one class a frame, (frames,), got shape {classes.shape}")
    new = np.ones(len(classes), dtype=bool)
    new[1:] = classes[1:] != classes[:-1]
    return classes[new & (classes != blank)].tolist()


def greedy(log_probs, blank=0) -> list[int]:
    """(frames, classes) -> the labels of the best class of every frame."""
    return collapse(_checked(log_probs, blank).argmax(axis=1), blank)


def prefix_beam(log_probs, beams=10, blank=0) -> list[tuple[list[int], float]]:
    """(frames, classes) -> the `beams` best texts: (labels, log-probability), best first.

    log_probs: after log_softmax. A text's probability is that of all its alignments that passed
    through the beam; with a beam of all prefixes it is exact: minus its `ctc_loss`.
    Raises ValueError for another shape, a blank that is no class, and beams below 1.
    """
    log_probs = _checked(log_probs, blank)
    limits.whole_number("beams", beams, 1)
    # text so far -> log-probability of its alignments that end in a blank, and in its last label
    texts = {(): (0.0, NEVER)}
    for frame in log_probs.tolist():
        grown: dict = {}
        for text, (silent, said) in texts.items():
            both = np.logaddexp(silent, said)
            _add(grown, text, 0, both + frame[blank])
            for label, score in enumerate(frame):
                if label == blank:
                    continue
                if text and label == text[-1]:  # it goes on, or (after a blank) comes again
                    _add(grown, text, 1, said + score)
                    _add(grown, (*text, label), 1, silent + score)
                else:
                    _add(grown, (*text, label), 1, both + score)
        best = sorted(grown, key=lambda text: np.logaddexp(*grown[text]), reverse=True)
        texts = {text: tuple(grown[text]) for text in best[:beams]}
    return [(list(text), float(np.logaddexp(*ends))) for text, ends in texts.items()]


def _add(grown, text, end, log_prob):
    if log_prob > NEVER:  # what cannot be takes no place in the beam
        ends = grown.setdefault(text, [NEVER, NEVER])
        ends[end] = np.logaddexp(ends[end], log_prob)


def _checked(log_probs, blank):
    log_probs = np.asarray(log_probs, dtype=np.float64)
    if log_probs.ndim != 2 or np.isnan(log_probs).any():
        raise ValueError(
            f"expected log-probabilities (frames, classes) of one utterance, got shape "
            f"{log_probs.shape}{' with NaN' if np.isnan(log_probs).any() else ''}"
        )
    if not 0 <= blank < log_probs.shape[1]:
        raise ValueError(
            f"the blank must be one of the classes 0 to {log_probs.shape[1] - 1}, got {blank}"
        )
    return log_probs
