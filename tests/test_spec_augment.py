"""SpecAugment: the same draws as Hugging Face, and what must hold for any draw."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechlib import spec_augment

SETTINGS = [  # probability, span length, least spans
    (0.05, 10, 2),
    (0.065, 10, 0),
    (0.5, 7, 1),
    (0.65, 10, 0),
    (0.0, 10, 0),
    (1.0, 1, 0),
    (0.3, 100, 3),
]


@pytest.fixture(scope="module")
def hugging_face():
    wav2vec2 = pytest.importorskip("transformers.models.wav2vec2.modeling_wav2vec2")
    return wav2vec2._compute_mask_indices


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("padded", [False, True])
def test_draws_what_hugging_face_draws(hugging_face, seed, padded):
    import torch

    batch, size = 5, 120
    probability, length, least = SETTINGS[seed % len(SETTINGS)]
    lengths = np.random.default_rng(seed).integers(0, size + 1, batch) if padded else None
    attention = torch.arange(size) < torch.tensor(lengths)[:, None] if padded else None
    np.random.seed(seed)
    rng = np.random.RandomState(seed)
    for _ in range(3):  # the generators stay in step from call to call
        theirs = hugging_face((batch, size), probability, length, attention, least)
        ours = spec_augment.span_mask((batch, size), probability, length, lengths, least, rng)
        np.testing.assert_array_equal(ours, theirs)
    assert rng.random() == np.random.rand()


def test_draws_what_hugging_face_draws_at_full_size(hugging_face):
    for seed in range(5):
        np.random.seed(seed)
        theirs = hugging_face((32, 1500), 0.065, 10, min_masks=2)
        rng = np.random.RandomState(seed)
        ours = spec_augment.span_mask((32, 1500), 0.065, 10, min_spans=2, rng=rng)
        np.testing.assert_array_equal(ours, theirs)


def spans_of(row):
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
    return edges[1::2] - edges[::2]


@settings(max_examples=200, deadline=None)
@given(
    batch=st.integers(1, 6),
    size=st.integers(1, 80),
    probability=st.floats(0, 1),
    least=st.integers(0, 5),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_spans_are_whole_and_before_the_padding(batch, size, probability, least, seed, data):
    length = data.draw(st.integers(1, size))
    lengths = data.draw(st.lists(st.integers(0, size), min_size=batch, max_size=batch))
    rng = np.random.default_rng(seed)
    mask = spec_augment.span_mask((batch, size), probability, length, lengths, least, rng)
    assert mask.shape == (batch, size) and mask.dtype == bool
    for row, real in zip(mask, lengths, strict=True):
        assert not row[real:].any()
        assert all(run >= length for run in spans_of(row))
        most = max(int(probability * real / length + 1), least)
        assert row.sum() <= most * length
        if least and real >= length:
            assert row.any()


def test_probability_is_the_share_that_spans_would_cover():
    rng = np.random.default_rng(0)
    share = np.mean(
        [spec_augment.span_mask((4, 1000), 0.123, 1, rng=rng).mean() for _ in range(500)]
    )
    assert abs(share - 0.123) < 1e-3


def test_every_start_is_equally_likely():
    rng = np.random.default_rng(0)
    mask = spec_augment.span_mask((20_000, 6), 0.5, 2, lengths=[5] * 20_000, min_spans=2, rng=rng)
    # two different starts of four (0 to 3), spans of two: which places are hidden how often
    chance = np.array([3 / 6, 5 / 6, 5 / 6, 5 / 6, 3 / 6, 0])
    assert np.abs(mask.mean(axis=0) - chance).max() < 0.02


def test_a_seed_repeats_and_none_does_not():
    def draw(rng):
        return spec_augment.span_mask((8, 500), 0.2, 10, rng=rng)

    assert (draw(np.random.default_rng(3)) == draw(np.random.default_rng(3))).all()
    assert (draw(None) != draw(None)).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(length=0), "span length from 1 to the size of a row, 20, came 0"),
        (dict(length=21), "span length from 1 to the size of a row, 20, came 21"),
        (dict(probability=1.5), "probability from 0 to 1, came 1.5"),
        (dict(shape=(20,)), r"expected shape \(batch, size\).*came \(20,\)"),
        (dict(shape=(0, 20)), r"both at least 1, came \(0, 20\)"),
        (dict(lengths=[20]), r"expected 2 lengths from 0 to 20, came \[20\]"),
        (dict(lengths=[20, 21]), r"expected 2 lengths from 0 to 20, came \[20, 21\]"),
        (dict(min_spans=-1), "min_spans of at least 0, came -1"),
        (dict(rng=3), r"Generator or RandomState, came int: .*default_rng\(seed\)"),
    ],
)
def test_errors_say_what_came_and_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        spec_augment.span_mask(**(dict(shape=(2, 20), probability=0.5, length=5) | arguments))


@pytest.mark.parametrize(
    "wrong",
    [
        dict(shape=10),
        dict(shape=(2.0, 10)),
        dict(length=2.5),
        dict(min_spans=1.5),
        dict(lengths=[3.5, 4.0]),
        dict(probability="0.5"),
        dict(probability=float("nan")),
    ],
)
def test_numbers_of_another_kind_are_refused(wrong):
    with pytest.raises(ValueError, match="^expected "):
        spec_augment.span_mask(**dict(shape=(2, 10), probability=0.5, length=2) | wrong)
