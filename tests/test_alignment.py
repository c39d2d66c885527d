"""DTW, median filter and word times against openai-whisper's (tests/golden/alignment.npz)."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechlib import alignment

GOLDEN = np.load(Path(__file__).parent / "golden" / "alignment.npz")


@pytest.mark.parametrize("number", range(1, 40, 2))
def test_dtw_paths_equal_openai(number):
    path = alignment.dtw(GOLDEN[f"dtw.{number}.cost"])
    np.testing.assert_array_equal(np.stack(path), GOLDEN[f"dtw.{number}.path"])


def test_dtw_with_equal_costs_is_openai_s_or_cheaper():
    """Whole-number costs: the published step choice can miss the cheapest path; ours may not."""
    cheaper = 0
    for number in range(0, 40, 2):
        cost, theirs = GOLDEN[f"dtw.{number}.cost"], GOLDEN[f"dtw.{number}.path"]
        ours = alignment.dtw(cost)
        difference = cost[tuple(theirs)].sum() - cost[ours].sum()
        assert difference >= 0
        cheaper += difference > 0
    assert cheaper > 0  # so the difference is real


def every_path(tokens, frames):
    """All monotone paths, by brute force."""
    if tokens == 1 and frames == 1:
        return [[(0, 0)]]
    before = []
    for token, frame in ((tokens - 1, frames - 1), (tokens - 1, frames), (tokens, frames - 1)):
        if token >= 1 and frame >= 1:
            before += every_path(token, frame)
    return [[*path, (tokens - 1, frames - 1)] for path in before]


@given(st.data())
def test_no_path_is_cheaper(data):
    size = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    numbers = st.integers(-5, 5)
    cost = np.array(data.draw(st.lists(numbers, min_size=16, max_size=16)), dtype=float)
    cost = cost[: size[0] * size[1]].reshape(size)
    path = alignment.dtw(cost)
    cheapest = min(sum(cost[place] for place in way) for way in every_path(*size))
    assert cost[path].sum() == cheapest
    steps = set(zip(np.diff(path[0]).tolist(), np.diff(path[1]).tolist(), strict=True))
    assert steps <= {(0, 1), (1, 0), (1, 1)}
    assert (path[0][0], path[1][0]) == (0, 0)
    assert (path[0][-1] + 1, path[1][-1] + 1) == size


def test_dtw_refuses_nothing_and_nan():
    for wrong in (np.zeros((0, 4)), np.zeros((3, 0)), np.zeros(3)):
        with pytest.raises(ValueError, match="at least one of each"):
            alignment.dtw(wrong)
    with pytest.raises(ValueError, match="NaN"):
        alignment.dtw(np.array([[0.0, np.nan]]))


@pytest.mark.parametrize("width", [1, 3, 7, 39])
def test_median_filter_equals_openai(width):
    np.testing.assert_array_equal(
        alignment.median_filter(GOLDEN["median.x"], width), GOLDEN[f"median.{width}"]
    )


def test_median_filter_edges():
    short = np.array([3.0, 1.0, 2.0])
    np.testing.assert_array_equal(alignment.median_filter(short, 7), short)  # nothing to mirror
    np.testing.assert_array_equal(alignment.median_filter([0, 9, 0, 0, 5], 3), [9, 0, 0, 0, 0])
    for width in (0, -1, 4):
        with pytest.raises(ValueError, match="odd width"):
            alignment.median_filter(short, width)


def golden_words():
    ends = np.cumsum(GOLDEN["times.tokens_a_word"])
    return [
        list(range(end - size, end)) for end, size in zip(ends, np.diff([0, *ends]), strict=True)
    ]


def test_word_times_equal_openai():
    found = alignment.word_times(
        GOLDEN["times.weights"],
        golden_words(),
        prompt_length=int(GOLDEN["times.prompt"]),
        frames=int(GOLDEN["times.frames"]),
    )
    expected = np.stack([GOLDEN["times.start"], GOLDEN["times.end"]], axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def looking_at(spans, frames, prompt=4, heads=2):
    """Weights of a decoder that looks exactly at each token's span, `spans` of (start, end)."""
    rows = []
    for _ in range(prompt - 1):
        rows.append(np.full(frames, 1.0))
    for start, end in spans:
        row = np.full(frames, 1e-3)
        row[start:end] = 1.0
        rows.append(row)
    rows.append(np.full(frames, 1.0))  # the end token's own row
    weights = np.stack(rows) / np.stack(rows).sum(-1, keepdims=True)
    return np.broadcast_to(weights, (heads, *weights.shape))


def test_word_times_of_known_spans():
    # three tokens of 15, 20 and 10 frames, then silence; the last span is the end token's
    spans = [(0, 15), (15, 35), (35, 45), (45, 60)]
    weights = looking_at(spans, frames=80)
    words = alignment.word_times(weights, [[0], [1, 2]], prompt_length=4, frames=60)
    np.testing.assert_allclose(words, [(0.0, 0.30), (0.30, 0.90)], atol=1e-9)
    doubled = alignment.word_times(weights, [[0], [1, 2]], 4, frames=60, frame_s=0.04)
    np.testing.assert_allclose(doubled, 2 * np.array(words), atol=1e-9)


def test_frames_beyond_the_audio_do_not_matter():
    weights = looking_at([(0, 15), (15, 35), (35, 45), (45, 60)], frames=80).copy()
    before = alignment.word_times(weights, [[0], [1], [2]], 4, frames=60)
    weights[..., 60:] = np.random.default_rng(0).uniform(0, 5, weights[..., 60:].shape)
    assert alignment.word_times(weights, [[0], [1], [2]], 4, frames=60) == before


def test_alike_frames_say_nothing_instead_of_nan():
    weights = np.full((1, 6, 20), 1 / 20)
    assert np.isfinite(alignment.alignment_matrix(weights)).all()
    assert alignment.word_times(np.zeros((1, 6, 20)), [[0]], 4)


WORDS = json.loads((Path(__file__).parent / "golden" / "words.json").read_text("utf-8"))


@pytest.mark.parametrize("entry", WORDS["texts"], ids=lambda entry: repr(entry["text"]))
def test_punctuation_joins_its_word_as_in_openai(entry):
    words = [(word, number) for number, word in enumerate(entry["words"])]
    found = alignment.attach_punctuation(words)
    assert [list(word) for word in found] == entry["merged"]
    assert "".join(text for text, _ in found) == "".join(entry["words"])


def test_word_times_errors():
    weights = np.full((2, 6, 20), 1 / 20)
    assert alignment.word_times(weights, [], 4) == []
    with pytest.raises(ValueError, match="got 6 rows"):
        alignment.word_times(weights, [[0], [1, 2]], prompt_length=4)
    with pytest.raises(ValueError, match="at least one frame"):
        alignment.word_times(weights, [[0]], 4, frames=0)
    with pytest.raises(ValueError, match="head, token, frame"):
        alignment.word_times(np.zeros((2, 0, 20)), [[0]], 4)


@given(st.lists(st.integers(2, 12), min_size=2, max_size=6), st.integers(0, 3))
def test_times_are_in_order(sizes, seed):
    edges = [0, *itertools.accumulate(sizes)]
    weights = looking_at(list(itertools.pairwise(edges)), frames=edges[-1] + 5).copy()
    weights *= np.random.default_rng(seed).uniform(0.5, 1.5, weights.shape)
    words = [[place] for place in range(len(sizes) - 1)]
    found = alignment.word_times(weights, words, 4, frames=edges[-1])
    flat = [time for word in found for time in word]
    assert flat == sorted(flat)
    assert flat[-1] <= edges[-1] * alignment.FRAME_S


def test_weights_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        alignment.alignment_matrix(np.full((1, 2, 9), np.nan))


# --- CTC ----------------------------------------------------------------------------------------


def best_by_brute_force(scores, labels, blank):
    """Of all ways to give each frame a class, the best that collapses to the labels."""
    best, best_way = -np.inf, None
    for way in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        merged = [c for c, _ in itertools.groupby(way) if c != blank]
        total = scores[range(len(way)), way].sum()
        if merged == labels and total > best:
            best, best_way = total, way
    return best, best_way


@given(
    st.integers(0, 10**6),
    st.integers(1, 6),
    st.lists(st.integers(0, 1), max_size=4),
    st.integers(0, 2),
)
def test_ctc_spans_equal_brute_force(seed, frames, labels, blank):
    labels = [label + (label >= blank) for label in labels]  # no blanks
    scores = np.random.default_rng(seed).normal(0, 2, (frames, 3))
    best, way = best_by_brute_force(scores, labels, blank)
    if way is None:
        with pytest.raises(ValueError, match="need at least"):
            alignment.ctc_align(scores, labels, blank)
        return
    spans = alignment.ctc_align(scores, labels, blank)
    assert [span.label for span in spans] == labels
    said = np.full(frames, blank)
    for span in spans:
        said[span.start : span.end] = span.label
        assert span.log_prob == pytest.approx(scores[span.start : span.end, span.label].sum())
    assert tuple(said) == way
    assert scores[range(frames), said].sum() == pytest.approx(best)


def test_ctc_spans_of_a_clear_case():
    scores = np.log(np.full((7, 4), 0.1))
    for frame, label in enumerate([0, 3, 3, 0, 3, 1, 0]):
        scores[frame, label] = np.log(0.7)
    spans = alignment.ctc_align(scores, [3, 3, 1])
    assert [(s.label, s.start, s.end) for s in spans] == [(3, 1, 3), (3, 4, 5), (1, 5, 6)]
    assert spans[0].log_prob == pytest.approx(2 * np.log(0.7))
    assert alignment.ctc_align(scores, []) == []


@pytest.mark.parametrize(
    "shape, labels, blank, message",
    [
        ((3,), [1], 0, "shapes"),
        ((3, 4), [[1]], 0, "shapes"),
        ((3, 4), [1, 4], 0, "0 to 3"),
        ((3, 4), [1, 0], 0, "without the blank"),
        ((3, 4), [1], 4, "blank 4"),
        ((3, 4), [1, 2, 3, 1], 0, "4 labels need at least 4 frames"),
        ((3, 4), [1, 1, 1], 0, "3 labels need at least 5 frames"),
    ],
)
def test_ctc_labels_that_do_not_fit(shape, labels, blank, message):
    with pytest.raises(ValueError, match=message):
        alignment.ctc_align(np.zeros(shape), labels, blank)


def test_ctc_labels_that_cannot_be():
    scores = np.array([[0.0, -np.inf], [0.0, -np.inf]])
    with pytest.raises(ValueError, match="probability 0"):
        alignment.ctc_align(scores, [1])


def test_spans_are_cut_to_where_the_decoder_looked():
    """Two words, a pause before the first and between them; the path gave the pauses away."""
    rows = np.full((1, 4, 100), 1e-6)
    rows[0, 1, 20:30] = 1  # the prompt's last row looks for the first word
    rows[0, 2, 60:75] = 1
    weights = rows / rows.sum(axis=-1, keepdims=True)
    spans = [(0.0, 0.9), (0.9, 1.2)]  # the first gets all before the second; the second ends early
    found = alignment.tightened(spans, weights, [[0], [1]], 2)
    np.testing.assert_allclose(found, [(0.40, 0.60), (1.20, 1.50)], atol=0.021)
    # a word ends at the latest where the next begins, and starts never run backwards
    rows[0, 1, 20:70] = 1
    found = alignment.tightened(spans, rows / rows.sum(-1, keepdims=True), [[0], [1]], 2)
    assert found[0][1] == found[1][0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(3, 60))
def test_cut_spans_stay_in_order(seed, count, frames):
    rng = np.random.default_rng(seed)
    weights = rng.exponential(size=(2, count + 2, frames)) ** 4
    weights /= weights.sum(axis=-1, keepdims=True)
    words = [[place] for place in range(count)]
    spans = alignment.word_times(weights, words, 1, frames)
    found = np.array(alignment.tightened(spans, weights, words, 1, frames))
    assert (found[:, 0] <= found[:, 1]).all() and (np.diff(found[:, 0]) >= 0).all()
    assert found.min() >= 0 and (found[:, 1] <= (frames + 1) * alignment.FRAME_S).all()
