"""The checks of lesson 00, start here: cases, references, mistakes that learners make.

Texts: content/00_start_here.toml. Notebook: 00_start_here
"""

import numpy as np

from speechlib.lessons.banking import Bank, case

bank = Bank("00")

BY_HAND = np.array([0.0, 0.125, 0.5, 0.25, 0.0625, 0.0625])  # the row of the lesson's text


def bumps(rng, frames, centres, wide=4.0):
    """A row like a real one: bumps on a low floor, sum 1. (frames,) float32"""
    places = np.arange(frames)
    row = rng.uniform(0.001, 0.02, frames)
    for centre in centres:
        row += rng.uniform(0.9, 1.1) * np.exp(-(((places - centre) / wide) ** 2))
    return (row / row.sum()).astype(np.float32)


# -- 00.1 the strongest frame, in seconds

peak = bank.exercise("00.1")


@peak.cases
def peak_cases():
    yield case(BY_HAND, note="six frames: the third one is the strongest")
    yield case(np.eye(4, dtype=np.float32)[0], note="the very first frame")
    rng = np.random.default_rng(1)
    yield case(bumps(rng, 300, [74]), note="a row as this model has it: 300 frames")
    for frames in (300, 300, 50, 1500):
        yield case(bumps(rng, frames, [int(rng.integers(5, frames - 5))]))
    yield case(bumps(rng, 300, [60, 200]), note="two bumps")


@peak.reference
def listened_at(row):
    return np.argmax(row) * 0.02


@peak.mistake("ten_ms")
def peak_ten_ms(row):
    return np.argmax(row) * 0.01


@peak.mistake("frame_number")
def peak_frame_number(row):
    return float(np.argmax(row))


@peak.mistake("milliseconds")
def peak_milliseconds(row):
    return np.argmax(row) * 20.0


@peak.mistake("samples")
def peak_samples(row):
    return np.argmax(row) * 320.0


@peak.mistake("per_second")
def peak_per_second(row):
    return np.argmax(row) / 0.02


@peak.mistake("from_one")
def peak_from_one(row):
    return (np.argmax(row) + 1) * 0.02


@peak.mistake("middle")
def peak_middle(row):
    return (np.argmax(row) + 0.5) * 0.02


@peak.mistake("weight")
def peak_weight(row):
    return np.max(row)


@peak.mistake("weight_in_time")
def peak_weight_in_time(row):
    return np.max(row) * 0.02


@peak.mistake("weakest")
def peak_weakest(row):
    return np.argmin(row) * 0.02


@peak.mistake("mean")
def peak_mean(row):
    return (np.arange(len(row)) * row).sum() / row.sum() * 0.02


@peak.mistake("stretched")
def peak_stretched(row):
    return np.argmax(row) * 6 / len(row)


@peak.mistake("share")
def peak_share(row):
    return np.argmax(row) / len(row)


@peak.variant("a loop")
def peak_loop(row):
    best = 0
    for frame in range(len(row)):
        if row[frame] > row[best]:
            best = frame
    return best / 50


@peak.variant("a list")
def peak_list(row):
    weights = row.tolist()
    return weights.index(max(weights)) * 320 / 16000


# -- 00.2 the span of the strong frames, in seconds

span = bank.exercise("00.2")


@span.cases
def span_cases():
    yield case(BY_HAND, note="six frames; half of the strongest weight is 0.25")
    yield case(np.array([0.5, 0.375, 0.125]), note="three frames, the first is the strongest")
    rng = np.random.default_rng(2)
    yield case(bumps(rng, 300, [74], wide=9.0), note="a row as this model has it: 300 frames")
    yield case(bumps(rng, 300, [60, 100]), note="two bumps")
    for frames in (300, 50, 1500):
        yield case(bumps(rng, frames, [int(rng.integers(9, frames - 9))], wide=6.0))
    yield case(np.array([0.1, 0.8, 0.1]), note="one strong frame alone")


@span.reference
def listened_span(row):
    strong = np.flatnonzero(row >= row.max() / 2)
    return strong[0] * 0.02, strong[-1] * 0.02


def _span(strong, last=0):
    frames = np.flatnonzero(strong)
    return frames[0] * 0.02, (frames[-1] + last) * 0.02


@span.mistake("ten_ms")
def span_ten_ms(row):
    start, end = listened_span(row)
    return start / 2, end / 2


@span.mistake("frame_numbers")
def span_frame_numbers(row):
    strong = np.flatnonzero(row >= row.max() / 2)
    return float(strong[0]), float(strong[-1])


@span.mistake("every_weight")
def span_every_weight(row):
    return _span(row > 0)


@span.mistake("fixed_half")
def span_fixed_half(row):
    return _span(row >= 0.5)


@span.mistake("fixed_example")
def span_fixed_example(row):
    return _span(row >= 0.3)


@span.mistake("half_of_place")
def span_half_of_place(row):
    return _span(row >= np.argmax(row) / 2)


@span.mistake("half_of_sum")
def span_half_of_sum(row):
    return _span(row > row.sum() / 2)


@span.mistake("mean_weight")
def span_mean_weight(row):
    return _span(row >= row.mean())


@span.mistake("strictly")
def span_strictly(row):
    return _span(row > row.max() / 2)


@span.mistake("one_more")
def span_one_more(row):
    return _span(row >= row.max() / 2, last=1)


@span.mistake("turned")
def span_turned(row):
    start, end = listened_span(row)
    return end, start


@span.mistake("duration")
def span_duration(row):
    start, end = listened_span(row)
    return start, end - start


@span.mistake("around_peak")
def span_around_peak(row):
    start = end = int(np.argmax(row))
    while start > 0 and row[start - 1] >= row.max() / 2:
        start -= 1
    while end < len(row) - 1 and row[end + 1] >= row.max() / 2:
        end += 1
    return start * 0.02, end * 0.02


@span.mistake("neighbours")
def span_neighbours(row):
    first, second = sorted(np.argsort(row)[-2:])
    return first * 0.02, second * 0.02


@span.variant("a loop")
def span_loop(row):
    frames = [frame for frame, weight in enumerate(row) if 2 * weight >= max(row)]
    return [min(frames) / 50, max(frames) / 50]


@span.variant("where")
def span_where(row):
    (frames,) = np.where(row >= 0.5 * np.max(row))
    return frames.min() * 20 / 1000, frames.max() * 20 / 1000
