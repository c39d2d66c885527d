"""Error rates: hand-made cases, the laws of an edit distance, brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechlib import metrics

WORDS = st.lists(st.sampled_from("abcd"), max_size=5)


@pytest.mark.parametrize(
    "reference, hypothesis, counts",
    [
        ("one two three", "one two three", (0, 0, 0, 3)),
        ("one two three", "one four three", (1, 0, 0, 3)),
        ("one two three", "one three", (0, 0, 1, 3)),
        ("one two three", "one two two three", (0, 1, 0, 3)),
        ("one two three", "", (0, 0, 3, 3)),
        ("", "one two", (0, 2, 0, 0)),
        ("nine one", "one nine two", (1, 1, 0, 2)),
    ],
)
def test_counts(reference, hypothesis, counts):
    errors = metrics.word_errors(reference, hypothesis)
    assert (errors.substitutions, errors.insertions, errors.deletions) == counts[:3]
    assert errors.length == counts[3]


def test_rate_is_of_the_whole_corpus_not_a_mean_of_rates():
    references = ["one", "one two three four five six seven eight nine"]
    hypotheses = ["two", "one two three four five six seven eight nine"]
    assert metrics.wer(references, hypotheses) == 0.1
    assert metrics.wer([each.split() for each in references], hypotheses) == 0.1
    assert metrics.wer("one", "one two three") == 2.0
    assert metrics.wer(["one", ""], ["one", "two"]) == 1.0  # words invented in silence count
    assert metrics.cer("abc d", "abd d") == 0.2


def test_no_reference_words_is_an_error():
    for hypothesis in ("", "one two"):
        with pytest.raises(ValueError, match="at least one word"):
            metrics.wer("", hypothesis)
    with pytest.raises(ValueError, match="got 1 for 2"):
        metrics.wer(["one", "two"], ["one"])
    with pytest.raises(ValueError, match="at least one word"):
        metrics.wer([], [])


def replayed(steps):
    reference = [mine for kind, mine, _ in steps if kind != "insert"]
    hypothesis = [theirs for kind, _, theirs in steps if kind != "delete"]
    return reference, hypothesis


@given(WORDS, WORDS)
def test_edits_turn_one_into_the_other(reference, hypothesis):
    steps = metrics.edits(reference, hypothesis)
    assert replayed(steps) == (reference, hypothesis)
    assert all((mine == theirs) == (kind == "equal") for kind, mine, theirs in steps)


@given(WORDS, WORDS, WORDS)
def test_laws_of_a_distance(a, b, c):
    def distance(x, y):
        return metrics.count_errors(x, y).total

    assert distance(a, a) == 0
    assert distance(a, b) == distance(b, a)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
    assert abs(len(a) - len(b)) <= distance(a, b) <= max(len(a), len(b))


def test_no_shorter_way_by_brute_force():
    """Against the recursive definition, on all pairs of short words."""

    def shortest(a, b):
        if not a or not b:
            return len(a) + len(b)
        return min(
            shortest(a[1:], b[1:]) + (a[0] != b[0]), shortest(a[1:], b) + 1, shortest(a, b[1:]) + 1
        )

    words = ["".join(w) for size in range(4) for w in itertools.product("ab", repeat=size)]
    for a, b in itertools.product(words, words):
        assert metrics.count_errors(a, b).total == shortest(a, b)


def test_interval_holds_the_rate_and_narrows():
    references = ["one two three", "four five", "six", "seven eight nine zero"] * 5
    hypotheses = ["one two", "four five", "seven", "seven eight nine zero"] * 5
    rate = metrics.wer(references, hypotheses)
    low, high = metrics.wer_interval(references, hypotheses)
    assert low < rate < high
    assert metrics.wer_interval(references, hypotheses) == (low, high)  # seeded
    narrow = metrics.wer_interval(references * 10, hypotheses * 10)
    assert narrow[1] - narrow[0] < (high - low) / 2
    assert metrics.wer_interval("one", "one") == (0.0, 0.0)
    with pytest.raises(ValueError, match="level"):
        metrics.wer_interval("one", "one", level=95)


# --- equal error rate ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scores, same, expected",
    [
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 0.0),
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], 1.0),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 1, 0], 0.5),  # all equal: a guess
        ([0.9, 0.4, 0.6, 0.1], [1, 1, 0, 0], 0.5),
        ([4, 3, 2, 1, 3.5, 0, -1, -2], [1, 1, 1, 1, 0, 0, 0, 0], 0.25),
        ([3, 2, 1, 2.5, 0], [True, True, True, False, False], 0.5),
        ([1, 2, 3, 0], [1, 0, 1, 0], 0.5),
    ],
)
def test_eer(scores, same, expected):
    assert metrics.eer(scores, same) == pytest.approx(expected)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=8),
    st.lists(st.integers(0, 6), min_size=1, max_size=8),
)
def test_eer_equals_brute_force(right, wrong):
    """Every threshold by counting; where the joined points cross the diagonal."""
    points = []
    for threshold in [-1, *range(8)]:
        accepted = sum(s >= threshold for s in wrong) / len(wrong)
        refused = sum(s < threshold for s in right) / len(right)
        points.append((accepted, refused))
    crossing = None
    for (a, b), (c, d) in itertools.pairwise(points):
        if crossing is None and (a - b) * (c - d) <= 0:
            share = (a - b) / ((a - b) - (c - d)) if a - b != c - d else 0
            crossing = a + share * (c - a)
    same = [1] * len(right) + [0] * len(wrong)
    assert metrics.eer(right + wrong, same) == pytest.approx(crossing)
    shifted = [np.exp(s) for s in right + wrong]  # only the order matters
    assert metrics.eer(shifted, same) == pytest.approx(crossing)
    flipped = metrics.eer([-s for s in right + wrong], same)
    assert flipped == pytest.approx(1 - crossing)


@pytest.mark.parametrize(
    "scores, same, message",
    [
        ([1, 2], [1, 1], "2 of the same and 0 of different"),
        ([1, 2], [0, 0], "0 of the same"),
        ([1, 2], [1], "one shape"),
        ([1, float("nan")], [1, 0], "NaN"),
    ],
)
def test_eer_says_what_is_wrong(scores, same, message):
    with pytest.raises(ValueError, match=message):
        metrics.eer(scores, same)


# --- diarisation --------------------------------------------------------------------------------


def test_diarisation_by_hand():
    """Six frames: A A A+B B B silence, against x x x y x x."""
    reference = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 1], [0, 0]])
    found = metrics.diarization_errors(reference, [0, 0, 0, 1, 0, 0])
    assert (found.missed, found.false_alarm, found.confused, found.speech) == (1, 1, 1, 6)
    assert metrics.diarization_error(reference, [0, 0, 0, 1, 0, 0]) == 0.5
    twice = found + found
    assert twice.speech == 12 and twice.rate == 0.5
    assert metrics.diarization_error(reference, reference[:, ::-1]) == 0  # other names
    assert metrics.diarization_error(reference, np.zeros((6, 1))) == 1


def test_diarisation_of_segments():
    reference = [(0.0, 2.0, "ann"), (1.5, 4.0, "bob")]
    assert metrics.diarization_error(reference, [(1.5, 4.0, 7), (0.0, 2.0, 3)]) == 0
    found = metrics.diarization_errors(reference, [(0.0, 3.0, "x"), (3.0, 4.25, "y")])
    assert found.speech == 4.5 and found.false_alarm == 0.25
    assert found.missed == 0.5 and found.confused == 1.0
    assert metrics.diarization_error(reference, []) == 1


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 3), st.integers(0, 3))
def test_diarisation_equals_brute_force(seed, frames, speakers, claimed):
    """All ways to pair the speakers; per frame max(speaking, claimed) - agreed."""
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, 2, (frames, speakers))
    hypothesis = rng.integers(0, 2, (frames, claimed))
    reference[0, 0] = 1
    size = max(speakers, claimed)
    right, told = (np.pad(x, ((0, 0), (0, size - x.shape[1]))) for x in (reference, hypothesis))
    best = min(
        sum(max(r.sum(), t.sum()) - (r * t).sum() for r, t in zip(right, told[:, p], strict=True))
        for p in map(list, itertools.permutations(range(size)))
    )
    rate = metrics.diarization_error(reference, hypothesis)
    assert rate == pytest.approx(best / reference.sum())
    segments = [
        [(t, t + 1, s) for t, s in zip(*x.nonzero(), strict=True)] for x in (reference, hypothesis)
    ]
    assert metrics.diarization_error(*segments) == pytest.approx(rate)


@pytest.mark.parametrize(
    "reference, hypothesis, message",
    [
        ([-1, -1], [0, 0], "silence"),
        ([0, 1], [0, 1, 1], "2 and 3"),
        (np.full((2, 2), 0.5), [0, 1], "float64"),
        ([(0.0, 1.0, "a")], [0, 1], "on both sides"),
    ],
)
def test_diarisation_says_what_is_wrong(reference, hypothesis, message):
    with pytest.raises(ValueError, match=message):
        metrics.diarization_error(reference, hypothesis)


def test_perplexity():
    assert metrics.perplexity([1, 1, 1, 1, 0]) == pytest.approx(4)
    assert metrics.perplexity([9, 0, 0]) == pytest.approx(1)
    assert metrics.perplexity([0.5, 0.25, 0.25]) == pytest.approx(2**1.5)
    for wrong in ([], [0, 0], [-1, 2], [[1, 2]]):
        with pytest.raises(ValueError, match="expected"):
            metrics.perplexity(wrong)
