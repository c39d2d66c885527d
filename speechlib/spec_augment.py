"""SpecAugment: hide random spans of time or of features, so that a model learns to guess them.

(batch, size) -> boolean mask (batch, size), True = hidden. From Park et al. 2019, "SpecAugment"
(arXiv:1904.08779), as wav2vec 2.0, WavLM and Whisper use it in Hugging Face: the number of spans
comes from the share of a row to hide, the spans may overlap, and they end before the padding.

Notebook: 05_masks
"""

import numbers

import numpy as np


def span_mask(shape, probability, length, lengths=None, min_spans=0, rng=None):
    """Random spans of `length` places each, over one axis of a batch.

    shape: (batch, size), size in mel frames, frames or features. probability: the share of a row
    that the spans would cover if none overlapped. lengths: (batch,) real places in each row, where
    rows are padded at the end. min_spans: at least so many spans in a row, if they fit. rng: a
    numpy Generator (fast), or a RandomState, which draws exactly what Hugging Face draws under
    np.random.seed(seed); None: a fresh Generator.
    Returns (batch, size) bool, True = hidden. Rows differ in their number of spans only where
    their lengths do.
    """
    rng = np.random.default_rng() if rng is None else rng
    lengths = _checked(shape, probability, length, lengths, min_spans, rng)
    size = shape[1]
    rounding = rng.random()  # rounds up as often as the fraction says: 2.3 spans are 3 in 30 %

    def spans_in(real):
        wanted = np.maximum((probability * real / length + rounding).astype(int), min_spans)
        wanted = np.where(wanted * length > size, size // length, wanted)
        return np.minimum(wanted, np.maximum(real - length + 1, 0))  # each start is used once

    hidden = np.zeros(shape, dtype=bool)
    if spans_in(np.array(size)) == 0:
        return hidden
    spans, places = spans_in(lengths), np.maximum(lengths - length + 1, 0)
    old = isinstance(rng, np.random.RandomState)
    starts = (_starts_like_hugging_face if old else _starts)(rng, spans, places, size)
    hidden.reshape(-1)[starts[:, None] + np.arange(length)] = True
    if old:  # Hugging Face marks the last place, which is padding, of a row too short for a span
        hidden[spans == 0, -1] = True
    return hidden


def _starts(rng, spans, places, size):
    """`spans` (batch,) different starts out of the first `places` (batch,) of each row.

    Returns places in the flattened (batch, size), for all rows together.
    """
    batch = np.arange(len(spans))
    started = np.zeros((len(spans), size), dtype=bool)
    # what was drawn twice is drawn again, which leaves every choice equally likely
    while (missing := spans - np.count_nonzero(started, axis=1)).any():
        rows = np.repeat(batch, missing)
        started[rows, rng.integers(places[rows])] = True
    return np.flatnonzero(started)


def _starts_like_hugging_face(rng, spans, places, size):
    """The same from a RandomState: one shuffle of all places a row, of which the first are used."""
    starts = [rng.permutation(n)[:k] for n, k in zip(places, spans, strict=True)]
    return np.concatenate(starts) + np.repeat(size * np.arange(len(spans)), spans)


def _checked(shape, probability, length, lengths, min_spans, rng):
    """The lengths (batch,), all of `size` if there are none; ValueError for what cannot be."""
    if np.shape(shape) != (2,) or not all(map(_is_whole, shape)) or min(shape) < 1:
        raise ValueError(
            f"expected shape (batch, size), whole numbers, both at least 1, came {shape}"
        )
    batch, size = shape
    lengths = np.full(batch, size) if lengths is None else np.asarray(lengths)
    if not (_is_whole(length) and _is_whole(min_spans) and lengths.dtype.kind in "iu"):
        raise ValueError(
            f"expected length, min_spans and lengths as whole numbers, came {length!r}, "
            f"{min_spans!r} and {lengths.tolist()}"
        )
    if not isinstance(probability, numbers.Real):
        raise ValueError(f"expected a probability from 0 to 1, came {probability!r}")
    if not 0 <= probability <= 1:
        raise ValueError(
            f"expected a probability from 0 to 1, came {probability}: a share of a row"
        )
    if not 1 <= length <= size:
        raise ValueError(
            f"expected a span length from 1 to the size of a row, {size}, came {length}: "
            "make the spans shorter or the rows longer"
        )
    if lengths.shape != (batch,) or lengths.min() < 0 or lengths.max() > size:
        raise ValueError(
            f"expected {batch} lengths from 0 to {size}, came {lengths.tolist()}: count the real "
            "places in each row"
        )
    if min_spans < 0:
        raise ValueError(f"expected min_spans of at least 0, came {min_spans}")
    if not isinstance(rng, np.random.Generator | np.random.RandomState):
        raise ValueError(
            f"expected rng to be a numpy Generator or RandomState, came {type(rng).__name__}: "
            "make one with numpy.random.default_rng(seed)"
        )
    return lengths


def _is_whole(value):
    return isinstance(value, numbers.Integral)
