"""Word error rate: hand-made cases, and the laws of an edit distance."""

import itertools

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
