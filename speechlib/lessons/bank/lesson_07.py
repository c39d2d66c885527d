"""Checks of lesson 07, attention variants: the fused kernel, the cache, packing, tiles."""

import math
import weakref

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from speechlib import attention_masks
from speechlib.lessons.banking import Bank, case
from speechlib.lessons.running import Outcome, agrees
from speechlib.torch_models import attention, kv_cache

bank = Bank("07")
LOWEST = torch.finfo(torch.float32).min


def _random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- 07.1 the weights of a black box

peek = bank.exercise("07.1", axes=("batch", "head", "query", "key"))


def the_fused_kernel(query, key, value):
    return F.scaled_dot_product_attention(query, key, value)


def with_is_causal(query, key, value):
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


def always_the_mean(query, key, value):
    return value.mean(dim=2, keepdim=True).expand(-1, -1, query.shape[2], -1)


@peek.cases
def peek_cases():
    yield case(
        always_the_mean,
        _random(1, 2, 3, 2, 4),
        _random(2, 2, 3, 3, 4),
        note="a function that listens to all alike",
    )
    yield case(
        the_fused_kernel,
        _random(3, 1, 1, 3, 4),
        _random(4, 1, 1, 4, 4),
        note="as many keys as columns",
    )
    yield case(the_fused_kernel, _random(5, 2, 3, 4, 8), _random(6, 2, 3, 6, 8), note="random")
    yield case(with_is_causal, _random(7, 1, 2, 3, 8), _random(8, 1, 2, 5, 8), note="is_causal")


@peek.reference
def see_weights(attend, query, key):
    batch, heads, keys, _ = key.shape
    value = torch.eye(keys).expand(batch, heads, keys, keys)
    return attend(query, key, value)


@peek.mistake("recomputed")
def peek_recomputed(attend, query, key):
    return (query @ key.mT / math.sqrt(query.shape[-1])).softmax(dim=-1)


@peek.mistake("recomputed_unscaled")
def peek_recomputed_unscaled(attend, query, key):
    return (query @ key.mT).softmax(dim=-1)


@peek.mistake("values_are_keys")
def peek_values_are_keys(attend, query, key):
    return attend(query, key, key)


@peek.mistake("ones")
def peek_ones(attend, query, key):
    keys = key.shape[2]
    return attend(query, key, torch.ones(*key.shape[:2], keys, keys))


@peek.mistake("one_for_all")
def peek_one_for_all(attend, query, key):
    return attend(query, key, torch.eye(key.shape[2])[None, None])


@peek.mistake("turned")
def peek_turned(attend, query, key):
    return see_weights(attend, query, key).transpose(-1, -2)


@peek.mistake("backwards")
def peek_backwards(attend, query, key):
    return see_weights(attend, query, key).flip(-1)


@peek.variant("one key at a time")
def peek_one_by_one(attend, query, key):
    columns = []
    for number in range(key.shape[2]):
        value = torch.zeros(*key.shape[:3], 1)
        value[:, :, number] = 1.0
        columns.append(attend(query, key, value))
    return torch.cat(columns, dim=-1)


# -- 07.2 the fused kernel, without its traps

fused_layer = bank.exercise("07.2", axes=("batch", "head", "query", "column"))


@fused_layer.cases
def fused_cases():
    yield case(
        _random(11, 1, 1, 2, 4), _random(12, 1, 1, 3, 4), _random(13, 1, 1, 3, 4), note="no mask"
    )
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    yield case(
        _random(14, 1, 2, 2, 4),
        _random(15, 1, 2, 4, 4),
        _random(16, 1, 2, 4, 4),
        mask,
        note="two queries after two others: a causal mask with a past",
    )
    real = torch.tensor([[True] * 5, [True, True, False, False, False]])[:, None, None]
    yield case(
        _random(17, 2, 2, 3, 8),
        _random(18, 2, 2, 5, 8),
        _random(19, 2, 2, 5, 8),
        real,
        note="a padding mask",
    )
    nowhere = torch.tensor([[True, True], [False, False]])
    yield case(
        _random(20, 1, 1, 2, 4),
        _random(21, 1, 1, 2, 4),
        _random(22, 1, 1, 2, 4),
        nowhere,
        note="a row of False",
    )
    low = torch.tensor([-3e9, -3e9, 0.0])[None, None, :, None]
    yield case(
        torch.ones(1, 1, 1, 1),
        low,
        _random(23, 1, 1, 3, 2),
        torch.tensor([[True, True, False]]),
        note="scores of minus three billion, beside a hidden one",
    )


@fused_layer.reference
def fused(query, key, value, mask=None):
    added = None
    if mask is not None:
        added = torch.zeros(mask.shape).masked_fill(~mask, LOWEST)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=added)


def _sdpa(query, key, value, mask, **options):
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, **options)


def _added(mask, hidden=LOWEST):
    return None if mask is None else torch.zeros(mask.shape).masked_fill(~mask, hidden)


@fused_layer.mistake("boolean")
def fused_boolean(query, key, value, mask=None):
    return _sdpa(query, key, value, mask)


@fused_layer.mistake("numbers")
def fused_numbers(query, key, value, mask=None):
    return _sdpa(query, key, value, None if mask is None else mask.float())


@fused_layer.mistake("inverted")
def fused_inverted(query, key, value, mask=None):
    return _sdpa(query, key, value, None if mask is None else _added(~mask))


@fused_layer.mistake("is_causal")
def fused_is_causal(query, key, value, mask=None):
    return F.scaled_dot_product_attention(query, key, value, is_causal=mask is not None)


@fused_layer.mistake("both")
def fused_both(query, key, value, mask=None):
    return _sdpa(query, key, value, mask, is_causal=True)


@fused_layer.mistake("always_causal")
def fused_always_causal(query, key, value, mask=None):
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


@fused_layer.mistake("no_mask")
def fused_no_mask(query, key, value, mask=None):
    return F.scaled_dot_product_attention(query, key, value)


@fused_layer.mistake("minus_a_hundred")
def fused_minus_a_hundred(query, key, value, mask=None):
    added = None if mask is None else torch.zeros(mask.shape).masked_fill(~mask, -100.0)
    return _sdpa(query, key, value, added)


@fused_layer.mistake("minus_a_billion")
def fused_minus_a_billion(query, key, value, mask=None):
    return _sdpa(query, key, value, _added(mask, -1e9))


@fused_layer.mistake("scaled_twice")
def fused_scaled_twice(query, key, value, mask=None):
    return _sdpa(query / math.sqrt(query.shape[-1]), key, value, _added(mask))


@fused_layer.mistake("not_scaled")
def fused_not_scaled(query, key, value, mask=None):
    return _sdpa(query, key, value, _added(mask), scale=1.0)


@fused_layer.mistake("a_little_quieter")
def fused_a_little_quieter(query, key, value, mask=None):
    return _sdpa(query, key, value, _added(mask, -5.0))


@fused_layer.variant("by hand")
def fused_by_hand(query, key, value, mask=None):
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, LOWEST)
    return scores.softmax(dim=-1) @ value


@fused_layer.variant("where")
def fused_where(query, key, value, mask=None):
    if mask is None:
        return F.scaled_dot_product_attention(query, key, value)
    return _sdpa(query, key, value, torch.where(mask, 0.0, -1e30))


# -- 07.3 what a cache saves

counted = bank.exercise("07.3")


@counted.cases
def counted_cases():
    yield case(3, 10, False, note="three tokens, ten frames, no cache")
    yield case(3, 10, True, note="three tokens, ten frames, with a cache")
    for tokens, frames in ((1, 7), (8, 300), (448, 1500)):
        yield case(tokens, frames, False)
        yield case(tokens, frames, True)


@counted.reference
def rows_made(tokens, frames, cached):
    if cached:
        return tokens + frames
    return tokens * (tokens + 1) // 2 + tokens * frames


@counted.mistake("sound_every_time")
def counted_sound_every_time(tokens, frames, cached):
    return tokens + tokens * frames if cached else rows_made(tokens, frames, cached)


@counted.mistake("sound_once")
def counted_sound_once(tokens, frames, cached):
    return tokens + frames if cached else tokens * (tokens + 1) // 2 + frames


@counted.mistake("full_square")
def counted_full_square(tokens, frames, cached):
    return tokens + frames if cached else tokens * tokens + tokens * frames


@counted.mistake("from_zero")
def counted_from_zero(tokens, frames, cached):
    return tokens + frames if cached else tokens * (tokens - 1) // 2 + tokens * frames


@counted.mistake("no_sound")
def counted_no_sound(tokens, frames, cached):
    return tokens if cached else tokens * (tokens + 1) // 2


@counted.mistake("cached_no_sound")
def counted_cached_no_sound(tokens, frames, cached):
    return tokens if cached else rows_made(tokens, frames, cached)


@counted.mistake("last_step")
def counted_last_step(tokens, frames, cached):
    return 1 if cached else tokens + frames


@counted.mistake("turned_round")
def counted_turned_round(tokens, frames, cached):
    return rows_made(tokens, frames, not cached)


@counted.mistake("triangle_of_both")
def counted_triangle_of_both(tokens, frames, cached):
    if cached:
        return tokens + frames
    return sum(range(1, tokens + 1)) + sum(range(1, frames + 1))


@counted.variant("step by step")
def counted_steps(tokens, frames, cached):
    rows = 0
    for step in range(1, tokens + 1):
        rows += (1 if cached else step) + (frames if not cached or step == 1 else 0)
    return rows


# -- 07.4 writing into the cache

ROWS = ("batch", "head", "token", "column")
writing = bank.exercise(
    "07.4",
    axes={"keys returned by the last write": ROWS, "values returned by the last write": ROWS},
)


@writing.cases
def writing_cases():
    yield case(shape=(1, 1, 4, 2), pieces=(1, 1), note="two tokens, one after the other")
    yield case(shape=(1, 2, 6, 3), pieces=(4, 1, 1), note="four tokens at once, then one by one")
    yield case(shape=(2, 2, 9, 4), pieces=(2, 3, 1), note="pieces of 2, 3 and 1")
    yield case(shape=(2, 1, 5, 3), pieces=(5,), note="full at once")


@writing.run
def writing_run(fn, shape, pieces):
    """A fresh cache of `shape` (batch, head, slots, head width); pieces of these lengths are
    written one after the other; what came back, and what the cache says of itself."""
    cache = kv_cache.KVCache(*shape)
    buffers, lengths = (cache.keys, cache.values), []
    for number, size in enumerate(pieces):
        new = (shape[0], shape[1], size, shape[3])
        returned = fn(cache, _random(100 + number, *new), _random(200 + number, *new))
        lengths.append(cache.length)
    pair = isinstance(returned, tuple | list) and len(returned) == 2
    keys, values = returned if pair else (returned, None)
    return {
        "cache.length after each write": lengths,
        "the buffers are still the same tensors": cache.keys is buffers[0]
        and cache.values is buffers[1],
        "keys returned by the last write": keys,
        "values returned by the last write": values,
    }


@writing.reference
def write(cache, key, value):
    end = cache.length + key.shape[2]
    cache.keys[:, :, cache.length : end] = key
    cache.values[:, :, cache.length : end] = value
    cache.length = end
    return cache.keys[:, :, :end], cache.values[:, :, :end]


@writing.mistake("always_first")
def writing_always_first(cache, key, value):
    new = key.shape[2]
    cache.keys[:, :, :new] = key
    cache.values[:, :, :new] = value
    cache.length += new
    return cache.keys[:, :, : cache.length], cache.values[:, :, : cache.length]


@writing.mistake("at_the_end")
def writing_at_the_end(cache, key, value):
    new = key.shape[2]
    cache.keys[:, :, -new:], cache.values[:, :, -new:] = key, value
    cache.length += new
    return cache.keys[:, :, : cache.length], cache.values[:, :, : cache.length]


@writing.mistake("forgets_length")
def writing_forgets_length(cache, key, value):
    end = cache.length + key.shape[2]
    cache.keys[:, :, cache.length : end] = key
    cache.values[:, :, cache.length : end] = value
    return cache.keys[:, :, :end], cache.values[:, :, :end]


@writing.mistake("empty_slots")
def writing_empty_slots(cache, key, value):
    write(cache, key, value)
    return cache.keys, cache.values


@writing.mistake("only_new")
def writing_only_new(cache, key, value):
    write(cache, key, value)
    return key, value


@writing.mistake("only_old")
def writing_only_old(cache, key, value):
    past = cache.length
    write(cache, key, value)
    return cache.keys[:, :, :past], cache.values[:, :, :past]


@writing.mistake("one_at_a_time")
def writing_one_at_a_time(cache, key, value):
    write(cache, key, value)
    cache.length += 1 - key.shape[2]
    end = cache.length
    return cache.keys[:, :, :end], cache.values[:, :, :end]


@writing.mistake("swapped")
def writing_swapped(cache, key, value):
    return write(cache, value, key)


@writing.mistake("keys_twice")
def writing_keys_twice(cache, key, value):
    return write(cache, key, key)


@writing.mistake("grows")
def writing_grows(cache, key, value):
    past = cache.length
    cache.keys = torch.cat([cache.keys[:, :, :past], key], dim=2)
    cache.values = torch.cat([cache.values[:, :, :past], value], dim=2)
    cache.length += key.shape[2]
    return cache.keys, cache.values


@writing.variant("index_copy_, as in the library")
def writing_library(cache, key, value):
    return kv_cache.KVCache.write(cache, key, value)


@writing.variant("a loop over tokens")
def writing_loop(cache, key, value):
    for token in range(key.shape[2]):
        cache.keys[:, :, cache.length] = key[:, :, token]
        cache.values[:, :, cache.length] = value[:, :, token]
        cache.length += 1
    return cache.keys[:, :, : cache.length], cache.values[:, :, : cache.length]


# -- 07.5 cached equals full

stepwise = bank.exercise("07.5", axes=("batch", "token", "width"))


def _layer(seed, width, heads):
    generator = torch.Generator().manual_seed(seed)
    layer = attention.MultiHeadAttention(width, heads).eval()
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / math.sqrt(width)
    return layer.requires_grad_(False)


@stepwise.cases
def stepwise_cases():
    for seed, shape, heads, pieces, note in (
        (1, (1, 3, 4), 2, (1, 1, 1), "one by one"),
        (2, (1, 4, 6), 1, (4,), "all at once"),
        (3, (2, 6, 8), 2, (3, 1, 2), "pieces of 3, 1 and 2"),
        (4, (1, 7, 12), 3, (2, 5), "pieces of 2 and 5"),
    ):
        layer, x = _layer(seed, shape[2], heads), _random(50 + seed, *shape)
        yield case(layer=layer, x=x, pieces=pieces, note=note)


@stepwise.run
def stepwise_run(fn, layer, x, pieces):
    """x goes through in pieces, with one cache; what came out, joined again."""
    head_width = x.shape[2] // layer.heads
    cache = kv_cache.KVCache(len(x), layer.heads, 3 * x.shape[1], head_width)
    outputs, end = [], 0
    for piece in x.split(pieces, dim=1):
        end += piece.shape[1]
        try:
            outputs.append(fn(layer, piece, cache))
        except Exception:
            if cache.length <= end:
                raise
        if cache.length > end:
            return "the cache holds more tokens than there are"
    return torch.cat(outputs, dim=1)


@stepwise.reference
def cached_attention(layer, x, cache):
    past = cache.length
    key, value = cache.write(*layer.keys_values(x))
    places = torch.arange(key.shape[2])
    mask = attention_masks.causal_mask(places[past:], places)
    return layer(x, (key, value), mask)


def _attend_with(layer, x, cache, mask_of):
    past = cache.length
    pair = cache.write(*layer.keys_values(x))
    return layer(x, pair, mask_of(past, x.shape[1]))


@stepwise.mistake("written_twice")
def stepwise_written_twice(layer, x, cache):
    key, value = layer.keys_values(x)
    return layer(x, (cache.write(key, value)[0], cache.write(key, value)[1]))


@stepwise.mistake("no_mask")
def stepwise_no_mask(layer, x, cache):
    return layer(x, cache.write(*layer.keys_values(x)))


@stepwise.mistake("top_left")
def stepwise_top_left(layer, x, cache):
    return _attend_with(
        layer, x, cache, lambda past, new: torch.ones(new, past + new, dtype=torch.bool).tril()
    )


@stepwise.mistake("one_sees_all")
def stepwise_one_sees_all(layer, x, cache):
    return (stepwise_no_mask if x.shape[1] == 1 else stepwise_top_left)(layer, x, cache)


@stepwise.mistake("no_past")
def stepwise_no_past(layer, x, cache):
    new = x.shape[1]
    return layer(x, layer.keys_values(x), torch.ones(new, new, dtype=torch.bool).tril())


@stepwise.mistake("neither")
def stepwise_neither(layer, x, cache):
    return layer(x, layer.keys_values(x))


@stepwise.mistake("not_itself")
def stepwise_not_itself(layer, x, cache):
    return _attend_with(
        layer, x, cache,
        lambda past, new: torch.ones(new, past + new, dtype=torch.bool).tril(past - 1),
    )  # fmt: skip


@stepwise.mistake("one_ahead")
def stepwise_one_ahead(layer, x, cache):
    return _attend_with(
        layer, x, cache,
        lambda past, new: torch.ones(new, past + new, dtype=torch.bool).tril(past + 1),
    )  # fmt: skip


@stepwise.mistake("future_only")
def stepwise_future_only(layer, x, cache):
    return _attend_with(
        layer, x, cache,
        lambda past, new: torch.ones(new, past + new, dtype=torch.bool).triu(past),
    )  # fmt: skip


@stepwise.variant("tril with a diagonal")
def stepwise_tril(layer, x, cache):
    return _attend_with(
        layer, x, cache, lambda past, new: torch.ones(new, past + new).bool().tril(past)
    )


@stepwise.variant("token by token, no mask needed")
def stepwise_one_by_one(layer, x, cache):
    outputs = []
    for token in x.split(1, dim=1):
        outputs.append(layer(token, cache.write(*layer.keys_values(token))))
    return torch.cat(outputs, dim=1)


# -- 07.6 without padding

packing = bank.exercise("07.6", axes=(("token", "width"), ("batch + 1",)))


@packing.cases
def packing_cases():
    x = torch.arange(1.0, 13.0).reshape(2, 3, 2)
    yield case(x, torch.tensor([2, 3]), note="two recordings, of 2 and 3 frames")
    yield case(_random(61, 3, 4, 2), torch.tensor([4, 1, 2]), note="random")
    yield case(_random(62, 3, 5, 3), torch.tensor([2, 0, 5]), note="one of them is empty")
    yield case(_random(63, 1, 4, 2), torch.tensor([4]), note="one recording, no padding")


@packing.reference
def unpad(x, lengths):
    real = torch.arange(x.shape[1]) < lengths[:, None]
    starts = torch.cat([torch.tensor([0]), lengths.cumsum(dim=0)])
    return x[real], starts


@packing.mistake("no_zero")
def packing_no_zero(x, lengths):
    return unpad(x, lengths)[0], lengths.cumsum(dim=0)


@packing.mistake("padded_starts")
def packing_padded_starts(x, lengths):
    return unpad(x, lengths)[0], torch.arange(len(lengths) + 1) * x.shape[1]


@packing.mistake("no_end")
def packing_no_end(x, lengths):
    packed, starts = unpad(x, lengths)
    return packed, starts[:-1]


@packing.mistake("not_added_up")
def packing_not_added_up(x, lengths):
    return unpad(x, lengths)[0], torch.cat([torch.tensor([0]), lengths])


@packing.mistake("keeps_padding")
def packing_keeps_padding(x, lengths):
    size = x.shape[1]
    return x.flatten(0, 1), torch.arange(0, len(x) * size + 1, size)


@packing.mistake("padding_kept_between")
def packing_padding_kept_between(x, lengths):
    return x.flatten(0, 1), unpad(x, lengths)[1]


@packing.mistake("from_the_left")
def packing_from_the_left(x, lengths):
    real = torch.arange(x.shape[1]) >= x.shape[1] - lengths[:, None]
    return x[real], unpad(x, lengths)[1]


@packing.mistake("one_more")
def packing_one_more(x, lengths):
    real = torch.arange(x.shape[1]) <= lengths[:, None]
    return x[real], unpad(x, lengths)[1]


@packing.mistake("frame_by_frame")
def packing_frame_by_frame(x, lengths):
    real = torch.arange(x.shape[1]) < lengths[:, None]
    return x.transpose(0, 1)[real.T], unpad(x, lengths)[1]


@packing.variant("row by row")
def packing_rows(x, lengths):
    pieces, starts = [], [0]
    for row, length in zip(x, lengths.tolist(), strict=True):
        pieces.append(row[:length])
        starts.append(starts[-1] + length)
    return torch.cat(pieces), torch.tensor(starts)


@packing.variant("padding_mask and pad")
def packing_mask(x, lengths):
    real = attention_masks.padding_mask(lengths, x.shape[1])
    return x.flatten(0, 1)[real.flatten()], F.pad(lengths.cumsum(0), (1, 0))


packing.equivalent("dim=0 -> dim=-1", because="lengths has one axis, so the first is the last")

# -- 07.7 tile by tile

tiled = bank.exercise("07.7", axes=("query", "value column"))


@tiled.cases
def tiled_cases():
    query = torch.tensor([[1.0]])
    keys, values = torch.tensor([[2.0], [0], [1], [4]]), torch.tensor([[1.0], [2], [3], [4]])
    yield case(query, _cut(keys, values, (2, 2)), note="the example of the text")
    yield case(query, _cut(keys, values, (4,)), note="the same in one tile")
    yield case(query, _cut(keys, values, (1, 1, 1, 1)), note="the same, key by key")
    keys, values = _random(71, 7, 4), _random(72, 7, 3)
    yield case(_random(73, 3, 4), _cut(keys, values, (3, 3, 1)), note="random")
    yield case(
        _random(74, 5, 9), _cut(_random(75, 8, 9), _random(76, 8, 2), (2, 5, 1)), note="random"
    )
    lowest = torch.tensor([[-4e9], [-5e9], [-3e9], [-6e9]])
    yield case(query, _cut(lowest, values[:4], (2, 2)), note="scores of minus three billion")
    yield case(_random(77, 2, 4), _cut(_random(78, 150, 4), _random(79, 150, 2), (3,) * 50),
               note="fifty tiles, and a look at what is kept of them")  # fmt: skip
    keys = torch.tensor([[-300.0], [-200], [-250], [-201]])
    yield case(query, _cut(keys, values[:4], (2, 2)), note="only very low scores")
    yield case(query, _cut(-keys, values[:4], (2, 2)), note="only very high scores")
    keys = torch.tensor([[200.0], [199], [-200], [-201]])
    yield case(torch.tensor([[1.0], [0]]), _cut(keys, values[:4], (2, 2)),
               note="high scores first; the second query has no preference")  # fmt: skip


def _cut(keys, values, sizes):
    return list(zip(keys.split(sizes), values.split(sizes), strict=True))


@tiled.run
def tiled_run(fn, query, tiles):
    """The tiles come one at a time, each in the place of the one before, and only once. For many
    of them it is counted how many numbers are kept from one to the next."""
    once = _Once(_in_one_place(tiles))
    if len(tiles) < 20:
        return _unless_walked_twice(once, lambda: fn(query, once))
    with torch.no_grad(), _Kept() as kept:
        once.on_next = kept.look
        mixed = _unless_walked_twice(once, lambda: fn(query, once))
    keys = sum(len(key) for key, _ in tiles)
    if kept.most > keys and agrees(tiled, Outcome(mixed), stream(query, tiles)):
        return "right, but what is kept grows with every tile"
    return mixed


def _unless_walked_twice(once, call):
    try:
        mixed = call()
    except Exception:
        if not once.again:
            raise
    return "the tiles are walked twice" if once.again else mixed


class _Once:
    """An iterator that knows when somebody comes again after its end."""

    def __init__(self, tiles):
        self.tiles, self.over, self.again = tiles, False, False
        self.on_next = lambda: None

    def __iter__(self):
        return self

    def __next__(self):
        self.again |= self.over
        self.on_next()
        try:
            return next(self.tiles)
        except StopIteration:
            self.over = True
            raise


class _Kept(TorchDispatchMode):
    """While it is on: the most numbers that are alive at once whenever `look` is called, in
    tensors made since."""

    def __init__(self):
        super().__init__()
        self.made, self.most = [], 0

    def __torch_dispatch__(self, step, types, args=(), kwargs=None):
        result = step(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, torch.Tensor):
                self.made.append(weakref.ref(one))
        return result

    def look(self):
        alive = [(ref, one) for ref in self.made if (one := ref()) is not None]
        self.made = [ref for ref, _ in alive]
        sizes = {
            one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() // one.element_size()
            for _, one in alive
        }  # several views of the same numbers count once
        self.most = max(self.most, sum(sizes.values()))


def _in_one_place(tiles):
    size = max(len(key) for key, _ in tiles)
    room = [part.new_zeros(size, part.shape[1]) for part in tiles[0]]
    for tile in tiles:
        views = [place[: len(part)] for place, part in zip(room, tile, strict=True)]
        for view, part in zip(views, tile, strict=True):
            view.copy_(part)
        yield tuple(views)


@tiled.reference
def stream(query, tiles):
    highest = torch.full((len(query), 1), -math.inf)
    total, mixed = 0.0, 0.0
    for key, value in tiles:
        scores = query @ key.T / math.sqrt(query.shape[1])
        new = torch.maximum(highest, scores.amax(dim=1, keepdim=True))
        raised, shrink = torch.exp(scores - new), torch.exp(highest - new)
        total = total * shrink + raised.sum(dim=1, keepdim=True)
        mixed = mixed * shrink + raised @ value
        highest = new
    return mixed / total


for twin in ("0.0 -> 1.0", "0.0 -> 1.0 #2"):
    tiled.equivalent(twin, because="the first tile multiplies the start by exp(-infinity) = 0")


def _stream(
    query, tiles, shrink_total=True, shrink_mixed=True, scale=True, sign=1, start=-math.inf
):
    highest = torch.full((len(query), 1), start)
    total = mixed = 0.0
    for key, value in tiles:
        scores = query @ key.T / (math.sqrt(query.shape[1]) if scale else 1.0)
        new = torch.maximum(highest, scores.amax(dim=1, keepdim=True))
        raised, shrink = torch.exp(scores - new), torch.exp(sign * (highest - new))
        total = total * (shrink if shrink_total else 1) + raised.sum(dim=1, keepdim=True)
        mixed = mixed * (shrink if shrink_mixed else 1) + raised @ value
        highest = new
    return mixed, total


@tiled.mistake("never_shrinks")
def tiled_never_shrinks(query, tiles):
    mixed, total = _stream(query, tiles, shrink_total=False, shrink_mixed=False)
    return mixed / total


@tiled.mistake("sum_not_shrunk")
def tiled_sum_not_shrunk(query, tiles):
    mixed, total = _stream(query, tiles, shrink_total=False)
    return mixed / total


@tiled.mistake("mix_not_shrunk")
def tiled_mix_not_shrunk(query, tiles):
    mixed, total = _stream(query, tiles, shrink_mixed=False)
    return mixed / total


@tiled.mistake("grows")
def tiled_grows(query, tiles):
    mixed, total = _stream(query, tiles, sign=-1, start=-1e4)
    return mixed / total


@tiled.mistake("not_divided")
def tiled_not_divided(query, tiles):
    return _stream(query, tiles)[0]


@tiled.mistake("no_scale")
def tiled_no_scale(query, tiles):
    mixed, total = _stream(query, tiles, scale=False)
    return mixed / total


@tiled.mistake("from_zero")
def tiled_from_zero(query, tiles):
    mixed, total = _stream(query, tiles, start=0.0)
    return mixed / total


@tiled.mistake("from_minus_a_thousand")
def tiled_from_minus_a_thousand(query, tiles):
    mixed, total = _stream(query, tiles, start=-1000.0)
    return mixed / total


@tiled.mistake("no_maximum")
def tiled_no_maximum(query, tiles):
    total = mixed = 0.0
    for key, value in tiles:
        raised = torch.exp(query @ key.T / math.sqrt(query.shape[1]))
        total, mixed = total + raised.sum(dim=1, keepdim=True), mixed + raised @ value
    return mixed / total


@tiled.mistake("mean_of_tiles")
def tiled_mean_of_tiles(query, tiles):
    parts = []
    for key, value in tiles:
        parts.append((query @ key.T / math.sqrt(query.shape[1])).softmax(dim=1) @ value)
    return torch.stack(parts).mean(dim=0)


@tiled.mistake("sum_of_tiles")
def tiled_sum_of_tiles(query, tiles):
    mixed = 0.0
    for key, value in tiles:
        mixed = mixed + (query @ key.T / math.sqrt(query.shape[1])).softmax(dim=1) @ value
    return mixed


@tiled.mistake("keeps_all_tiles")
def tiled_keeps_all_tiles(query, tiles):
    return _at_once(query, *map(torch.cat, zip(*list(tiles), strict=True)))


def _at_once(query, keys, values):
    return (query @ keys.T / math.sqrt(query.shape[1])).softmax(dim=1) @ values


@tiled.mistake("keeps_copies")
def tiled_keeps_copies(query, tiles):
    copies = [(key.clone(), value.clone()) for key, value in tiles]
    return _at_once(query, *map(torch.cat, zip(*copies, strict=True)))


@tiled.mistake("first_not_copied")
def tiled_first_not_copied(query, tiles):
    keys = values = None
    for key, value in tiles:
        keys = key if keys is None else torch.cat([keys, key])
        values = value if values is None else torch.cat([values, value])
    return _at_once(query, keys, values)


@tiled.mistake("keeps_values")
def tiled_keeps_values(query, tiles):
    scores, values = [], []
    for key, value in tiles:
        scores.append(query @ key.T / math.sqrt(query.shape[1]))
        values.append(value)
    return torch.cat(scores, dim=1).softmax(dim=1) @ torch.cat(values)


@tiled.mistake("walked_twice")
def tiled_walked_twice(query, tiles):
    highest = max((query @ key.T).max() for key, _ in tiles)
    total = mixed = 0.0
    for key, value in tiles:
        raised = torch.exp((query @ key.T - highest) / math.sqrt(query.shape[1]))
        total, mixed = total + raised.sum(dim=1, keepdim=True), mixed + raised @ value
    return mixed / total


@tiled.mistake("highest_of_tile")
def tiled_highest_of_tile(query, tiles):
    highest, total, mixed = torch.full((len(query), 1), -math.inf), 0.0, 0.0
    for key, value in tiles:
        scores = query @ key.T / math.sqrt(query.shape[1])
        new = scores.amax(dim=1, keepdim=True)
        raised, shrink = torch.exp(scores - new), torch.exp(highest - new)
        total = total * shrink + raised.sum(dim=1, keepdim=True)
        mixed, highest = mixed * shrink + raised @ value, new
    return mixed / total


@tiled.mistake("highest_of_all_queries")
def tiled_highest_of_all_queries(query, tiles):
    highest, total, mixed = torch.tensor(-math.inf), 0.0, 0.0
    for key, value in tiles:
        scores = query @ key.T / math.sqrt(query.shape[1])
        new = torch.maximum(highest, scores.max())
        raised, shrink = torch.exp(scores - new), torch.exp(highest - new)
        total = total * shrink + raised.sum(dim=1, keepdim=True)
        mixed, highest = mixed * shrink + raised @ value, new
    return mixed / total


@tiled.mistake("last_tile")
def tiled_last_tile(query, tiles):
    for key, value in tiles:
        mixed = (query @ key.T / math.sqrt(query.shape[1])).softmax(dim=1) @ value
    return mixed


@tiled.variant("query by query")
def tiled_rows(query, tiles):
    rows = [[-1e30, 0.0, 0.0] for _ in query]
    for key, value in tiles:
        for row, one in zip(rows, query, strict=True):
            for k, v in zip(key, value, strict=True):
                score = (one @ k).item() / len(one) ** 0.5
                new = max(row[0], score)
                row[1] = row[1] * math.exp(row[0] - new) + math.exp(score - new)
                row[2] = row[2] * math.exp(row[0] - new) + math.exp(score - new) * v
                row[0] = new
    return torch.stack([mix / total for _, total, mix in rows])


@tiled.variant("log-sum-exp of the tiles")
def tiled_logsumexp(query, tiles):
    whole = mixed = None
    for key, value in tiles:
        scores = query @ key.T / math.sqrt(query.shape[1])
        here, part = scores.logsumexp(dim=1, keepdim=True), scores.softmax(dim=1) @ value
        if whole is None:
            whole, mixed = here, part
        else:
            both = torch.logaddexp(whole, here)
            mixed = mixed * torch.exp(whole - both) + part * torch.exp(here - both)
            whole = both
    return mixed
