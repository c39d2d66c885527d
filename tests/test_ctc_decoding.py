"""CTC decoding: collapsing, greedy, and prefix beam search against adding up every alignment."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechlib import ctc_decoding
from speechlib.torch_models import losses


def log_probs_of(seed, frames, classes, spread=2.0):
    scores = np.random.default_rng(seed).normal(0, spread, (frames, classes))
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def texts_by_brute_force(log_probs, blank):
    """labels -> log-probability, over all ways to give each frame a class."""
    texts = {}
    for way in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        labels = tuple(c for c, _ in itertools.groupby(way) if c != blank)
        total = log_probs[range(len(way)), way].sum()
        texts[labels] = np.logaddexp(texts.get(labels, -np.inf), total)
    return texts


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 3))
def test_collapse(classes, blank):
    expected = [c for c, _ in itertools.groupby(classes) if c != blank]
    assert ctc_decoding.collapse(classes, blank) == expected
    scores = np.eye(4)[classes] if classes else np.zeros((0, 4))
    assert ctc_decoding.greedy(scores, blank) == expected


@given(st.integers(0, 10**6), st.integers(0, 5), st.integers(2, 4), st.data())
def test_a_wide_beam_is_exact(seed, frames, classes, data):
    blank = data.draw(st.integers(0, classes - 1))
    log_probs = log_probs_of(seed, frames, classes)
    expected = texts_by_brute_force(log_probs, blank)
    found = ctc_decoding.prefix_beam(log_probs, beams=10**6, blank=blank)
    assert {tuple(labels) for labels, _ in found} == set(expected)
    for labels, log_prob in found:
        assert log_prob == pytest.approx(expected[tuple(labels)], abs=1e-9)
    scores = [log_prob for _, log_prob in found]
    assert scores == sorted(scores, reverse=True)


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 6))
def test_a_narrow_beam_never_promises_too_much(seed, frames, beams):
    log_probs = log_probs_of(seed, frames, 5)
    found = ctc_decoding.prefix_beam(log_probs, beams)
    assert 1 <= len(found) <= beams
    for labels, log_prob in found:
        loss = losses.ctc_loss(torch.from_numpy(log_probs), labels, frames, len(labels), 0, "sum")
        assert log_prob <= -float(loss) + 1e-9


def test_the_beam_finds_what_greedy_misses():
    """Each frame says blank at 0.4, but one label at 0.35 + 0.25 is likelier in all."""
    log_probs = np.log([[0.4, 0.35, 0.25], [0.4, 0.35, 0.25]])
    assert ctc_decoding.greedy(log_probs) == []
    (labels, log_prob), *_ = ctc_decoding.prefix_beam(log_probs, beams=8)
    assert labels == [1]
    assert np.exp(log_prob) == pytest.approx(0.35**2 + 2 * 0.4 * 0.35)


def test_equal_neighbours_need_a_blank():
    sure = np.log(np.array([[0.02, 0.98], [0.98, 0.02], [0.02, 0.98]]))
    assert ctc_decoding.greedy(sure) == [1, 1]
    assert ctc_decoding.prefix_beam(sure, 3)[0][0] == [1, 1]
    assert ctc_decoding.prefix_beam(sure[[0, 2]], 3)[0][0] == [1]


def test_classes_of_probability_0_take_no_place():
    certain = np.array([[-np.inf, 0.0], [0.0, -np.inf]])
    assert ctc_decoding.prefix_beam(certain, 5) == [([1], 0.0)]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros(3),), "one utterance"),
        ((np.zeros((2, 3, 4)),), "one utterance"),
        ((np.full((2, 3), np.nan),), "NaN"),
        ((np.zeros((2, 3)), 0), "beams must be a whole number of at least 1, got 0"),
        ((np.zeros((2, 3)), "a"), "beams must be a whole number of at least 1, got 'a'"),
        ((np.zeros((2, 3)), 2.5), "beams must be a whole number of at least 1, got 2.5"),
        ((np.zeros((2, 3)), 5, 3), "0 to 2, got 3"),
    ],
)
def test_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        ctc_decoding.prefix_beam(*arguments)
    with pytest.raises(ValueError, match="shape"):
        ctc_decoding.collapse([[1]])
