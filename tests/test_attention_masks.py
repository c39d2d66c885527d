"""Masks: what must hold for any lengths and positions, on every kind of array, and parity."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechlib import attention_masks as masks

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)  # wav2vec 2.0 and WavLM


def kinds():
    """Name -> how to make an array of that library."""
    import torch

    found = {"numpy": np.asarray, "torch": torch.as_tensor, "list": list}
    if importlib.util.find_spec("jax"):
        found["jax"] = importlib.import_module("jax.numpy").asarray
    return found


KINDS = kinds()


@pytest.fixture(params=KINDS)
def make(request):
    return KINDS[request.param]


def kind_of(array):
    return type(array).__module__.split(".")[0].replace("jaxlib", "jax")


# -------------------------------------------------------------------------- on all libraries


def test_causal_mask(make):
    mask = masks.causal_mask(make([0, 1, 2]), make([0, 1, 2]))
    assert np.asarray(mask).tolist() == np.tri(3, dtype=bool).tolist()
    later = masks.causal_mask(make([3, 4]), make([0, 1, 2, 3, 4, 5]))  # a past of 3, an empty slot
    assert np.asarray(later).tolist() == np.tri(2, 6, 3, dtype=bool).tolist()


def test_causal_mask_of_a_batch(make):
    mask = masks.causal_mask(make([[0, 1], [1, 2]]), make([0, 1, 2]))
    assert np.asarray(mask).astype(int).tolist() == [[[1, 0, 0], [1, 1, 0]], [[1, 1, 0], [1, 1, 1]]]


def test_padding_mask(make):
    mask = masks.padding_mask(make([2, 0, 3]), 3)
    assert np.asarray(mask).astype(int).tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]


def test_masks_stay_with_their_library(make):
    lengths, positions = make([1, 2]), make([0, 1])
    mask = masks.combine(masks.causal_mask(positions, positions), masks.padding_mask(lengths, 2))
    expected = "numpy" if make is list else kind_of(make([1]))
    assert kind_of(mask) == expected and kind_of(masks.to_bias(mask)) == expected
    assert tuple(mask.shape) == (2, 1, 2, 2)
    # the first sentence has one real token: nobody looks at the second
    assert np.asarray(mask)[:, 0].astype(int).tolist() == [[[1, 0], [1, 0]], [[1, 0], [1, 1]]]


def test_frame_mask_and_bias_are_the_same_everywhere(make):
    mask = masks.frame_mask(make([400, 720, 16_000]), 49, KERNELS, STRIDES)
    assert np.asarray(mask).sum(axis=1).tolist() == [1, 2, 49]
    bias = np.asarray(masks.to_bias(make([True, False]), float("-inf")))
    assert bias.dtype == np.float32 and bias.tolist() == [0, -np.inf]  # not 0 * inf = NaN


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "int8", "int16"])
@pytest.mark.parametrize("library", [name for name in KINDS if name != "list"])
def test_narrow_and_unsigned_lengths_do_not_wrap_around(library, kind):
    lengths = KINDS[library](np.array([3, 100, 127], dtype=kind))
    found = masks.frame_mask(lengths, 300, [10], [5])
    assert np.asarray(found).sum(1).tolist() == [0, 19, 24]
    assert np.asarray(masks.padding_mask(lengths, 300)).sum(1).tolist() == [3, 100, 127]
    padded = masks.conv_output_length(lengths, 3, 1, padding=20)
    assert np.asarray(padded).tolist() == [41, 138, 165]
    assert masks.conv_output_length(np.uint8(3), 10, 5) == 0


# -------------------------------------------------------------------------------- properties


@given(past=st.integers(0, 20), queries=st.integers(1, 10), empty=st.integers(0, 10))
def test_a_past_is_the_lower_part_of_the_whole_mask(past, queries, empty):
    everything = np.arange(past + queries + empty)
    whole = masks.causal_mask(everything, everything)
    step = masks.causal_mask(everything[past : past + queries], everything)
    np.testing.assert_array_equal(step, whole[past : past + queries])
    assert not step[:, past + queries :].any()  # empty cache slots
    assert step.diagonal(past).all()


@given(st.data())
def test_padding_mask_counts_and_is_on_the_left(data):
    size = data.draw(st.integers(1, 50))
    lengths = data.draw(st.lists(st.integers(0, size), min_size=1, max_size=6))
    mask = masks.padding_mask(lengths, size)
    assert mask.dtype == bool and mask.sum(axis=1).tolist() == lengths
    assert (np.diff(mask.astype(int), axis=1) <= 0).all()


@given(st.data())
def test_combine_is_and(data):
    batch, size = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 8))
    lengths = data.draw(st.lists(st.integers(0, size), min_size=batch, max_size=batch))
    places = np.arange(size)
    combined = masks.combine(masks.causal_mask(places, places), masks.padding_mask(lengths, size))
    for b in range(batch):
        for q in range(size):
            for k in range(size):
                assert combined[b, 0, q, k] == (k <= q and k < lengths[b])


def test_combine_with_one_or_no_mask():
    causal = masks.causal_mask([0, 1], [0, 1])
    assert masks.combine() is None
    assert masks.combine(causal).shape == (1, 1, 2, 2)
    assert masks.combine(causal[None].repeat(3, axis=0)).shape == (3, 1, 2, 2)
    assert masks.combine(key=causal).shape == (2, 1, 1, 2)


def softmax(scores):
    with np.errstate(invalid="ignore"):
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_a_row_that_sees_nothing_is_uniform_and_with_infinity_not_a_number():
    scores = np.array([[3, -1, 2], [0, 5, 1]], dtype=np.float32)
    mask = np.array([[True, False, True], [False, False, False]])
    weights = softmax(scores + masks.to_bias(mask))
    np.testing.assert_allclose(weights[1], 1 / 3)
    assert weights[0, 1] == 0
    assert np.isnan(softmax(scores + masks.to_bias(mask, -np.inf))[1]).all()
    assert masks.to_bias(mask).min() == np.finfo(np.float32).min  # beyond any score, and finite


@settings(deadline=None)
@given(
    length=st.integers(1, 60),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
)
def test_conv_output_length_is_what_a_convolution_makes(length, kernel, stride, padding):
    import torch

    frames = masks.conv_output_length(length, kernel, stride, padding)
    if length + 2 * padding < kernel:
        assert frames == 0
    else:
        conv = torch.nn.Conv1d(1, 1, kernel, stride, padding)
        assert frames == conv(torch.zeros(1, 1, length)).shape[-1]


# ------------------------------------------------------------------------------------ parity


@pytest.fixture(scope="module")
def hugging_face():
    """A Wav2Vec2Model with the published convolutions and little else."""
    transformers = pytest.importorskip("transformers")
    config = transformers.Wav2Vec2Config(
        hidden_size=8, num_attention_heads=1, num_hidden_layers=1, intermediate_size=8,
        conv_dim=(4,) * 7, num_conv_pos_embedding_groups=2, num_feat_extract_layers=7,
    )  # fmt: skip
    assert tuple(config.conv_kernel) == KERNELS and tuple(config.conv_stride) == STRIDES
    return transformers.Wav2Vec2Model(config).eval()


def test_output_lengths_equal_hugging_faces(hugging_face):
    import torch

    lengths = torch.arange(400, 40_000, 37)
    theirs = hugging_face._get_feat_extract_output_lengths(lengths)
    assert torch.equal(masks.conv_output_lengths(lengths, KERNELS, STRIDES), theirs)
    assert masks.conv_output_lengths(16_000, KERNELS, STRIDES) == 49


def test_frame_mask_equals_hugging_faces(hugging_face):
    import torch

    lengths = torch.tensor([16_000, 400, 401, 719, 720, 7_321, 15_999])
    samples = masks.padding_mask(lengths, 16_000)
    theirs = hugging_face._get_feature_vector_attention_mask(49, samples.long())
    assert torch.equal(masks.frame_mask(lengths, 49, KERNELS, STRIDES), theirs)


def test_a_row_too_short_for_a_frame_has_none(hugging_face):
    import torch

    lengths = torch.tensor([0, 399, 400])
    assert masks.frame_mask(lengths, 49, KERNELS, STRIDES).sum(1).tolist() == [0, 0, 1]
    samples = masks.padding_mask(lengths, 16_000).long()
    theirs = hugging_face._get_feature_vector_attention_mask(49, samples)
    assert theirs.sum(1)[1] > 40  # an index of -1 wraps around: why ours differs here


# ------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: masks.causal_mask([[[0]]], [0]), r"query positions .* came shape \(1, 1, 1\)"),
        (lambda: masks.causal_mask([0], 3), r"key positions .* came shape \(\): give one"),
        (lambda: masks.padding_mask([2, 5], 4), r"from 0 to 4, came \[2, 5\].*frames are meant"),
        (lambda: masks.padding_mask([-1], 4), r"from 0 to 4, came \[-1\]"),
        (lambda: masks.padding_mask([0.5], 4), "whole numbers, .*float64: count"),
        (lambda: masks.padding_mask([[1]], 4), r"lengths \(batch,\).*came shape \(1, 1\)"),
        (lambda: masks.for_keys(np.ones((2, 3))), "boolean key mask .*came float64: compare"),
        (lambda: masks.for_keys(np.ones(3, bool)), r"key mask \(batch, key\), came shape \(3,\)"),
        (lambda: masks.for_queries(np.ones(3, bool)), r"\(query, key\) or .*came shape \(3,\)"),
        (
            lambda: masks.combine(np.ones((2, 5), bool), np.ones((1, 4), bool)),
            "same keys, came 5 .* and 4 .*: with a cache, count the past too",
        ),
        (lambda: masks.to_bias(np.zeros(3)), "boolean mask .*came float64"),
        (lambda: masks.conv_output_length(9, 0, 1), "at least 1 .* came kernel 0, stride 1"),
        (lambda: masks.conv_output_lengths(9, (3, 3), (1,)), "came 2 kernels and 1 strides"),
        (lambda: masks.frame_mask([16_000], 48, KERNELS, STRIDES), r"from 0 to 48, came \[49\]"),
    ],
)
def test_errors_say_what_came_and_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_errors_on_torch_too():
    import torch

    with pytest.raises(ValueError, match=r"from 0 to 4, came \[5\]"):
        masks.padding_mask(torch.tensor([5]), 4)
