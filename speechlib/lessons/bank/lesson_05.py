"""Checks of lesson 05, masks: cases, references, mistakes, honest variants."""

import math

import numpy as np

from speechlib import attention_masks, spec_augment, tokenizers
from speechlib.lessons.banking import Bank, case

bank = Bank("05")

_library_combine = attention_masks.combine  # before anybody's own is put in its place


def _is_torch(value):
    return hasattr(value, "detach")


def _as_numpy(value):
    return value.detach().cpu().numpy() if _is_torch(value) else np.asarray(value)


def _like(value, model):
    """A NumPy answer as the kind of array that the library handed over."""
    value = np.array(value)  # a copy: PyTorch wants writable memory in order
    return model.new_tensor(value).to(device=model.device) if _is_torch(model) else value


def _mask_like(value, model):
    value = np.array(value, dtype=bool)
    if not _is_torch(model):
        return value
    import torch

    return torch.from_numpy(value).to(model.device)


# -- 05.1 what is real in a padded batch

padding = bank.exercise("05.1", axes=("batch", "place"))


@padding.cases
def padding_cases():
    yield case(np.array([3, 1]), 4, note="lengths 3 and 1, four places")
    yield case(np.array([0, 2, 5]), 5, note="an empty row and a full one")
    yield case(np.array([2]), 3)
    rng = np.random.default_rng(51)
    yield case(rng.integers(0, 8, size=4), 7, note="random")


@padding.reference
def padding_mask(lengths, size):
    return np.arange(size)[None, :] < lengths[:, None]


@padding.mistake("one_too_many")
def padding_one_too_many(lengths, size):
    return np.arange(size)[None, :] <= lengths[:, None]


@padding.mistake("one_too_few")
def padding_one_too_few(lengths, size):
    return np.arange(1, size + 1)[None, :] < lengths[:, None]


@padding.mistake("inverted")
def padding_inverted(lengths, size):
    return ~padding_mask(lengths, size)


@padding.mistake("inverted_early")
def padding_inverted_early(lengths, size):
    return np.arange(size)[None, :] > lengths[:, None]


@padding.mistake("left")
def padding_left(lengths, size):
    return padding_mask(lengths, size)[:, ::-1]


@padding.mistake("turned")
def padding_turned(lengths, size):
    return np.arange(size)[:, None] < lengths[None, :]


@padding.mistake("numbers")
def padding_numbers(lengths, size):
    return padding_mask(lengths, size).astype(int)


@padding.mistake("last_place")
def padding_last_place(lengths, size):
    return np.arange(size)[None, :] == lengths[:, None] - 1


@padding.mistake("first_row")
def padding_first_row(lengths, size):
    return np.stack([np.arange(size) < lengths[0]] * len(lengths))


@padding.variant("a loop")
def padding_loop(lengths, size):
    return np.array([[place < length for place in range(size)] for length in lengths], dtype=bool)


@padding.variant("counting down")
def padding_counting_down(lengths, size):
    return lengths.reshape(-1, 1) - np.arange(size) >= 1


@padding.adapt
def padding_as_library(fn):
    return lambda lengths, size: _mask_like(fn(_as_numpy(lengths), size), lengths)


# -- 05.2 nobody looks ahead

causal = bank.exercise("05.2", axes=("query", "key"))


@causal.cases
def causal_cases():
    yield case(np.arange(3), np.arange(3), note="a text at once")
    yield case(np.array([3]), np.arange(4), note="the fourth word alone, three kept from before")
    yield case(np.array([2, 3]), np.arange(4), note="two new words after two old ones")
    yield case(np.array([1, 2]), np.arange(6), note="a buffer with three empty places at its end")
    yield case(np.array([2]), np.arange(5), note="one new word; a buffer with two empty places")
    yield case(np.array([5, 3]), np.array([4, 0, 9]), note="positions in no order")


@causal.reference
def causal_mask(query_positions, key_positions):
    return key_positions[None, :] <= query_positions[:, None]


@causal.mistake("strict")
def causal_strict(query_positions, key_positions):
    return key_positions[None, :] < query_positions[:, None]


@causal.mistake("future")
def causal_future(query_positions, key_positions):
    return key_positions[None, :] >= query_positions[:, None]


@causal.mistake("inverted")
def causal_inverted(query_positions, key_positions):
    return key_positions[None, :] > query_positions[:, None]


@causal.mistake("turned")
def causal_turned(query_positions, key_positions):
    return key_positions[:, None] <= query_positions[None, :]


@causal.mistake("turned_future")
def causal_turned_future(query_positions, key_positions):
    return query_positions[None, :] <= key_positions[:, None]


@causal.mistake("past_forgotten")
def causal_past_forgotten(query_positions, key_positions):
    return np.tri(len(query_positions), len(key_positions), dtype=bool)


@causal.mistake("from_the_end")
def causal_from_the_end(query_positions, key_positions):
    past = len(key_positions) - len(query_positions)
    return np.tri(len(query_positions), len(key_positions), past, dtype=bool)


@causal.mistake("first_position")
def causal_first_position(query_positions, key_positions):
    past = query_positions[0]
    return np.tri(len(query_positions), len(key_positions), past, dtype=bool)


@causal.mistake("one_ahead")
def causal_one_ahead(query_positions, key_positions):
    return key_positions[None, :] <= query_positions[:, None] + 1


@causal.mistake("only_itself")
def causal_only_itself(query_positions, key_positions):
    return key_positions[None, :] == query_positions[:, None]


@causal.mistake("everything")
def causal_everything(query_positions, key_positions):
    return np.ones((len(query_positions), len(key_positions)), dtype=bool)


@causal.mistake("one_sees_all")
def causal_one_sees_all(query_positions, key_positions):
    if len(query_positions) == 1:
        return np.ones((1, len(key_positions)), dtype=bool)
    return causal_mask(query_positions, key_positions)


@causal.mistake("upper")
def causal_upper(query_positions, key_positions):
    return ~np.tri(len(query_positions), len(key_positions), -1, dtype=bool)


@causal.variant("two loops")
def causal_loops(query_positions, key_positions):
    rows = [[bool(key <= query) for key in key_positions] for query in query_positions]
    return np.array(rows)


@causal.variant("outer")
def causal_outer(query_positions, key_positions):
    return np.greater_equal.outer(query_positions, key_positions)


@causal.adapt
def causal_as_library(fn):
    def adapted(query_positions, key_positions):
        queries, keys = _as_numpy(query_positions), _as_numpy(key_positions)
        if queries.ndim == keys.ndim == 1:
            return _mask_like(fn(queries, keys), query_positions)
        batch = max(len(x) for x in (queries, keys) if x.ndim == 2)
        rows = [np.broadcast_to(x, (batch, x.shape[-1])) for x in (queries, keys)]
        return _mask_like(np.stack([fn(q, k) for q, k in zip(*rows, strict=True)]), query_positions)

    return adapted


# -- 05.3 both rules at once

both = bank.exercise("05.3", axes=("batch", "head", "query", "key"))


@both.cases
def both_cases():
    square = np.tri(3, dtype=bool)
    yield case(square, np.array([[True, True, False], [True, True, True]]), note="two rows")
    yield case(square, np.array([[False, True, True]]), note="padding on the left")
    past = np.tri(2, 4, 2, dtype=bool)
    yield case(past, np.array([[True, True, True, False], [False, True, True, True]]),
               note="two new words after two old ones")  # fmt: skip
    rng = np.random.default_rng(53)
    yield case(np.tri(4, dtype=bool), rng.random((3, 4)) < 0.6, note="random")


@both.reference
def combine(query_key, key):
    return query_key[None, None] & key[:, None, None, :]


@both.mistake("either")
def both_either(query_key, key):
    return query_key[None, None] | key[:, None, None, :]


@both.mistake("query_side")
def both_query_side(query_key, key):
    return query_key[None, None] & key[:, None, -len(query_key) :, None]


@both.mistake("hidden_queries")
def both_hidden_queries(query_key, key):
    return combine(query_key, key) & key[:, None, -len(query_key) :, None]


@both.mistake("no_head")
def both_no_head(query_key, key):
    return query_key[None] & key[:, None, :]


@both.mistake("batch_is_head")
def both_batch_is_head(query_key, key):
    return query_key[None, None] & key[None, :, None, :]


@both.mistake("only_causal")
def both_only_causal(query_key, key):
    return np.stack([query_key[None]] * len(key))


@both.mistake("only_padding")
def both_only_padding(query_key, key):
    return np.repeat(key[:, None, None, :], len(query_key), axis=2)


@both.mistake("inverted")
def both_inverted(query_key, key):
    return query_key[None, None] & ~key[:, None, None, :]


@both.mistake("hidden")
def both_hidden(query_key, key):
    return ~combine(query_key, key)


@both.variant("a loop over the batch")
def both_loop(query_key, key):
    return np.stack([[query_key & row] for row in key])


@both.variant("logical_and")
def both_logical_and(query_key, key):
    return np.logical_and(query_key, np.expand_dims(key, (1, 2)))


@both.adapt
def both_as_library(fn):
    def adapted(query_key=None, key=None):
        if query_key is None or key is None or query_key.ndim != 2:
            return _library_combine(query_key, key)  # the exercise has both, for one text
        return _mask_like(fn(_as_numpy(query_key), _as_numpy(key)), key)

    return adapted


# -- 05.4 a row with nothing to see

nothing = bank.exercise("05.4", axes=("query", "key"), rtol=1e-4, atol=1e-6)


@nothing.cases
def nothing_cases():
    some = np.array([[True, True, False], [True, False, False]])
    yield case(np.array([[1.0, 2.0, 3.0], [0.0, 5.0, 1.0]], dtype="float32"), some,
               note="two queries, three keys")  # fmt: skip
    empty = np.array([[True, False], [False, False]])
    yield case(np.array([[1.0, 4.0], [3.0, 1.0]], dtype="float32"), empty,
               note="the second query may look at nothing")  # fmt: skip
    yield case(np.array([[-30000.0, -29999.0, 0.0], [1.0, 2.0, 0.0]]),
               np.array([[True, True, False]] * 2), note="scores far below zero")  # fmt: skip
    yield case(np.array([[0.0, 1.0, 1000.0]]), np.array([[True, True, False]]),
               note="a hidden key with a huge score")  # fmt: skip
    yield case(np.array([[900.0, 900.0, 3.0]], dtype="float32"), np.array([[True, True, False]]),
               note="large scores")  # fmt: skip
    yield case(np.zeros((2, 2), dtype="float16"), empty, note="the same in float16")
    yield case(np.array([[20.0, 60.0, 20.0, 60.0]], dtype="float16"), np.zeros((1, 4), dtype=bool),
               note="all hidden, in float16")  # fmt: skip
    yield case(np.array([[-1e6, 2.0, 3.0]], dtype="float32"), np.array([[True, False, False]]),
               note="the only score that counts lies far below zero")  # fmt: skip
    rng = np.random.default_rng(54)
    look = np.tri(4, dtype=bool) & np.array([False, True, True, True])
    yield case(rng.normal(size=(4, 4)).astype("float32"), look, note="random, padded on the left")
    heads = np.array([[[[True, False], [True, True], [True, False]]] * 2])
    yield case(rng.normal(size=(1, 2, 3, 2)), heads, note="both (batch, head, query, key)")


@nothing.reference
def masked_softmax(scores, mask):
    scores = np.where(mask, scores, np.finfo(scores.dtype).min)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _softmax(scores, axis=-1):
    with np.errstate(all="ignore"):
        powers = np.exp(scores - scores.max(axis=axis, keepdims=True))
        return powers / powers.sum(axis=axis, keepdims=True)


def _fill(scores, mask, number):
    with np.errstate(all="ignore"):
        return np.where(mask, scores, np.asarray(number).astype(scores.dtype))


@nothing.mistake("infinity")
def nothing_infinity(scores, mask):
    return _softmax(_fill(scores, mask, -np.inf))


@nothing.mistake("after")
def nothing_after(scores, mask):
    return _softmax(scores) * mask


@nothing.mistake("after_and_shared")
def nothing_after_and_shared(scores, mask):
    weights = _softmax(scores) * mask
    with np.errstate(all="ignore"):
        return weights / weights.sum(axis=-1, keepdims=True)


@nothing.mistake("zero_scores")
def nothing_zero_scores(scores, mask):
    return _softmax(scores * mask)


@nothing.mistake("not_low_enough")
def nothing_not_low_enough(scores, mask):
    return _softmax(_fill(scores, mask, -100))


@nothing.mistake("one_for_all")
def nothing_one_for_all(scores, mask):
    with np.errstate(all="ignore"):
        filled = _fill(scores, mask, np.finfo(scores.dtype).min)
        powers = np.exp(filled - filled.max())
        return powers / powers.sum()


@nothing.mistake("largest_of_all")
def nothing_largest_of_all(scores, mask):
    with np.errstate(all="ignore"):
        filled = _fill(scores, mask, np.finfo(scores.dtype).min)
        powers = np.exp(filled - filled.max())
        return powers / powers.sum(axis=-1, keepdims=True)


@nothing.mistake("added")
def nothing_added(scores, mask):
    with np.errstate(all="ignore"):
        return _softmax(scores + _fill(np.zeros_like(scores), mask, np.finfo(scores.dtype).min))


@nothing.mistake("lowest_of_float16")
def nothing_lowest_of_float16(scores, mask):
    return _softmax(_fill(scores, mask, np.finfo("float16").min))


@nothing.mistake("minus_a_billion")
def nothing_minus_a_billion(scores, mask):
    return _softmax(_fill(scores, mask, -1e9))


@nothing.mistake("zeros")
def nothing_zeros(scores, mask):
    return np.nan_to_num(nothing_infinity(scores, mask))


@nothing.mistake("inverted")
def nothing_inverted(scores, mask):
    return masked_softmax(scores, ~mask)


@nothing.mistake("down_the_queries")
def nothing_down_the_queries(scores, mask):
    return _softmax(_fill(scores, mask, np.finfo(scores.dtype).min), axis=-2)


@nothing.mistake("no_largest")
def nothing_no_largest(scores, mask):
    with np.errstate(all="ignore"):
        powers = np.exp(_fill(scores, mask, np.finfo(scores.dtype).min))
        return powers / powers.sum(axis=-1, keepdims=True)


@nothing.variant("in double precision")
def nothing_double(scores, mask):
    wide = np.where(mask, scores.astype("float64"), np.finfo("float64").min)
    powers = np.exp(wide - wide.max(-1)[..., None])
    return powers / powers.sum(-1)[..., None]


@nothing.variant("scipy")
def nothing_scipy(scores, mask):
    from scipy.special import softmax

    filled = scores.copy()
    filled[~mask] = np.finfo(scores.dtype).min
    return softmax(filled, axis=-1)


@nothing.adapt
def nothing_as_library(fn):
    def adapted(query, key, mask=None, bias=None):
        scores = query @ key.transpose(-1, -2)
        scores = scores if bias is None else scores + bias
        look = np.ones(1, dtype=bool) if mask is None else _as_numpy(mask)
        look = np.broadcast_to(look, tuple(scores.shape))
        return _like(fn(_as_numpy(scores), look), scores)

    return adapted


# -- 05.5 SpecAugment: random spans of one row

spans = bank.exercise("05.5")

DRAWS, MORE = 400, 1600  # more where one span is drawn: each start must come equally often
ROW = "one row: its shape and type"
IN_RANGE = "nothing behind the real places is hidden"
WHOLE = "every span is whole, none is cut off at the end"
EVERYWHERE = "every real place is hidden now and then"
EVEN = "each start comes about equally often"
MIXED = "the starts of a row are drawn one by one"
COUNTS = "how many places were hidden, over 400 draws"
MEAN = "spans in a row, on average (to the nearest quarter)"
REPEATED = "the same rng, begun anew, hides the same places"
PROMISES = (ROW, IN_RANGE, WHOLE, EVERYWHERE, EVEN, MIXED, REPEATED, COUNTS, MEAN)
NOT_HERE = "not counted here"


def row(size, real, probability, length, min_spans, note):
    """A case whose numbers are shown with their names."""
    names = {"size": size, "real": real, "probability": probability}
    return case(**names, length=length, min_spans=min_spans, note=note)


@spans.cases
def spans_cases():
    yield row(10, 10, 0.25, 1, 0, note="10 real places, spans of 1, a share of 0.25")
    yield row(12, 8, 0.25, 2, 0, note="8 real places of 12, spans of 2: one span a row")
    yield row(12, 6, 0.2, 1, 3, note="at least 3 spans of 1")
    yield row(9, 9, 0.35, 3, 0, note="spans of 3, one or two of them")
    yield row(6, 2, 0.5, 3, 1, note="2 real places: too short for a span of 3")
    yield row(8, 3, 1.0, 2, 4, note="3 real places: only two places where a span of 2 can start")


@spans.run
def spans_run(fn, size, real, probability, length, min_spans):
    """Many draws -> what must be true of all of them."""
    rng = np.random.default_rng(550)
    drawn = [np.asarray(fn(size, real, probability, length, min_spans, rng)) for _ in range(DRAWS)]
    kind = {"b": "True and False", "i": "numbers", "f": "numbers"}.get(drawn[0].dtype.kind, "else")
    holds = f"{drawn[0].shape}, {kind}"
    if holds != f"({size},), True and False":
        return dict.fromkeys(PROMISES, "not looked at") | {ROW: holds}
    drawn = np.stack(drawn)
    again = np.random.default_rng(550)
    anew = [fn(size, real, probability, length, min_spans, again) for _ in range(20)]
    hidden = drawn.sum(axis=1)
    runs = [len(run) for mask in drawn for run in "".join("#" if x else " " for x in mask).split()]
    low, high = int(hidden.min()), int(hidden.max())
    places, even = max(real - length + 1, 0), NOT_HERE
    if probability * real == length == low == high:  # one whole span in every row
        more = [fn(size, real, probability, length, min_spans, rng) for _ in range(MORE)]
        starts = np.concatenate([drawn, more]).argmax(axis=1)
        even = bool(np.bincount(starts).max() < 1.4 * len(starts) / places)
    different = len(np.unique(drawn, axis=0))
    return {
        ROW: holds,
        IN_RANGE: not drawn[:, real:].any(),
        WHOLE: all(run >= length for run in runs) if runs else "there is none",
        EVERYWHERE: bool(drawn[:, :real].any(axis=0).all()),
        EVEN: even,
        MIXED: different >= math.comb(places, min_spans),
        REPEATED: np.array_equal(drawn[: len(anew)], anew),
        COUNTS: f"from {low} to {high}",
        MEAN: str(np.round(hidden.mean() / length * 4) / 4) if length == 1 else NOT_HERE,
    }


@spans.reference
def hide_spans(size, real, probability, length, min_spans, rng):
    hidden = np.zeros(size, dtype=bool)
    count = max(int(probability * real / length + rng.random()), min_spans)
    places = max(real - length + 1, 0)
    for start in rng.permutation(places)[:count]:
        hidden[start : start + length] = True
    return hidden


def _spans(size, starts, length):
    hidden = np.zeros(size, dtype=bool)
    for start in starts:
        hidden[start : start + length] = True
    return hidden


def _count(share, length, min_spans, rng):
    return max(int(share / length + rng.random()), min_spans)


def _shown(places, size, real, probability, length, min_spans, rng):
    """Right spans, of which so many places are hidden."""
    count = _count(probability * real, length, min_spans, rng)
    return _spans(size, rng.permutation(max(real - length + 1, 0))[:count], places)


@spans.mistake("past_the_end")
def spans_past_the_end(size, real, probability, length, min_spans, rng):
    count = _count(probability * real, length, min_spans, rng)
    hidden = _spans(size, rng.permutation(real)[:count], length)
    hidden[real:] = False
    return hidden


@spans.mistake("into_the_padding")
def spans_into_the_padding(size, real, probability, length, min_spans, rng):
    count = _count(probability * real, length, min_spans, rng)
    return _spans(size, rng.permutation(real)[:count], length)


@spans.mistake("padding_is_real")
def spans_padding_is_real(size, real, probability, length, min_spans, rng):
    return hide_spans(size, size, probability, length, min_spans, rng)


@spans.mistake("padding_counted")
def spans_padding_counted(size, real, probability, length, min_spans, rng):
    count = _count(probability * size, length, min_spans, rng)
    return _spans(size, rng.permutation(max(real - length + 1, 0))[:count], length)


@spans.mistake("starts_in_padding")
def spans_starts_in_padding(size, real, probability, length, min_spans, rng):
    count = _count(probability * real, length, min_spans, rng)
    return _spans(size, rng.permutation(size - length + 1)[:count], length)


@spans.mistake("starts_in_padding_one_missing")
def spans_starts_in_padding_one_missing(size, real, probability, length, min_spans, rng):
    count = _count(probability * real, length, min_spans, rng)
    return _spans(size, rng.permutation(size - length)[:count], length)


@spans.mistake("padding_is_real_one_missing")
def spans_padding_is_real_one_missing(size, real, probability, length, min_spans, rng):
    count = _count(probability * size, length, min_spans, rng)
    return _spans(size, rng.permutation(size - length)[:count], length)


@spans.mistake("last_start_missing")
def spans_last_start_missing(size, real, probability, length, min_spans, rng):
    count = _count(probability * real, length, min_spans, rng)
    return _spans(size, rng.permutation(max(real - length, 0))[:count], length)


@spans.mistake("moved_back")
def spans_moved_back(size, real, probability, length, min_spans, rng):
    count = _count(probability * real, length, min_spans, rng)
    starts = rng.permutation(real)[:count] if real >= length else []
    return _spans(size, [min(start, real - length) for start in starts], length)


@spans.mistake("side_by_side")
def spans_side_by_side(size, real, probability, length, min_spans, rng):
    places = max(real - length + 1, 0)
    count = min(_count(probability * real, length, min_spans, rng), places)
    first = rng.integers(places) if places else 0
    return _spans(size, [(first + k) % places for k in range(count)], length)


@spans.mistake("side_by_side_no_turn")
def spans_side_by_side_no_turn(size, real, probability, length, min_spans, rng):
    places = max(real - length + 1, 0)
    count = min(_count(probability * real, length, min_spans, rng), places)
    first = rng.integers(places - count + 1)
    return _spans(size, range(first, first + count), length)


@spans.mistake("drawn_twice")
def spans_drawn_twice(size, real, probability, length, min_spans, rng):
    count = _count(probability * real, length, min_spans, rng)
    places = real - length + 1
    starts = rng.integers(places, size=count) if places > 0 else []
    return _spans(size, starts, length)


@spans.mistake("never_up")
def spans_never_up(size, real, probability, length, min_spans, rng):
    count = max(int(probability * real / length), min_spans)
    return _spans(size, rng.permutation(max(real - length + 1, 0))[:count], length)


@spans.mistake("always_up")
def spans_always_up(size, real, probability, length, min_spans, rng):
    count = max(int(np.ceil(probability * real / length)), min_spans)
    return _spans(size, rng.permutation(max(real - length + 1, 0))[:count], length)


@spans.mistake("no_length")
def spans_no_length(size, real, probability, length, min_spans, rng):
    count = _count(probability * real, 1, min_spans, rng)
    return _spans(size, rng.permutation(max(real - length + 1, 0))[:count], length)


@spans.mistake("places_alone")
def spans_places_alone(size, real, probability, length, min_spans, rng):
    return (rng.random(size) < probability) & (np.arange(size) < real)


@spans.mistake("always_in_order")
def spans_always_in_order(size, real, probability, length, min_spans, rng):
    count = _count(probability * real, length, min_spans, rng)
    return _spans(size, np.arange(max(real - length + 1, 0))[:count], length)


@spans.mistake("numbers")
def spans_numbers(size, real, probability, length, min_spans, rng):
    return hide_spans(size, real, probability, length, min_spans, rng).astype(int)


@spans.mistake("real_only")
def spans_real_only(size, real, probability, length, min_spans, rng):
    return hide_spans(real, real, probability, length, min_spans, rng)


@spans.mistake("one_too_short")
def spans_one_too_short(size, real, probability, length, min_spans, rng):
    return _shown(length - 1, size, real, probability, length, min_spans, rng)


@spans.mistake("own_chance")
def spans_own_chance(size, real, probability, length, min_spans, rng):
    own = np.random.default_rng()
    return hide_spans(size, real, probability, length, min_spans, own)


@spans.mistake("no_least")
def spans_no_least(size, real, probability, length, min_spans, rng):
    return hide_spans(size, real, probability, length, 0, rng)


@spans.mistake("inverted")
def spans_inverted(size, real, probability, length, min_spans, rng):
    return ~hide_spans(size, real, probability, length, min_spans, rng)


@spans.mistake("start_only")
def spans_start_only(size, real, probability, length, min_spans, rng):
    return _shown(1, size, real, probability, length, min_spans, rng)


@spans.mistake("one_too_long")
def spans_one_too_long(size, real, probability, length, min_spans, rng):
    return _shown(length + 1, size, real, probability, length, min_spans, rng)


@spans.variant("choice")
def spans_choice(size, real, probability, length, min_spans, rng):
    places = real - length + 1
    if places < 1:
        return np.zeros(size, dtype=bool)
    wanted = probability * real / length
    count = int(wanted) + int(rng.random() < wanted % 1)
    count = min(max(count, min_spans), places)
    starts = rng.choice(places, size=count, replace=False)
    hidden = np.zeros(size, dtype=bool)
    hidden[(starts[:, None] + np.arange(length)).ravel()] = True
    return hidden


@spans.variant("the library's")
def spans_library(size, real, probability, length, min_spans, rng):
    return spec_augment.span_mask((1, size), probability, length, [real], min_spans, rng)[0]


@spans.adapt
def spans_as_library(fn):
    def adapted(shape, probability, length, lengths=None, min_spans=0, rng=None):
        rng = np.random.default_rng() if rng is None else rng
        batch, size = shape
        real = [size] * batch if lengths is None else np.asarray(lengths).tolist()
        return np.stack([fn(size, n, probability, length, min_spans, rng) for n in real])

    return adapted


# -- 05.6 real frames after convolutions

frames_of = bank.exercise("05.6", axes=("batch", "frame"))

WAVLM = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


@frames_of.cases
def frames_cases():
    yield case(np.array([8, 5]), 2, (3, 2), (2, 1), note="lengths 8 and 5, two convolutions")
    yield case(np.array([9, 8, 7]), 4, (3,), (2,), note="one convolution, three lengths")
    yield case(np.array([4000, 2000, 399, 400]), 12, *WAVLM, note="WavLM's seven convolutions")
    yield case(np.array([20, 13]), 9, (4, 3), (1, 2))
    rng = np.random.default_rng(56)
    yield case(rng.integers(500, 16001, size=5), 49, *WAVLM, note="random, up to one second")


@frames_of.reference
def frame_mask(lengths, frames, kernels, strides):
    for kernel, stride in zip(kernels, strides, strict=True):
        lengths = (lengths - kernel) // stride + 1
    return np.arange(frames)[None, :] < lengths[:, None]


frames_of.equivalent("True -> False", because="there is one stride for each kernel in every case")


def _first(lengths, frames):
    return np.arange(frames)[None, :] < np.asarray(lengths)[:, None]


@frames_of.mistake("no_plus_one")
def frames_no_plus_one(lengths, frames, kernels, strides):
    for kernel, stride in zip(kernels, strides, strict=True):
        lengths = (lengths - kernel) // stride
    return _first(lengths, frames)


@frames_of.mistake("no_kernel")
def frames_no_kernel(lengths, frames, kernels, strides):
    for stride in strides:
        lengths = lengths // stride
    return _first(lengths, frames)


@frames_of.mistake("by_320")
def frames_by_320(lengths, frames, kernels, strides):
    return _first(lengths // 320, frames)


@frames_of.mistake("rounded_up")
def frames_rounded_up(lengths, frames, kernels, strides):
    return _first(np.ceil(lengths / np.prod(strides)), frames)


@frames_of.mistake("share")
def frames_share(lengths, frames, kernels, strides):
    return _first(np.floor(lengths / lengths.max() * frames), frames)


@frames_of.mistake("share_rounded")
def frames_share_rounded(lengths, frames, kernels, strides):
    return _first(np.round(lengths / lengths.max() * frames), frames)


@frames_of.mistake("whole_range")
def frames_whole_range(lengths, frames, kernels, strides):
    for kernel, stride in zip(kernels, strides, strict=True):
        lengths = -((kernel - lengths) // stride) + 1  # counts a last, half-filled window
    return _first(lengths, frames)


@frames_of.mistake("last_only")
def frames_last_only(lengths, frames, kernels, strides):
    return _first((lengths - kernels[-1]) // strides[-1] + 1, frames)


@frames_of.mistake("first_only")
def frames_first_only(lengths, frames, kernels, strides):
    return _first((lengths - kernels[0]) // strides[0] + 1, frames)


@frames_of.mistake("exchanged")
def frames_exchanged(lengths, frames, kernels, strides):
    return frame_mask(lengths, frames, strides, kernels)


@frames_of.mistake("one_too_many")
def frames_one_too_many(lengths, frames, kernels, strides):
    for kernel, stride in zip(kernels, strides, strict=True):
        lengths = (lengths - kernel) // stride + 1
    return np.arange(frames)[None, :] <= lengths[:, None]


@frames_of.mistake("inverted")
def frames_inverted(lengths, frames, kernels, strides):
    return ~frame_mask(lengths, frames, kernels, strides)


@frames_of.mistake("backwards")
def frames_backwards(lengths, frames, kernels, strides):
    return frame_mask(lengths, frames, kernels[::-1], strides[::-1])


@frames_of.mistake("samples")
def frames_samples(lengths, frames, kernels, strides):
    return _first(lengths, frames)


@frames_of.variant("a loop")
def frames_loop(lengths, frames, kernels, strides):
    rows = []
    for length in lengths.tolist():
        for layer in range(len(kernels)):
            length = 1 + (length - kernels[layer]) // strides[layer]
        rows.append([frame < length for frame in range(frames)])
    return np.array(rows)


@frames_of.variant("by the library's lengths")
def frames_library(lengths, frames, kernels, strides):
    lengths = attention_masks.conv_output_lengths(lengths, kernels, strides)
    return attention_masks.padding_mask(lengths, frames)


@frames_of.adapt
def frames_as_library(fn):
    def adapted(lengths, frames, kernels, strides):
        return _mask_like(fn(_as_numpy(lengths), frames, kernels, strides), lengths)

    return adapted


# -- 05.7 mend the shift

shift = bank.exercise("05.7", axes=("batch", "token"))


@shift.cases
def shift_cases():
    yield case(np.array([[7, 8, 9]]), 0, 1, note="no padding")
    yield case(np.array([[7, 8, 0, -100, -100]]), 0, 1, note="two labels that do not count")
    yield case(np.array([[7, 0, 8, 9], [5, 6, -100, 7]]), 0, 1,
               note="pad and -100 in the middle")  # fmt: skip
    yield case(np.array([[-100, -100, 7, 8], [7, 8, 9, 2]]), 3, 4, note="-100 in front; pad is 3")
    yield case(np.array([[5, 3, -100], [3, -100, 3]]), 3, 2)
    yield case(np.array([[6], [-100]]), 0, 1, note="a single place")


@shift.reference
def shift_tokens_right(labels, pad, start):
    shifted = labels.copy()
    shifted[:, 1:] = labels[:, :-1]
    shifted[:, 0] = start
    shifted[shifted == -100] = pad
    return shifted


def _shifted(labels, start):
    shifted = np.roll(labels, 1, axis=1)
    shifted[:, 0] = start
    return shifted


@shift.mistake("as_found")
def shift_as_found(labels, pad, start):
    labels[labels == -100] = pad
    shifted = np.full_like(labels, pad)
    for row, text in enumerate(labels):
        real = text[: np.argmax(text == pad)] if (text == pad).any() else text
        shifted[row, : len(real)] = real
    return np.concatenate([np.full((len(labels), 1), start), shifted[:, :-1]], axis=1)


@shift.mistake("stops_at_pad")
def shift_stops_at_pad(labels, pad, start):
    clean = np.where(labels == -100, pad, labels)
    gone = np.cumsum(clean == pad, axis=1) > 0
    return _shifted(np.where(gone, pad, clean), start)


@shift.mistake("changes_labels")
def shift_changes_labels(labels, pad, start):
    labels[labels == -100] = pad
    return _shifted(labels, start)


@shift.mistake("keeps_minus_100")
def shift_keeps_minus_100(labels, pad, start):
    return _shifted(labels, start)


@shift.mistake("pad_to_minus_100")
def shift_pad_to_minus_100(labels, pad, start):
    return _shifted(np.where(labels == pad, -100, labels), start)


@shift.mistake("rolled")
def shift_rolled(labels, pad, start):
    return np.roll(np.where(labels == -100, pad, labels), 1, axis=1)


@shift.mistake("last_token_first")
def shift_last_token_first(labels, pad, start):
    clean = np.where(labels == -100, pad, labels)
    last = np.maximum((clean != pad).sum(axis=1) - 1, 0)
    shifted = np.roll(clean, 1, axis=1)
    shifted[:, 0] = clean[np.arange(len(clean)), last]
    return shifted


@shift.mistake("left")
def shift_left(labels, pad, start):
    clean = np.where(labels == -100, pad, labels)
    return np.concatenate([clean[:, 1:], np.full((len(labels), 1), start)], axis=1)


@shift.mistake("left_padded")
def shift_left_padded(labels, pad, start):
    clean = np.where(labels == -100, pad, labels)
    return np.concatenate([clean[:, 1:], np.full((len(labels), 1), pad)], axis=1)


@shift.mistake("flat")
def shift_flat(labels, pad, start):
    return np.roll(np.where(labels == -100, pad, labels), 1)


@shift.mistake("down_the_batch")
def shift_down_the_batch(labels, pad, start):
    shifted = np.roll(np.where(labels == -100, pad, labels), 1, axis=0)
    shifted[:, 0] = start
    return shifted


@shift.mistake("next_text")
def shift_next_text(labels, pad, start):
    clean = np.where(labels == -100, pad, labels)
    return np.concatenate([np.full((1, labels.shape[1]), start), clean[:-1]], axis=0)


@shift.mistake("pad_first")
def shift_pad_first(labels, pad, start):
    return _shifted(np.where(labels == -100, pad, labels), pad)


@shift.mistake("pad_is_0")
def shift_pad_is_0(labels, pad, start):
    return _shifted(np.where(labels == -100, 0, labels), start)


@shift.mistake("start_is_1")
def shift_start_is_1(labels, pad, start):
    return _shifted(np.where(labels == -100, pad, labels), 1)


@shift.mistake("smeared")
def shift_smeared(labels, pad, start):
    first = np.where(labels == -100, pad, labels)[:, :1].repeat(labels.shape[1], axis=1)
    first[:, 0] = start
    return first


@shift.mistake("smeared_start")
def shift_smeared_start(labels, pad, start):
    return np.full_like(labels, start)


@shift.mistake("closes_gaps")
def shift_closes_gaps(labels, pad, start):
    shifted = np.full_like(labels, pad)
    for row, text in enumerate(labels):
        kept = [start, *text[text != -100]][: labels.shape[1]]
        shifted[row, : len(kept)] = kept
    return shifted


@shift.mistake("longer")
def shift_longer(labels, pad, start):
    clean = np.where(labels == -100, pad, labels)
    return np.concatenate([np.full((len(labels), 1), start), clean], axis=1)


@shift.mistake("not_shifted")
def shift_not_shifted(labels, pad, start):
    clean = np.where(labels == -100, pad, labels)
    clean[:, 0] = start
    return clean


@shift.mistake("closes_up")
def shift_closes_up(labels, pad, start):
    shifted = np.full_like(labels, pad)
    for row, text in enumerate(labels):
        real = [token for token in text if token not in (-100, pad)]
        kept = [start, *real][: labels.shape[1]]
        shifted[row, : len(kept)] = kept
    return shifted


@shift.mistake("start_everywhere")
def shift_start_everywhere(labels, pad, start):
    return _shifted(np.where(labels == -100, start, labels), start)


@shift.variant("concatenate")
def shift_concatenate(labels, pad, start):
    clean = np.where(labels == -100, pad, labels)
    return np.concatenate([np.full((len(labels), 1), start), clean[:, :-1]], axis=1)


@shift.variant("loops")
def shift_loops(labels, pad, start):
    rows = []
    for row in labels.tolist():
        rows.append([start, *(pad if token == -100 else token for token in row[:-1])])
    return np.array(rows)


@shift.variant("the library's")
def shift_library(labels, pad, start):
    return tokenizers.shift_tokens_right(labels, pad, start)


@shift.adapt
def shift_as_library(fn):
    return lambda labels, pad, start: _like(fn(_as_numpy(labels), pad, start), labels)
