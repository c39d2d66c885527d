"""Answers as learners write them: each of these was once taken for right, or for something else."""

import re

import numpy as np
import pytest

from speechlib import attention_masks
from speechlib.lessons import check, exercises, progress, using
from speechlib.lessons.comparing import difference

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHLIB_WORK", str(tmp_path))


def _hidden(scores, mask):
    return np.where(mask, scores, np.finfo(scores.dtype).min)


def largest_before_hiding(scores, mask):
    scores = scores - scores.max(axis=-1, keepdims=True)
    powers = np.exp(_hidden(scores, mask))
    return powers / powers.sum(axis=-1, keepdims=True)


def span_from(limit):
    def listened_span(row):
        strong = np.flatnonzero(row >= limit(row))
        return strong[0] * 0.02, strong[-1] * 0.02

    return listened_span


def with_changed(row_or_column, number):
    def is_sealed(attend, query, key, value, mask):
        other_key, other_value = key.clone(), value.clone()
        other_key[row_or_column] = number
        other_value[row_or_column] = number
        before = attend(query, key, value, mask)
        return torch.allclose(before, attend(query, other_key, other_value, mask))

    return is_sealed


def spans_at(choose):
    def hide_spans(size, real, probability, length, min_spans, rng):
        hidden = np.zeros(size, dtype=bool)
        count = max(int(probability * real / length + rng.random()), min_spans)
        for start in choose(real, length, count, rng) if real >= length else []:
            hidden[start : start + length] = True
        return hidden

    return hide_spans


def moved_back(real, length, count, rng):
    return [min(start, real - length) for start in rng.permutation(real)[:count]]


def from_one_place(real, length, count, rng):
    places = real - length + 1
    first = rng.integers(places)
    return [(first + k) % places for k in range(min(count, places))]


def from_one_place_to_the_end(real, length, count, rng):
    count = min(count, real - length + 1)
    first = rng.integers(real - length + 2 - count)
    return range(first, first + count)


def filled_with(number):
    def attention_weights(query, key, mask=None):
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, number)
        return scores.softmax(dim=-1)

    return attention_weights


def added(make):
    def fused(query, key, value, mask=None):
        mask = mask if mask is None else make(mask)
        kernel = torch.nn.functional.scaled_dot_product_attention
        return kernel(query, key, value, attn_mask=mask)

    return fused


def one_eye(attend, query, key):
    return attend(query, key, torch.eye(key.shape[2])[None, None])


def ended_by(look_first):
    def greedy_search(next_logits, tokens, end, max_tokens):
        for _ in range(max_tokens):
            finished = tokens[:, -1] == end
            if look_first and finished.all():
                break
            new = torch.where(finished, end, next_logits(tokens).argmax(dim=-1))
            tokens = torch.cat([tokens, new[:, None]], dim=1)
            if (tokens[:, -1] == end).all():
                break
        return tokens

    return greedy_search


def first_by(measure):
    def first_difference(right, wrong, tolerance=1e-4):
        for path in right:
            if not measure(right[path] - wrong[path]) <= tolerance:
                return path
        return None

    return first_difference


def not_close(right, wrong, tolerance=1e-4):
    for path in right:
        if not torch.allclose(right[path], wrong[path], atol=tolerance):
            return path


def by_name(right, wrong, tolerance=1e-4):
    for path in sorted(right):
        if not (right[path] - wrong[path]).abs().max() <= tolerance:
            return path


def _names(names, rows):
    stars = {name: re.sub(r"\.\d+(?=\.)", ".*", name).rpartition(".") for name in names}
    found = {}
    for name, (module, _, leaf) in stars.items():
        if module in rows:
            number = re.search(r"\.(\d+)\.", name)
            row = rows[module].replace("*", number[1] if number else "")
            found[name] = f"{row}.{leaf}"
    return found


def unlisted(names, rows):
    if len(found := _names(names, rows)) < len(names):
        raise ValueError("some names have no row")
    return found


def returned(names, rows):
    found = _names(names, rows)
    without = [name for name in names if name not in found]
    return ValueError(f"no row for {without}") if without else found


def decode_with(change):
    def decode(decoder, tokens, memories):
        place = torch.arange(tokens.shape[1])
        mask = change(attention_masks.causal_mask(place, place))
        x = decoder.token_embedding(tokens) + decoder.positions(place)
        for block, memory in zip(decoder.blocks, memories, strict=True):
            x = block(x, mask, memory=memory)
        return decoder.norm(x) @ decoder.token_embedding.weight.T

    return decode


WRONG = [
    ("00.2", span_from(lambda row: 0.5), "fixed_half"),
    ("00.2", span_from(lambda row: row.sum() / 2), "fixed_half"),
    ("00.2", span_from(lambda row: 0.3), "fixed_example"),
    ("00.2", span_from(lambda row: np.argmax(row) / 2), "half_of_place"),
    ("05.4", largest_before_hiding, "after_and_shared"),
    ("05.5", spans_at(moved_back), "moved_back"),
    ("05.5", spans_at(from_one_place), "side_by_side"),
    ("05.5", spans_at(from_one_place_to_the_end), "side_by_side_no_turn"),
    ("06.3", filled_with(-100.0), "not_low_enough"),
    ("06.3", filled_with(-20.0), "not_low_enough"),
    ("06.4", with_changed((slice(None), -1), 9.0), "never"),
    ("06.4", with_changed(-1, float("nan")), "never"),
    ("07.1", one_eye, "one_for_all"),
    ("07.2", added(lambda m: m.masked_fill(~m, -1e30)), "no_mask"),
    ("07.2", added(lambda m: torch.zeros(m.shape).masked_fill(~m, -torch.inf)), "boolean"),
    ("09.7", ended_by(True), "last_one_ends"),
    ("09.7", ended_by(False), "last_one_ends"),
    ("09.8", first_by(lambda gap: gap.abs().sum()), "sum"),
    ("09.8", first_by(lambda gap: gap.norm()), "norm"),
    ("09.8", first_by(lambda gap: abs(gap.max())), "abs_outside"),
    ("09.8", first_by(lambda gap: abs((-gap).max())), "abs_outside_turned"),
    ("09.8", not_close, "relative"),
    ("09.8", by_name, "by_name"),
    ("09.6", unlisted, "lists_nothing"),
    ("09.6", returned, "returns_error"),
    ("09.5", decode_with(lambda mask: ~mask), "mask_inverted"),
]


@pytest.mark.parametrize(("id", "wrong", "name"), WRONG, ids=[f"{i}-{n}" for i, _, n in WRONG])
def test_wrong_answers_as_learners_write_them_are_named(id, wrong, name):
    result = check(id, wrong)
    assert (result.status, result.mistakes) == ("named", (name,))


def test_a_search_without_a_limit_is_stopped_and_named():
    def greedy_search(next_logits, tokens, end, max_tokens):
        done = torch.zeros(len(tokens), dtype=torch.bool)
        while not done.all():
            best = next_logits(tokens).argmax(dim=-1)
            best[done] = end
            done |= best == end
            tokens = torch.cat([tokens, best[:, None]], dim=1)
        return tokens

    result = check("09.7", greedy_search)
    assert (result.status, result.mistakes) == ("named", ("no_limit",))

    def restless(next_logits, tokens, end, max_tokens):
        while True:
            tokens = torch.cat([tokens, next_logits(tokens).argmax(-1, keepdim=True)], dim=1)

    result = check("09.7", restless)
    assert result.status == "error" and "your loop did not stop" in repr(result)


def test_a_name_that_slips_through_is_told_as_a_broken_promise():
    def by_start(names, rows):
        found = {}
        for name in names:
            row = next((row for row in rows if name.startswith(row[:12])), "encoder.conv1")
            found[name] = rows.get(row, row) + ".weight"
        return found

    from speechlib.lessons.bank.lesson_09 import names_run

    with_row = ["a.1.b.weight"]
    right = names_run(unlisted, [*with_row, "c.bias"], {"a.*.b": "x.*"})
    wrong = names_run(by_start, [*with_row, "c.bias"], {"a.*.b": "x.*"})
    assert list(right) == list(wrong)  # the same promises in every case
    told = difference(wrong, right).text
    assert "stops with a ValueError" in told and "yours is 'no', expected was 'yes'" in told


def test_none_is_an_answer_where_it_may_be_right():
    text = repr(check("09.8", lambda right, wrong, tolerance=1e-4: None))
    assert "yours is None, expected was 'encoder" in text and "`return` is missing" not in text


OWN_PART = {
    "06.6": lambda layer, x, keys_values, mask=None: layer(x, keys_values, mask),
    "07.4": lambda cache, key, value: cache.write(key, value),
    "09.2": lambda part, x: part(x),
    "09.3": lambda block, x, part, norm: block._add(x, part, norm),
    "09.4": lambda encoder, mel: encoder(mel),
}


@pytest.mark.parametrize("id", OWN_PART)
def test_an_answer_that_calls_the_part_it_replaces_does_not_pass(id):
    holder, name = using.resolve(exercises.exercise(id).target)
    before = getattr(holder, name)
    result = check(id, OWN_PART[id])
    assert result.status == "wrong" and "the very part that it is to replace" in repr(result)
    assert getattr(holder, name) is before
    assert not progress.record(id)["passed"]


def test_a_right_answer_passes_while_it_is_in_use():
    def feed_forward(part, x):
        return part.down(part.dropout(part.activation(part.up(x))))

    with using.use("09.2", feed_forward):
        assert check("09.2", feed_forward).status == "passed"


@pytest.mark.parametrize("skipped", range(5))
def test_right_spans_pass_whatever_is_drawn(skipped):
    def starts(real, length, count, rng):
        rng.random(skipped)
        return rng.permutation(real - length + 1)[:count]

    assert check("05.5", spans_at(starts)).status == "passed"
