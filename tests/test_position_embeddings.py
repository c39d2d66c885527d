"""Positions: equal to the published tables, and true to what they promise."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechlib import position_embeddings as pe

GOLDEN = np.load(Path(__file__).parent / "golden" / "positions.npz")


# -- against what others publish


@pytest.mark.parametrize(
    "name, length, width, padding",
    [("12_16", 12, 16, 1), ("9_7", 9, 7, 1), ("9_8_no_padding", 9, 8, None)],
)
def test_fairseq_table_equals_transformers_4_46(name, length, width, padding):
    ours = pe.sinusoidal_embeddings(length, width, "fairseq", padding_index=padding)
    np.testing.assert_allclose(ours, GOLDEN[f"fairseq_{name}"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("length, width, tolerance", [(300, 128, 1e-6), (1500, 384, 2e-4)])
def test_whisper_table_equals_transformers_and_openai(length, width, tolerance):
    whisper = pytest.importorskip("transformers.models.whisper.modeling_whisper")
    ours = pe.sinusoidal_embeddings(length, width)
    theirs = whisper.sinusoids(length, width).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    openai = pytest.importorskip("whisper.model")
    theirs = openai.sinusoids(length, width).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("width", [16, 21])
def test_fairseq_table_equals_current_transformers(width):
    speech = pytest.importorskip("transformers.models.speech_to_text.modeling_speech_to_text")
    theirs = speech.Speech2TextSinusoidalPositionalEmbedding.get_embedding(200, width, 1).numpy()
    ours = pe.sinusoidal_embeddings(200, width, "fairseq")
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_paper_table_by_the_formula():
    table = pe.sinusoidal_embeddings(40, 12, "paper")
    for position in (0, 1, 7, 39):
        for hand in range(6):
            angle = position / 10_000 ** (2 * hand / 12)
            assert table[position, 2 * hand] == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[position, 2 * hand + 1] == pytest.approx(math.cos(angle), abs=1e-5)


@pytest.mark.parametrize("past", [0, 4])
def test_token_positions_equal_transformers(past):
    ours = pe.token_positions(GOLDEN["tokens"], padding_index=1, past_length=past)
    assert np.array_equal(ours, GOLDEN[f"positions_past_{past}"])


def test_positions_into_the_table_equal_the_published_module():
    table = pe.sinusoidal_embeddings(12, 16, "fairseq")
    ours = table[pe.token_positions(GOLDEN["tokens"], padding_index=1)]
    np.testing.assert_allclose(ours, GOLDEN["embedded"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("buckets, distance", [(320, 800), (32, 128), (8, 20)])
def test_buckets_equal_wavlm(buckets, distance):
    last_row = pe.relative_position_buckets(1001, 2001, buckets, distance)[1000]
    assert np.array_equal(last_row, GOLDEN[f"buckets_{buckets}_{distance}"])


# -- what holds for every input


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(pe.CONVENTIONS),
    st.integers(0, 60),
    st.integers(2, 24),
    st.integers(0, 3),
)
def test_every_hand_is_a_sine_and_its_cosine(convention, length, hands, padding):
    table = pe.sinusoidal_embeddings(length, 2 * hands, convention, padding_index=padding)
    assert table.shape == (length, 2 * hands) and table.dtype == np.float32
    squares = (table**2).sum(axis=1)
    expected = np.full(length, hands, dtype=np.float32)
    if convention == "fairseq":
        expected[padding : padding + 1] = 0
    np.testing.assert_allclose(squares, expected, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(("paper", "whisper")), st.integers(2, 24), st.integers(0, 20))
def test_dot_product_depends_on_distance_only(convention, hands, distance):
    table = pe.sinusoidal_embeddings(60, 2 * hands, convention)
    products = (table[: 60 - distance] * table[distance:]).sum(axis=1)
    np.testing.assert_allclose(products, products[0], atol=1e-3)


def test_a_longer_table_starts_with_the_shorter_one():
    for convention in pe.CONVENTIONS:
        short, long = (pe.sinusoidal_embeddings(n, 10, convention) for n in (7, 50))
        assert np.array_equal(long[:7], short)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(0, 4))
def test_positions_in_two_parts_are_the_positions_in_one(tokens, cut):
    tokens = np.array([tokens])
    cut = min(cut, tokens.shape[1])
    past = int((tokens[:, :cut] != 1).sum())
    parts = [
        pe.token_positions(tokens[:, :cut], 1),
        pe.token_positions(tokens[:, cut:], 1, past_length=past),
    ]
    assert np.array_equal(np.concatenate(parts, axis=1), pe.token_positions(tokens, 1))


def test_one_past_for_each_row():
    tokens = np.array([[5, 6], [5, 1]])
    found = pe.token_positions(tokens, padding_index=1, past_length=[3, 0])
    assert found.tolist() == [[5, 6], [2, 1]]


def test_positions_take_torch_and_leave_the_input_alone():
    torch = pytest.importorskip("torch")
    tokens = torch.tensor([[5, 1, 6]])
    assert pe.token_positions(tokens, 1).tolist() == [[2, 1, 3]]
    assert tokens.tolist() == [[5, 1, 6]]


def test_buckets_depend_on_distance_and_keep_order():
    grid = pe.relative_position_buckets(900, 900)
    assert grid.min() == 0 and grid.max() == 319
    assert grid[0, 79] == 160 + 79 and grid[79, 0] == 79  # the last exact distances
    assert grid[0, 80] == 160 + 80 and grid[0, 82] == 160 + 80  # the first shared bucket
    assert np.array_equal(grid[1:, 1:], grid[:-1, :-1])
    assert (np.diff(grid[0, 1:]) >= 0).all() and (np.diff(grid[::-1, 0]) <= 0).all()


# -- odd widths and refusals


def test_odd_widths():
    fairseq = pe.sinusoidal_embeddings(9, 7, "fairseq")
    assert (fairseq[:, 6] == 0).all()
    paper = pe.sinusoidal_embeddings(9, 7, "paper")
    np.testing.assert_allclose(paper[:, 6], np.sin(np.arange(9) / 10_000 ** (6 / 7)), atol=1e-6)


@pytest.mark.parametrize(
    "arguments, says",
    [
        ((9, 7), "even width, got 7"),
        ((9, 2), "at least 4, got 2"),
        ((9, 3, "fairseq"), "at least 4, got 3"),
        ((9, 0, "paper"), "at least 1, got 0"),
        ((-1, 8), "cannot be negative, got -1"),
        ((9, 8, "t5"), "got 't5'"),
    ],
)
def test_tables_refuse(arguments, says):
    with pytest.raises(ValueError, match=says):
        pe.sinusoidal_embeddings(*arguments)


def test_buckets_refuse():
    with pytest.raises(ValueError, match="at least 4"):
        pe.relative_position_buckets(3, 3, buckets=2)
    with pytest.raises(ValueError, match="must exceed the 80"):
        pe.relative_position_buckets(3, 3, max_distance=80)


@pytest.mark.parametrize(
    "call",
    [
        lambda: pe.sinusoidal_embeddings(3.5, 8),
        lambda: pe.sinusoidal_embeddings("3", 8),
        lambda: pe.sinusoidal_embeddings(3, 8.0),
        lambda: pe.sinusoidal_embeddings(3, 8, "fairseq", padding_index=1.5),
        lambda: pe.token_positions([[3, 4]], None),
        lambda: pe.token_positions([[3.5, 4]], 1),
        lambda: pe.token_positions("abc", 1),
        lambda: pe.token_positions([[3]], 1, past_length=0.5),
        lambda: pe.relative_position_buckets(2.5, 3),
    ],
)
def test_positions_are_counted_in_whole_numbers(call):
    with pytest.raises(ValueError, match="must be (a )?whole number"):
        call()


def test_negative_places_are_refused():
    with pytest.raises(ValueError, match="padding_index is a row from 0 on"):
        pe.sinusoidal_embeddings(3, 8, "fairseq", padding_index=-1)
    with pytest.raises(ValueError, match="key_length counts frames"):
        pe.relative_position_buckets(3, -1)
