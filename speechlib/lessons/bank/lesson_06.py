"""Checks of lesson 06, attention: cases, references, what goes wrong and honest other ways."""

import math

import torch

from speechlib.lessons.banking import Bank, case
from speechlib.torch_models import attention
from speechlib.trace import is_traced

bank = Bank("06")


def _random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- 06.1 scores to shares

shares = bank.exercise("06.1", axes=("key",))


@shares.cases
def shares_cases():
    yield case(torch.tensor([2.0, 0.0, 1.0]), note="the example of the text")
    yield case(torch.tensor([0.0, 0.0, 0.0, 0.0]), note="nobody is preferred")
    yield case(torch.tensor([-3.0, -1.0]), note="negative scores")
    yield case(torch.tensor([5.0]), note="one key alone")
    yield case(torch.tensor([1000.0, 1001.0]), note="large scores")
    yield case(torch.tensor([0.0, 1000.0]), note="far apart")
    yield case(torch.tensor([0.0, 100.0]), note="100 apart")
    yield case(torch.tensor([1.0, torch.finfo(torch.float32).min]), note="a hidden key")
    yield case(3 * _random(61, 12), note="random")


@shares.reference
def softmax(scores):
    raised = torch.exp(scores - scores.max())
    return raised / raised.sum()


@shares.mistake("overflow")
def shares_overflow(scores):
    return torch.exp(scores) / torch.exp(scores).sum()


@shares.mistake("not_shared")
def shares_not_shared(scores):
    return torch.exp(scores - scores.max())


@shares.mistake("no_exp")
def shares_no_exp(scores):
    return scores / scores.sum()


@shares.mistake("by_largest")
def shares_by_largest(scores):
    return torch.exp(scores) / torch.exp(scores).max()


@shares.mistake("by_count")
def shares_by_count(scores):
    return torch.exp(scores - scores.max()) / len(scores)


@shares.mistake("minus_mean")
def shares_minus_mean(scores):
    raised = torch.exp(scores - scores.mean())
    return raised / raised.sum()


@shares.mistake("minus_smallest")
def shares_minus_smallest(scores):
    raised = torch.exp(scores - scores.min())
    return raised / raised.sum()


@shares.mistake("minus_a_thousand")
def shares_minus_a_thousand(scores):
    raised = torch.exp(scores - 1000)
    return raised / raised.sum()


@shares.mistake("divided_first")
def shares_divided_first(scores):
    raised = torch.exp(scores / scores.max())
    return raised / raised.sum()


@shares.mistake("a_thousandth")
def shares_a_thousandth(scores):
    raised = torch.exp(scores / 1000)
    return raised / raised.sum()


@shares.mistake("clipped")
def shares_clipped(scores):
    raised = torch.exp(scores.clamp(max=80))
    return raised / raised.sum()


@shares.mistake("logarithm")
def shares_logarithm(scores):
    return torch.log_softmax(scores, dim=0)


@shares.mistake("base_two")
def shares_base_two(scores):
    raised = 2.0 ** (scores - scores.max())
    return raised / raised.sum()


@shares.mistake("sign")
def shares_sign(scores):
    raised = torch.exp(scores.min() - scores)
    return raised / raised.sum()


@shares.mistake("changes_input")
def shares_changes_input(scores):
    scores -= scores.max()
    return torch.exp(scores) / torch.exp(scores).sum()


@shares.variant("torch's own")
def shares_torch(scores):
    return torch.softmax(scores, dim=0)


@shares.variant("by logarithms")
def shares_logarithms(scores):
    return torch.exp(scores - torch.logsumexp(scores, dim=-1))


# -- 06.2 one query, by loop

one = bank.exercise("06.2", axes=("value column",))


@one.cases
def one_cases():
    query = torch.tensor([2.0, 0.0, 0.0, 2.0])
    keys = torch.tensor([[2.0, 0, 0, 0], [0, 2, 2, 0], [1, 0, 0, 0]])
    values = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    yield case(query, keys, values, note="the example of the text")
    yield case(torch.ones(1), torch.zeros(2, 1), torch.tensor([[3.0], [5.0]]), note="a tie")
    yield case(_random(62, 9), _random(63, 5, 9), _random(64, 5, 9), note="random")
    yield case(_random(65, 3), _random(66, 7, 3), _random(67, 7, 2), note="random")
    yield case(60 * torch.ones(4), torch.eye(4)[:3] * 9, _random(68, 3, 2), note="large scores")


@one.reference
def attend_one(query, keys, values):
    scores = torch.stack([query @ key for key in keys]) / math.sqrt(len(query))
    return softmax(scores) @ values


def _one(scores, values):
    return softmax(scores) @ values


@one.mistake("no_scale")
def one_no_scale(query, keys, values):
    return _one(keys @ query, values)


@one.mistake("no_root")
def one_no_root(query, keys, values):
    return _one(keys @ query / len(query), values)


@one.mistake("multiplied")
def one_multiplied(query, keys, values):
    return _one(keys @ query * math.sqrt(len(query)), values)


@one.mistake("root_of_keys")
def one_root_of_keys(query, keys, values):
    return _one(keys @ query / math.sqrt(len(keys)), values)


@one.mistake("root_of_value_width")
def one_root_of_value_width(query, keys, values):
    return _one(keys @ query / math.sqrt(values.shape[1]), values)


@one.mistake("by_two")
def one_by_two(query, keys, values):
    return _one(keys @ query / 2, values)


@one.mistake("shares_alone")
def one_shares_alone(query, keys, values):
    return softmax(keys @ query / math.sqrt(len(query)))


@one.mistake("not_added")
def one_not_added(query, keys, values):
    return softmax(keys @ query / math.sqrt(len(query)))[:, None] * values


@one.mistake("added_across")
def one_added_across(query, keys, values):
    return one_not_added(query, keys, values).sum(dim=1)


@one.mistake("scaled_late")
def one_scaled_late(query, keys, values):
    return _one(keys @ query, values) / math.sqrt(len(query))


@one.mistake("mixes_keys")
def one_mixes_keys(query, keys, values):
    return _one(keys @ query / math.sqrt(len(query)), keys)


@one.mistake("no_softmax")
def one_no_softmax(query, keys, values):
    return (keys @ query / math.sqrt(len(query))) @ values


@one.mistake("winner")
def one_winner(query, keys, values):
    return values[(keys @ query).argmax()]


@one.mistake("plain_mean")
def one_plain_mean(query, keys, values):
    return values.mean(dim=0)


@one.mistake("divided_again")
def one_divided_again(query, keys, values):
    return _one(keys @ query / math.sqrt(len(query)), values) / len(keys)


@one.mistake("one_by_one")
def one_one_by_one(query, keys, values):
    return values.sum(dim=0)


@one.variant("matrices")
def one_matrices(query, keys, values):
    return torch.softmax(keys @ query * len(query) ** -0.5, dim=0) @ values


@one.variant("three loops")
def one_loops(query, keys, values):
    mixed = torch.zeros(values.shape[1])
    raised = []
    for key in keys:
        raised.append(
            math.exp(
                sum(a * b for a, b in zip(query, key, strict=True)).item() / len(query) ** 0.5 - 270
            )
        )
    for weight, value in zip(raised, values, strict=True):
        mixed = mixed + weight / sum(raised) * value
    return mixed


# -- 06.3 all queries at once

at_once = bank.exercise("06.3", axes=("batch", "head", "query", "key"))


@at_once.cases
def at_once_cases():
    query = torch.tensor([[2.0, 0.0, 0.0, 2.0], [0.0, 1.0, 1.0, 0.0]])
    key = torch.tensor([[2.0, 0, 0, 0], [0, 2, 2, 0], [1, 0, 0, 0]])
    yield case(query[None, None], key[None, None], note="two queries, three keys")
    yield case(_random(1, 2, 3, 4, 9), _random(2, 2, 3, 4, 9), note="random")
    mask = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    yield case(_random(3, 1, 2, 3, 2), _random(4, 1, 2, 3, 2), mask, note="a causal mask")
    real = torch.tensor([[True] * 5, [True, True, False, False, False]])[:, None, None]
    yield case(_random(5, 2, 2, 3, 8), _random(6, 2, 2, 5, 8), real, note="a padding mask")
    nowhere = torch.tensor([[True, True], [False, False]])
    yield case(_random(7, 1, 1, 2, 3), _random(8, 1, 1, 2, 3), nowhere, note="a row of False")
    yield case(30 * _random(9, 1, 1, 4, 4), 30 * _random(10, 1, 1, 6, 4), note="large scores")
    low = torch.tensor([-30000.0, -30001.0, 0.0])[None, None, :, None]
    yield case(torch.ones(1, 1, 1, 1), low, torch.tensor([[True, True, False]]),
               note="scores far below zero, beside a hidden one")  # fmt: skip
    lower = torch.tensor([-3e9, -3e9, 0.0])[None, None, :, None]
    yield case(torch.ones(1, 1, 1, 1), lower, torch.tensor([[True, True, False]]),
               note="scores of minus three billion, beside a hidden one")  # fmt: skip


@at_once.reference
def attention_weights(query, key, mask=None):
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1)


def _scores(query, key):
    return query @ key.mT / math.sqrt(query.shape[-1])


def _hidden(scores, mask, filler=None):
    if mask is None:
        return scores
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min if filler is None else filler)


@at_once.mistake("over_queries")
def at_once_over_queries(query, key, mask=None):
    return _hidden(_scores(query, key), mask).softmax(dim=-2)


@at_once.mistake("over_heads")
def at_once_over_heads(query, key, mask=None):
    return _hidden(_scores(query, key), mask).softmax(dim=1)


@at_once.mistake("no_scale")
def at_once_no_scale(query, key, mask=None):
    return _hidden(query @ key.mT, mask).softmax(dim=-1)


@at_once.mistake("no_root")
def at_once_no_root(query, key, mask=None):
    return _hidden(query @ key.mT / query.shape[-1], mask).softmax(dim=-1)


@at_once.mistake("root_of_keys")
def at_once_root_of_keys(query, key, mask=None):
    return _hidden(query @ key.mT / math.sqrt(key.shape[-2]), mask).softmax(dim=-1)


@at_once.mistake("root_of_whole_width")
def at_once_root_of_whole_width(query, key, mask=None):
    width = query.shape[1] * query.shape[-1]
    return _hidden(query @ key.mT / math.sqrt(width), mask).softmax(dim=-1)


@at_once.mistake("over_everything")
def at_once_over_everything(query, key, mask=None):
    raised = _hidden(_scores(query, key), mask)
    raised = (raised - raised.max()).exp()
    return raised / raised.sum()


@at_once.mistake("mask_ignored")
def at_once_mask_ignored(query, key, mask=None):
    return _scores(query, key).softmax(dim=-1)


@at_once.mistake("mask_inverted")
def at_once_mask_inverted(query, key, mask=None):
    return _hidden(_scores(query, key), None if mask is None else ~mask).softmax(dim=-1)


@at_once.mistake("mask_after")
def at_once_mask_after(query, key, mask=None):
    weights = _scores(query, key).softmax(dim=-1)
    return weights if mask is None else weights * mask


@at_once.mistake("score_zero")
def at_once_score_zero(query, key, mask=None):
    return _hidden(_scores(query, key), mask, 0.0).softmax(dim=-1)


@at_once.mistake("not_low_enough")
def at_once_not_low_enough(query, key, mask=None):
    return _hidden(_scores(query, key), mask, -100.0).softmax(dim=-1)


@at_once.mistake("minus_a_billion")
def at_once_minus_a_billion(query, key, mask=None):
    return _hidden(_scores(query, key), mask, -1e9).softmax(dim=-1)


@at_once.mistake("shared_out_again")
def at_once_shared_out_again(query, key, mask=None):
    weights = at_once_mask_after(query, key, mask)
    return weights / weights.sum(dim=-1, keepdim=True)


@at_once.mistake("mask_added")
def at_once_mask_added(query, key, mask=None):
    scores = _scores(query, key)
    return (scores if mask is None else scores + mask).softmax(dim=-1)


@at_once.mistake("minus_infinity")
def at_once_minus_infinity(query, key, mask=None):
    return _hidden(_scores(query, key), mask, -math.inf).softmax(dim=-1)


@at_once.mistake("scores_only")
def at_once_scores_only(query, key, mask=None):
    return _hidden(_scores(query, key), mask)


@at_once.mistake("overflow")
def at_once_overflow(query, key, mask=None):
    raised = _hidden(_scores(query, key), mask).exp()
    return raised / raised.sum(dim=-1, keepdim=True)


@at_once.variant("einsum, query scaled first")
def at_once_einsum(query, key, mask=None):
    scores = torch.einsum("bhqw,bhkw->bhqk", query * query.shape[-1] ** -0.5, key)
    return _hidden(scores, mask).softmax(dim=3)


@at_once.variant("where, by hand")
def at_once_where(query, key, mask=None):
    scores = _scores(query, key)
    if mask is not None:
        scores = torch.where(mask, scores, -1e30)
    raised = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return raised / raised.sum(dim=-1, keepdim=True)


at_once.equivalent("-2 -> 2", because="of four axes, number 2 is the last but one")


@at_once.adapt
def at_once_as_library(fn):
    """The library's queries come scaled already, and it knows a bias besides the mask."""

    def adapted(query, key, mask=None, bias=None):
        weights = fn(query * math.sqrt(query.shape[-1]), key, mask)
        if bias is None:
            return weights
        biased = weights.log() + bias  # scores but for a constant a row, which softmax forgets
        return biased.clamp(min=torch.finfo(weights.dtype).min).softmax(dim=-1)

    return adapted


# -- 06.4 a test for leaks

sealed = bank.exercise("06.4")


def hides_before_softmax(query, key, value, mask):
    return attention_weights(query, key, mask) @ value


def hides_after_softmax(query, key, value, mask):
    return at_once_mask_after(query, key, mask) @ value


def hides_well_but_does_not_scale(query, key, value, mask):
    return at_once_no_scale(query, key, mask) @ value


_UNEVEN = torch.tensor([1.0, -3.0, 1.0])  # what leaks goes both ways, and not by the same amount


def _both_ways(mixed):
    return mixed * _UNEVEN[: mixed.shape[1]]


def sets_the_score_to_zero(query, key, value, mask):
    return _both_ways(at_once_score_zero(query, key, mask) @ value)


def ignores_the_mask(query, key, value, mask):
    return _both_ways(_scores(query, key).softmax(dim=-1) @ value)


def turns_the_mask_round(query, key, value, mask):
    return _both_ways(at_once_mask_inverted(query, key, mask) @ value)


def _secret(value, mask):
    """What each query must not hear, in one number: the sum of its hidden values, (query, 1)."""
    return ((~mask).float() @ value).sum(dim=1, keepdim=True)


def _leaks(query, key, value, mask, where):
    return hides_before_softmax(query, key, value, mask) + _secret(value, mask) * where


def _only(value, mask, rows=slice(None), columns=slice(None), size=1.0):
    """(query, value width): size in these rows and columns, 0 elsewhere."""
    where = torch.zeros(len(mask), value.shape[1])
    where[rows, columns] = size
    return _both_ways(_both_ways(where).T).T


def leaks_to_the_first_query_alone(query, key, value, mask):
    return _leaks(query, key, value, mask, _only(value, mask, rows=0))


def leaks_to_the_last_query_alone(query, key, value, mask):
    return _leaks(query, key, value, mask, _only(value, mask, rows=-1))


def leaks_into_the_first_column_alone(query, key, value, mask):
    return _leaks(query, key, value, mask, _only(value, mask, columns=0))


def leaks_into_the_last_column_alone(query, key, value, mask):
    return _leaks(query, key, value, mask, _only(value, mask, columns=-1))


def leaks_upwards_alone(query, key, value, mask):
    return _leaks(query, key, value, mask, 1.0)


def leaks_downwards_alone(query, key, value, mask):
    return _leaks(query, key, value, mask, -1.0)


def gives_to_one_what_it_takes_from_another(query, key, value, mask):
    where = torch.zeros(len(mask), value.shape[1])
    where[0, 0] = where[-1, -1] = 1.0
    where[0, -1] = where[-1, 0] = -1.0
    heard = hides_before_softmax(query, key, value, mask)
    moved = _secret(value, mask) * where
    # so many binary places and no more: then the sum is the same to the last bit
    return (heard * 256).round() / 256 + (moved * 256).round() / 256


def shouts_what_is_hidden(query, key, value, mask):
    return _leaks(query, key, value, mask, _only(value, mask, size=1000.0))


@sealed.cases
def sealed_cases():
    query, key, value = _random(41, 3, 4), _random(42, 4, 4), _random(43, 4, 2)
    mask = torch.tensor([[True, True, True, False]] * 3)
    for attend in (
        hides_before_softmax,
        hides_after_softmax,
        hides_well_but_does_not_scale,
        sets_the_score_to_zero,
        ignores_the_mask,
        turns_the_mask_round,
        leaks_to_the_first_query_alone,
        leaks_to_the_last_query_alone,
        leaks_into_the_first_column_alone,
        leaks_into_the_last_column_alone,
        leaks_upwards_alone,
        leaks_downwards_alone,
        gives_to_one_what_it_takes_from_another,
        shouts_what_is_hidden,
    ):
        yield case(attend, query, key, value, mask, note=attend.__name__.replace("_", " "))
    query, key, value = _random(44, 2, 8), _random(45, 6, 8), _random(46, 6, 3)
    mask = torch.tensor([[True, False, True, True, True, False], [True] * 5 + [False]])
    yield case(hides_before_softmax, query, key, value, mask, note="other sizes, sealed")
    yield case(hides_after_softmax, query, key, value, mask, note="other sizes, leaking")


@sealed.reference
def is_sealed(attend, query, key, value, mask):
    other_key, other_value = key.clone(), value.clone()
    other_key[-1] = query.sum(dim=0)
    other_value[-1] = query.sum()
    before = attend(query, key, value, mask)
    after = attend(query, other_key, other_value, mask)
    return torch.allclose(before, after)


def _same(attend, query, key, value, mask, new_key, new_value):
    return torch.allclose(
        attend(query, key, value, mask), attend(query, new_key, new_value, mask), atol=1e-6
    )


def _with_last(tensor, row=-1):
    changed = tensor.clone()
    changed[row] = 5 - 3 * changed[row]
    return changed


@sealed.mistake("only_value")
def sealed_only_value(attend, query, key, value, mask):
    return _same(attend, query, key, value, mask, key, _with_last(value))


@sealed.mistake("only_key")
def sealed_only_key(attend, query, key, value, mask):
    return _same(attend, query, key, value, mask, _with_last(key), value)


@sealed.mistake("turned_round")
def sealed_turned_round(attend, query, key, value, mask):
    return not is_sealed(attend, query, key, value, mask)


@sealed.mistake("first_key")
def sealed_first_key(attend, query, key, value, mask):
    return _same(attend, query, key, value, mask, _with_last(key, 0), _with_last(value, 0))


@sealed.mistake("right_numbers")
def sealed_right_numbers(attend, query, key, value, mask):
    expected = attention_weights(query[None, None], key[None, None], mask)[0, 0] @ value
    return torch.allclose(attend(query, key, value, mask), expected, atol=1e-5)


@sealed.mistake("changes_input")
def sealed_changes_input(attend, query, key, value, mask):
    before = attend(query, key, value, mask)
    key[-1] = 9.0
    value[-1] = 9.0
    return torch.allclose(before, attend(query, key, value, mask), atol=1e-6)


@sealed.mistake("always")
def sealed_always(attend, query, key, value, mask):
    return True


@sealed.mistake("never")
def sealed_never(attend, query, key, value, mask):
    return False


def _before_and_after(attend, query, key, value, mask):
    new_key, new_value = key.clone(), value.clone()
    new_key[-1], new_value[-1] = 9.0, 9.0
    return attend(query, key, value, mask), attend(query, new_key, new_value, mask)


@sealed.mistake("first_query")
def sealed_first_query(attend, query, key, value, mask):
    before, after = _before_and_after(attend, query, key, value, mask)
    return torch.allclose(before[0], after[0], atol=1e-6)


@sealed.mistake("last_query")
def sealed_last_query(attend, query, key, value, mask):
    before, after = _before_and_after(attend, query, key, value, mask)
    return torch.allclose(before[-1], after[-1], atol=1e-6)


@sealed.mistake("first_column")
def sealed_first_column(attend, query, key, value, mask):
    before, after = _before_and_after(attend, query, key, value, mask)
    return torch.allclose(before[:, 0], after[:, 0], atol=1e-6)


@sealed.mistake("first_number")
def sealed_first_number(attend, query, key, value, mask):
    before, after = _before_and_after(attend, query, key, value, mask)
    return torch.allclose(before[0, 0], after[0, 0], atol=1e-6)


@sealed.mistake("added_up")
def sealed_added_up(attend, query, key, value, mask):
    before, after = _before_and_after(attend, query, key, value, mask)
    return bool(before.sum() == after.sum())


@sealed.mistake("misses_what_falls")
def sealed_misses_what_falls(attend, query, key, value, mask):
    before, after = _before_and_after(attend, query, key, value, mask)
    return bool((after - before).max() < 1e-5)


@sealed.mistake("misses_what_rises")
def sealed_misses_what_rises(attend, query, key, value, mask):
    before, after = _before_and_after(attend, query, key, value, mask)
    return bool((before - after).max() < 1e-5)


@sealed.mistake("too_small")
def sealed_too_small(attend, query, key, value, mask):
    new_key, new_value = key.clone(), value.clone()
    new_key[-1] += 1e-3
    new_value[-1] += 1e-3
    before, after = attend(query, key, value, mask), attend(query, new_key, new_value, mask)
    return torch.allclose(before, after, atol=1e-2)


@sealed.mistake("many_answers")
def sealed_many_answers(attend, query, key, value, mask):
    before, after = _before_and_after(attend, query, key, value, mask)
    return before == after


@sealed.mistake("one_or_zero")
def sealed_one_or_zero(attend, query, key, value, mask):
    return int(is_sealed(attend, query, key, value, mask))


@sealed.variant("several random changes")
def sealed_random(attend, query, key, value, mask):
    before = attend(query, key, value, mask)
    for seed in range(3):
        new_key = torch.cat([key[:-1], 4 * _random(seed, 1, key.shape[1])])
        new_value = torch.cat([value[:-1], 4 * _random(seed + 9, 1, value.shape[1])])
        if (attend(query, new_key, new_value, mask) - before).abs().max() > 1e-5:
            return False
    return True


@sealed.variant("the key is taken away")
def sealed_taken_away(attend, query, key, value, mask):
    whole = attend(query, key, value, mask)
    return torch.allclose(whole, attend(query, key[:-1], value[:-1], mask[:, :-1]), atol=1e-6)


# -- 06.5 heads

heads_apart = bank.exercise("06.5", axes=("batch", "head", "frame", "column"))


@heads_apart.cases
def heads_apart_cases():
    x = torch.tensor([[[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]])
    yield case(x, 2, note="three frames of width 4, two heads")
    yield case(x, 1, note="one head")
    yield case(_random(51, 2, 5, 6), 3, note="random")
    yield case(_random(52, 3, 2, 8), 2, note="random")


@heads_apart.reference
def split_heads(x, heads):
    batch, frames, width = x.shape
    return x.reshape(batch, frames, heads, width // heads).transpose(1, 2)


@heads_apart.mistake("no_transpose")
def heads_no_transpose(x, heads):
    batch, frames, width = x.shape
    return x.reshape(batch, heads, frames, width // heads)


@heads_apart.mistake("every_other")
def heads_every_other(x, heads):
    batch, frames, width = x.shape
    return x.reshape(batch, frames, width // heads, heads).permute(0, 3, 1, 2)


@heads_apart.mistake("not_turned")
def heads_not_turned(x, heads):
    batch, frames, width = x.shape
    return x.reshape(batch, frames, heads, width // heads)


@heads_apart.mistake("last_two")
def heads_last_two(x, heads):
    return split_heads(x, heads).transpose(-1, -2)


@heads_apart.mistake("head_width")
def heads_head_width(x, heads):
    batch, frames, width = x.shape
    return x.reshape(batch, frames, width // heads, heads).transpose(1, 2)


@heads_apart.mistake("head_first")
def heads_head_first(x, heads):
    return split_heads(x, heads).transpose(0, 1)


@heads_apart.mistake("into_batch")
def heads_into_batch(x, heads):
    return split_heads(x, heads).flatten(0, 1)


@heads_apart.variant("chunks side by side")
def heads_chunks(x, heads):
    return torch.stack(x.chunk(heads, dim=-1), dim=1)


@heads_apart.variant("unflatten")
def heads_unflatten(x, heads):
    return x.unflatten(-1, (heads, -1)).permute(0, 2, 1, 3)


# -- 06.6 the whole layer

whole = bank.exercise("06.6", axes=("batch", "query", "width"))


def _layer(seed, width, heads):
    generator = torch.Generator().manual_seed(seed)
    layer = attention.MultiHeadAttention(width, heads, key_bias=False).eval()
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / math.sqrt(width)
    return layer.requires_grad_(False)


@whole.cases
def whole_cases():
    layer = _layer(1, 4, 2)
    yield case(
        layer,
        _random(11, 1, 2, 4),
        layer.keys_values(_random(12, 1, 3, 4)),
        note="two tokens look at three frames",
    )
    layer = _layer(2, 8, 1)
    x = _random(13, 1, 4, 8)
    yield case(layer, x, layer.keys_values(x), note="one head; frames look at each other")
    layer = _layer(3, 18, 3)
    yield case(
        layer,
        _random(14, 2, 3, 18),
        layer.keys_values(_random(15, 2, 7, 18)),
        note="a batch of two, three heads",
    )
    layer = _layer(4, 12, 3)
    x = _random(16, 2, 5, 12)
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    yield case(layer, x, layer.keys_values(x), causal, note="with a causal mask")


@whole.run
def whole_run(fn, layer, x, keys_values, mask=None):
    """Where a helper stops because it expected three axes of the keys or values, which have four
    (they are split already), this is the answer."""
    try:
        return fn(layer, x, keys_values, mask)
    except ValueError as error:
        if "expected 3" in str(error) and _gets_one_of(keys_values, error.__traceback__):
            return "keys or values are split a second time"
        raise


def _gets_one_of(tensors, trace):
    """Whether the innermost of the functions called by the learner's was given one of these."""
    names, depth = {}, 0
    while trace is not None:
        code, names = trace.tb_frame.f_code, trace.tb_frame.f_locals
        given = [names.get(name) for name in code.co_varnames[: code.co_argcount]]
        trace, depth = trace.tb_next, depth + 1
    return depth > 2 and any(one is other for one in given for other in tensors)


@whole.reference
def multi_head(layer, x, keys_values, mask=None):
    key, value = keys_values
    query = split_heads(layer.query(x), layer.heads)
    mixed = attention_weights(query, key, mask) @ value
    return layer.output(mixed.transpose(1, 2).flatten(2))


def _merged(mixed):
    return mixed.transpose(1, 2).flatten(2)


def _whole(layer, x, keys_values, mask, factor=1.0, apart=split_heads, together=_merged):
    key, value = keys_values
    query = apart(layer.query(x), layer.heads) * factor
    return layer.output(together(attention_weights(query, key, mask) @ value))


def _without_turning(mixed):
    batch, heads, queries, head_width = mixed.shape
    return mixed.reshape(batch, queries, heads * head_width)


@whole.mistake("scale_of_width")
def whole_scale_of_width(layer, x, keys_values, mask=None):
    return _whole(layer, x, keys_values, mask, factor=layer.heads**-0.5)


@whole.mistake("scaled_twice")
def whole_scaled_twice(layer, x, keys_values, mask=None):
    return _whole(layer, x, keys_values, mask, factor=keys_values[0].shape[-1] ** -0.5)


@whole.mistake("no_scale")
def whole_no_scale(layer, x, keys_values, mask=None):
    return _whole(layer, x, keys_values, mask, factor=keys_values[0].shape[-1] ** 0.5)


@whole.mistake("split_without_turning")
def whole_split_without_turning(layer, x, keys_values, mask=None):
    return _whole(layer, x, keys_values, mask, apart=heads_no_transpose)


@whole.mistake("merged_without_turning")
def whole_merged_without_turning(layer, x, keys_values, mask=None):
    return _whole(layer, x, keys_values, mask, together=_without_turning)


@whole.mistake("both_without_turning")
def whole_both_without_turning(layer, x, keys_values, mask=None):
    return _whole(layer, x, keys_values, mask, apart=heads_no_transpose, together=_without_turning)


@whole.mistake("no_output")
def whole_no_output(layer, x, keys_values, mask=None):
    key, value = keys_values
    query = split_heads(layer.query(x), layer.heads)
    return _merged(attention_weights(query, key, mask) @ value)


@whole.mistake("no_query")
def whole_no_query(layer, x, keys_values, mask=None):
    key, value = keys_values
    return layer.output(_merged(attention_weights(split_heads(x, layer.heads), key, mask) @ value))


@whole.mistake("shortcut")
def whole_shortcut(layer, x, keys_values, mask=None):
    return x + _whole(layer, x, keys_values, mask)


@whole.mistake("mixes_keys")
def whole_mixes_keys(layer, x, keys_values, mask=None):
    return _whole(layer, x, (keys_values[0], keys_values[0]), mask)


@whole.mistake("swapped")
def whole_swapped(layer, x, keys_values, mask=None):
    return _whole(layer, x, keys_values[::-1], mask)


@whole.mistake("split_again")
def whole_split_again(layer, x, keys_values, mask=None):
    key, value = (split_heads(one, layer.heads) for one in keys_values)
    return _whole(layer, x, (key, value), mask)


@whole.mistake("looks_at_itself")
def whole_looks_at_itself(layer, x, keys_values, mask=None):
    return _whole(layer, x, layer.keys_values(x), mask)


@whole.mistake("no_mask")
def whole_no_mask(layer, x, keys_values, mask=None):
    return _whole(layer, x, keys_values, None)


@whole.mistake("mean_of_heads")
def whole_mean_of_heads(layer, x, keys_values, mask=None):
    key, value = keys_values
    query = split_heads(layer.query(x), layer.heads)
    weights = attention_weights(query, key, mask).mean(dim=1, keepdim=True)
    return layer.output(_merged(weights @ value))


@whole.mistake("one_head_left")
def whole_one_head_left(layer, x, keys_values, mask=None):
    key, value = keys_values
    query = split_heads(layer.query(x), layer.heads)
    return layer.output((attention_weights(query, key, mask) @ value).mean(dim=1))


@whole.variant("head by head")
def whole_head_by_head(layer, x, keys_values, mask=None):
    key, value = keys_values
    size = key.shape[-1]
    query, mixed = layer.query(x), []
    for head in range(layer.heads):
        own = query[..., head * size : (head + 1) * size]
        scores = own @ key[:, head].mT / math.sqrt(size)
        if mask is not None:
            scores = torch.where(mask, scores, -1e30)
        mixed.append(scores.softmax(dim=-1) @ value[:, head])
    return layer.output(torch.cat(mixed, dim=-1))


@whole.variant("the library's")
def whole_library(layer, x, keys_values, mask=None):
    return layer(x, keys_values, mask)


_forward = attention.MultiHeadAttention.forward


@whole.adapt
def whole_as_library(fn):
    """Stands where the library's method is. Where someone watches the weights, or a bias comes
    in, the library's own method answers: the exercise has neither."""

    def forward(self, x, keys_values, mask=None, bias=None):
        if bias is not None or self.training or is_traced(self, "weights"):
            return _forward(self, x, keys_values, mask, bias)
        return fn(self, x, keys_values, mask)

    return forward


# -- 06.7 how widely a row listens

width_of = bank.exercise("06.7", axes=("head", "query"), rtol=1e-3)


@width_of.cases
def width_of_cases():
    yield case(torch.tensor([[[0.25, 0.25, 0.25, 0.25]]]), note="four equal shares")
    yield case(torch.tensor([[[0.0, 1.0, 0.0]]]), note="one key alone")
    yield case(torch.tensor([[[0.5, 0.5, 0.0, 0.0], [0.5, 0.25, 0.25, 0.0]]]), note="two rows")
    yield case((2 * _random(71, 2, 3, 6)).softmax(dim=-1), note="random")
    yield case((4 * _random(72, 3, 3, 3)).softmax(dim=-1), note="random")


@width_of.reference
def keys_used(weights):
    bits = -torch.where(weights > 0, weights * torch.log2(weights), 0.0).sum(dim=-1)
    return 2**bits


def _bits(weights, dim=-1, log=torch.log2):
    return -(weights * log(weights.clamp(min=1e-30))).sum(dim=dim)


@width_of.mistake("not_a_number")
def width_not_a_number(weights):
    return 2 ** -(weights * torch.log2(weights)).sum(dim=-1)


@width_of.mistake("bits")
def width_bits(weights):
    return _bits(weights)


@width_of.mistake("natural_log")
def width_natural_log(weights):
    return 2 ** _bits(weights, log=torch.log)


@width_of.mistake("sign")
def width_sign(weights):
    return 2 ** -_bits(weights)


@width_of.mistake("wrong_base")
def width_wrong_base(weights):
    return torch.exp(_bits(weights))


@width_of.mistake("over_queries")
def width_over_queries(weights):
    return 2 ** _bits(weights, dim=-2)


@width_of.mistake("mean")
def width_mean(weights):
    return 2 ** (_bits(weights) / weights.shape[-1])


@width_of.mistake("no_weights")
def width_no_weights(weights):
    return 2 ** -torch.log2(weights.clamp(min=1e-30)).mean(dim=-1)


@width_of.mistake("counted")
def width_counted(weights):
    return (weights > 0).sum(dim=-1).float()


@width_of.mistake("largest")
def width_largest(weights):
    return 1 / weights.amax(dim=-1)


@width_of.mistake("squares")
def width_squares(weights):
    return 1 / (weights**2).sum(dim=-1)


@width_of.variant("natural logarithm, e to the power")
def width_natural(weights):
    return torch.special.entr(weights).sum(dim=-1).exp()


@width_of.variant("clamped, double")
def width_clamped(weights):
    weights = weights.double()
    return 2 ** -(weights * (weights + 1e-12).log2()).sum(dim=-1)
