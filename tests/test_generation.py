"""Searching for a text: parity with transformers 4.46.3, cached = uncached, brute force."""

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from golden_cases import GOLDEN, NAMES, assert_close, folder, inputs, outputs
from hypothesis import given, settings
from hypothesis import strategies as st

import speechlib as sl
from speechlib import generation_rules, limits
from speechlib.torch_models import beam_search, generation, next_logits

ARRAYS = dict(np.load(GOLDEN / "generation.npz"))


def listed(kind):
    """(number, case) of every golden of a kind."""
    return list(enumerate(json.loads(str(ARRAYS[f"{kind}.cases"]))))


def golden_tokens(kind, number):
    tokens = ARRAYS[f"{kind}.tokens"][number]
    return tokens[:, (tokens >= 0).any(axis=0)].tolist()


@pytest.fixture(scope="module")
def models():
    return {name: sl.load(folder(name)) for name in NAMES}


@pytest.fixture(scope="module")
def memories(models):
    """What each model hears in its golden mel."""
    with torch.no_grad():
        return {name: models[name].encode(inputs(outputs(name))[0]) for name in NAMES}


@pytest.fixture
def searched(models, memories, monkeypatch):
    """A golden case -> what we find."""

    def search(case, cache=True, **options):
        model = models[case["model"]]
        monkeypatch.setitem(model.checkpoint.generation, "eos_token_id", case["end"])
        rules = generation_rules.rules_of(generation.settings_of(model)) if case["ruled"] else []
        return generation.generate_from(
            model,
            memories[case["model"]],
            max_tokens=case["max_tokens"],
            prompt=case["prompt"],
            rules=rules,
            cache=cache,
            search=generation.search_named(**options),
        )

    return search


# --- transformers 4.46.3 --------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "uncached"])
def test_beams_equal_transformers(searched, cache):
    """Beams, penalties, early stopping, several end tokens, prompts, lengths, with and without
    rules."""
    for number, case in listed("beams")[:: 1 if cache else 4]:
        options = {k: case[k] for k in ("beams", "length_penalty", "early_stopping")}
        found = searched(case, cache, **options)
        assert found.tokens.tolist() == golden_tokens("beams", number), case
        scores = ARRAYS["beams.scores"][number]
        np.testing.assert_allclose(found.scores.numpy(), scores, rtol=1e-5, atol=1e-5)


def test_sampling_draws_what_transformers_draws(searched):
    for number, case in listed("sampling"):
        found = searched(case, temperature=case["temperature"], seed=case["seed"])
        assert found.tokens.tolist() == golden_tokens("sampling", number), case


def test_forced_prompts_languages_and_times_equal_whisper_s_generate(models):
    for number, case in listed("whisper"):
        model, mel = models[case["model"]], inputs(outputs(case["model"]))[0]
        way = {name: case.get(name) for name in ("language", "task")}
        times = case.get("return_timestamps")
        prompt = generation.own_prompt(model, model.encode(mel), **way, timestamps=times)
        rules = generation_rules.rules_of(generation.settings_of(model), times)
        found = sl.generate(
            model, mel, max_tokens=12, beams=case["beams"], prompt=prompt, rules=rules
        )
        assert found.tokens.tolist() == golden_tokens("whisper", number), case
        if not way["language"] and not times:
            own = sl.generate(model, mel, max_tokens=12, beams=case["beams"])
            assert own.tokens.tolist() == found.tokens.tolist()


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "uncached"])
@pytest.mark.parametrize("number, beams", [(0, 1), (1, 3)])
def test_padded_prompts_equal_transformers(models, monkeypatch, number, beams, cache):
    model, mel = models["whisper-b"], inputs(outputs("whisper-b"))[0]
    monkeypatch.setitem(model.checkpoint.generation, "eos_token_id", [46, 5])
    prompt = ARRAYS["padded.prompt"]
    found = sl.generate(model, mel, max_tokens=12, beams=beams, prompt=prompt, cache=cache)
    assert found.tokens.tolist() == golden_tokens("padded", number)


# --- what must hold for any model -----------------------------------------------------------------


def said(found, row, begin, pad):
    """The new tokens of a row without the padding behind them."""
    tokens = found.tokens[row, begin:].tolist()
    count = int((found.steps[row] != 0).sum())
    assert set(tokens[count:]) <= {pad}
    return tokens[:count]


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 999),
    beams=st.integers(1, 4),
    penalty=st.sampled_from([-0.7, 0.0, 1.0, 1.7]),
    stop=st.sampled_from([True, False, "never"]),
    name=st.sampled_from(NAMES),
)
def test_rows_are_found_alone_too(models, seed, beams, penalty, stop, name):
    """With and without cache, in a batch or alone, after prompts of unequal length: one text."""
    model = models[name]
    rng, pad = np.random.default_rng(seed), model.config.pad
    mel = rng.normal(0, 0.8, (3, model.config.mel_bins, model.config.mel_frames))
    mel = torch.tensor(mel, dtype=torch.float32)
    lengths = rng.integers(1, 5, 3)
    prompt = np.full((3, 4), pad)
    for row, length in enumerate(lengths):
        prompt[row, 4 - length :] = [model.config.start, *rng.integers(0, 40, length - 1)]
    options = {"beams": beams, "length_penalty": penalty, "early_stopping": stop, "max_tokens": 7}
    together = sl.generate(model, mel, prompt=prompt, **options)
    uncached = sl.generate(model, mel, prompt=prompt, cache=False, **options)
    assert torch.equal(together.tokens, uncached.tokens)
    torch.testing.assert_close(together.steps, uncached.steps, atol=1e-4, rtol=1e-4)
    for row, length in enumerate(lengths):
        alone = sl.generate(model, mel[[row]], prompt=prompt[[row], 4 - length :], **options)
        assert said(alone, 0, length, pad) == said(together, row, 4, pad)
        assert together.scores[row] == pytest.approx(float(alone.scores[0]), abs=1e-4)
        count = len(said(together, row, 4, pad))
        total = float(together.steps[row].sum())
        wanted = total / count**penalty if beams > 1 else total
        assert together.scores[row] == pytest.approx(wanted, rel=1e-4)


def test_a_seed_repeats_and_heat_spreads(models):
    model, mel = models["whisper-a"], inputs(outputs("whisper-a"))[0]

    def drawn(seed, temperature=1.0):
        return sl.generate(model, mel, max_tokens=9, temperature=temperature, seed=seed).tokens

    assert torch.equal(drawn(3), drawn(3))
    assert len({str(drawn(seed).tolist()) for seed in range(6)}) > 1
    assert torch.equal(drawn(1, 1e-4), sl.generate(model, mel, max_tokens=9).tokens)
    torch.manual_seed(11)
    first = sl.generate(model, mel, max_tokens=9, temperature=1.0).tokens
    torch.manual_seed(11)
    again = sl.generate(model, mel, max_tokens=9, temperature=1.0).tokens
    assert torch.equal(first, again)  # seed=None: torch's own numbers
    rules = [generation_rules.Suppress((1, 2, 3))]
    found = sl.generate(model, mel, max_tokens=20, temperature=9.0, seed=0, rules=rules)
    assert not np.isin(found.tokens[:, 4:], (1, 2, 3)).any()


def test_the_widest_numbers_that_are_taken_work(models):
    """Beyond them a division left the numbers, and PyTorch or Python complained."""
    model, mel = models["whisper-a"], inputs(outputs("whisper-a"))[0]
    rules = [generation_rules.Suppress((1, 2, 3))]
    for temperature in limits.TEMPERATURES:
        for seed in limits.SEEDS:
            options = {"temperature": temperature, "seed": seed, "rules": rules}
            found = sl.generate(model, mel, max_tokens=4, **options)
            assert torch.isfinite(found.scores).all()
    for penalty in (-limits.LENGTH_PENALTY, limits.LENGTH_PENALTY):
        found = sl.generate(model, mel, max_tokens=9, beams=2, length_penalty=penalty)
        assert torch.isfinite(found.scores).all()


def test_beams_share_one_memory(models):
    """No copy of what the encoder heard for each beam."""
    model, mel = models["whisper-a"], inputs(outputs("whisper-a"))[0]
    made, plain = [], model.decoder.init_cache
    model.decoder.init_cache = lambda *given: made.append(plain(*given)) or made[-1]
    try:
        sl.generate(model, mel, max_tokens=4, beams=3)
    finally:
        del model.decoder.init_cache
    assert len(made[0].memory[0][0]) == 3 and len(made[0].layers[0].keys) == 9


def test_maps_of_beams_are_those_of_the_rows(models):
    model, mel = models["whisper-a"], inputs(outputs("whisper-a"))[0]
    options = {"max_tokens": 4, "beams": 2, "prompt": [41, 43]}
    with sl.trace(model, "decoder.*.weights") as seen:
        traced = sl.generate(model, mel, **options)
    assert torch.equal(traced.tokens, sl.generate(model, mel, **options).tokens)
    for maps in seen.values():
        assert {weights.shape[0] for weights in maps} == {6}


def test_hidden_frames_are_hidden_from_beams_that_are_watched_too(models, memories):
    decoder, memory = models["whisper-a"].decoder, memories["whisper-a"]
    mask = torch.arange(memory.shape[1]) < torch.tensor([[20], [30], [40]])
    options = {"memory_mask": mask, "max_tokens": 4, "beams": 2, "prompt": [41, 43], "rules": []}
    with sl.trace(decoder, "*.cross_attention.weights") as seen:
        watched = sl.generate(decoder, memory, **options)
    assert torch.equal(watched.tokens, sl.generate(decoder, memory, **options).tokens)
    for maps in seen.values():
        for weights in maps:
            looked = (weights > 0).any(dim=1).any(dim=1)  # (batch * beams, frames)
            assert torch.equal(looked, mask.repeat_interleave(2, dim=0))


def test_a_language_is_heard_in_real_frames_only(models, memories, monkeypatch):
    decoder = models["whisper-a"].decoder
    monkeypatch.setattr(decoder, "checkpoint", models["whisper-a"].checkpoint, raising=False)
    memory = memories["whisper-a"].repeat(6, 1, 1)
    torch.manual_seed(0)
    memory[:, 20:] = 4 * torch.randn_like(memory[:, 20:])
    mask = torch.arange(memory.shape[1]).expand(memory.shape[:2]) < 20
    real = generation.own_prompt(decoder, memory[:, :20])
    assert torch.equal(generation.own_prompt(decoder, memory, memory_mask=mask), real)
    assert not torch.equal(generation.own_prompt(decoder, memory), real)


@pytest.mark.parametrize("options", [{}, {"beams": 2}, {"draft": True}], ids=str)
def test_rules_are_asked_of_open_rows_only(models, monkeypatch, options):
    """A row at its end waits for the others; no rule need have an answer for it."""
    model, mel = models["whisper-b"], inputs(outputs("whisper-b"))[0]
    monkeypatch.setitem(model.checkpoint.generation, "eos_token_id", [46, 5])
    options = options | {"draft": model} if "draft" in options else options
    batches = set()

    def nothing_after_an_end(logits, tokens, prompt_length):
        batches.add(len(tokens))
        ended = np.isin(tokens[:, prompt_length:], (46, 5)).any(axis=1)
        return np.tile(~ended[:, None], (1, logits.shape[-1]))

    plain = sl.generate(model, mel, max_tokens=12, rules=[], **options)
    ruled = sl.generate(model, mel, max_tokens=12, rules=[nothing_after_an_end], **options)
    assert torch.equal(plain.tokens, ruled.tokens) and len(batches) > 1


def test_tokens_that_there_are_not_forbid_nothing(models):
    """Published lists are used with smaller vocabularies; older ones hold a -1."""
    model, mel = models["whisper-a"], inputs(outputs("whisper-a"))[0]
    with torch.no_grad():
        plain = generation.generate_from(model, model.encode(mel), max_tokens=9, rules=[])
        likely = int(plain.tokens[0, -1])
    nobody = generation_rules.Suppress((-1, likely - model.config.vocabulary, 10**6))
    assert torch.equal(sl.generate(model, mel, max_tokens=9, rules=[nobody]).tokens, plain.tokens)


def test_named_tokens_that_leave_nothing_are_reported(models):
    model, mel = models["whisper-a"], inputs(outputs("whisper-a"))[0]
    everything = generation_rules.Suppress(tuple(range(model.config.vocabulary)))
    with pytest.raises(ValueError, match="the rules forbid all in rows"):
        sl.generate(model, mel, max_tokens=2, rules=[everything])


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "uncached"])
def test_probabilities_are_float32_whatever_the_model_is(cache):
    model, mel = sl.load(folder("whisper-a"), dtype="float16"), inputs(outputs("whisper-a"))[0]
    for beams in (1, 2):
        found = sl.generate(model, mel, max_tokens=3, beams=beams, cache=cache)
        assert found.steps.dtype == found.scores.dtype == torch.float32
        assert torch.isfinite(found.steps).all() and (found.steps != found.steps.half()).any()


@torch.no_grad()
def test_what_was_not_read_cannot_be_forgotten(models, memories):
    """A draft whose guesses were all right has not read the last of them."""
    model, memory = models["whisper-a"], memories["whisper-a"]
    tokens = torch.arange(24).view(3, 8)
    step = next_logits.NextLogits(model, memory, None, 3, 8)
    step(tokens[:, :5])
    for forgotten in (7, 3):
        step.forget(forgotten)
        assert_close(step(tokens)[:, -1], model.decode(tokens, memory)[:, -1], "all are read")


def test_searching_keeps_nothing_for_gradients(models):
    model, mel, learns = models["whisper-a"], inputs(outputs("whisper-a"))[0], []
    hooks = [
        part.register_forward_hook(lambda *given: learns.append(given[2].requires_grad))
        for part in (model.encoder, model.decoder)
    ]
    sl.generate(model, mel, max_tokens=2)
    generation.generate_from(model, torch.zeros(1, model.config.frames, model.config.width),
                             max_tokens=2)  # fmt: skip
    for hook in hooks:
        hook.remove()
    assert learns and not any(learns)


def test_a_prompt_of_nothing_but_padding_is_a_prompt():
    toy = Toy(0, vocabulary=5)
    prompt = torch.tensor([[0, 0], [1, 2]])
    found = sl.generate(toy, max_tokens=3, prompt=prompt, cache=False)
    for row, one in enumerate(prompt):
        alone = sl.generate(toy, max_tokens=3, prompt=one[None], cache=False)
        count = alone.steps.shape[1]
        assert torch.equal(found.steps[row, :count], alone.steps[0])


def test_a_model_that_starts_with_its_pad_token_keeps_it():
    """Its first token looks like padding and is none."""
    toy = Toy(0, vocabulary=5)
    toy.config.start = toy.config.pad = 3
    prompt = torch.tensor([[3, 1], [3, 3], [3, 2]])
    together = sl.generate(toy, max_tokens=3, prompt=prompt, cache=False)
    for row, one in enumerate(prompt):
        alone = sl.generate(toy, max_tokens=3, prompt=one[None], cache=False)
        count = alone.steps.shape[1]
        assert torch.equal(alone.steps[0], together.steps[row, :count])


def test_a_recording_is_done_when_nothing_open_is_better():
    done = beam_search.Finished(beams=1, length_penalty=1.0, early_stopping=False, max_tokens=9)
    assert not done.is_done(-1.0, 1)
    done.add(-2.0, [1], torch.zeros(2))  # -1 a token
    assert done.is_done(-3.0, 3)  # as good is not better
    assert not done.is_done(-2.9, 3)
    done.add(-2.0, [9], torch.zeros(2))
    assert done.best()[1] == [1]  # a text that is only as good takes nobody's place
    # a negative penalty makes a long text worse: what is open is best if it ends now
    short = beam_search.Finished(beams=1, length_penalty=-1.0, early_stopping="never", max_tokens=9)
    short.add(-2.0, [1], torch.zeros(2))  # -4
    assert not short.is_done(-1.5, 2) and short.is_done(-2.0, 2)
    both = beam_search.Finished(beams=2, length_penalty=0.0, early_stopping=False, max_tokens=9)
    for text in ([1], [2]):
        both.add(-2.0, text, torch.zeros(2))
    assert both.best()[1] == [2]  # among equals the last, as transformers


# --- brute force ----------------------------------------------------------------------------------


class Toy(torch.nn.Module):
    """A decoder whose next logits depend on the two last tokens and on how many there are."""

    def __init__(self, seed, vocabulary=4):
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        size = (9, vocabulary, vocabulary, vocabulary)
        self.table = torch.nn.Parameter(2 * torch.randn(size, generator=rng))
        self.config = SimpleNamespace(
            start=1, end=0, pad=0, vocabulary=vocabulary, slots=None, width=1
        )

    def init_cache(self, *given, **named):
        raise NotImplementedError("without a cache")

    def forward(self, tokens, memory=None):
        before = torch.cat([tokens[:, :1], tokens[:, :-1]], dim=1)
        place = torch.arange(tokens.shape[1]).expand_as(tokens)
        return self.table[place, before, tokens]


def every_text(toy, count):
    """(score sum, length, tokens) of every text: ended within `count` tokens, or `count` long."""
    with torch.no_grad():
        for length in range(1, count + 1):
            for text in itertools.product(range(toy.config.vocabulary), repeat=length):
                if 0 in text[:-1] or (text[-1] != 0 and length < count):
                    continue
                tokens = torch.tensor([[1, *text]])
                sure = toy(tokens[:, :-1])[0].log_softmax(dim=-1)
                yield sum(float(sure[n, t]) for n, t in enumerate(text)), length, list(text)


@pytest.mark.parametrize("penalty", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_beams_wide_enough_find_the_best_of_all_texts(penalty):
    for seed in range(4):
        toy = Toy(seed)
        texts = [(total / n**penalty, text) for total, n, text in every_text(toy, 4)]
        score, best = max(texts)
        found = sl.generate(
            toy, max_tokens=4, beams=81, length_penalty=penalty, early_stopping="never", cache=False
        )
        assert found.tokens[0, 1 : 1 + len(best)].tolist() == best
        assert float(found.scores[0]) == pytest.approx(score, abs=1e-4)
        assert math.isclose(float(found.steps.sum()) / len(best) ** penalty, score, abs_tol=1e-4)


def test_a_vocabulary_of_nothing_but_ends_is_refused():
    toy = Toy(0, vocabulary=2)
    toy.config.end = [0, 1]
    with pytest.raises(ValueError, match="expected 3 candidates that go on, got 0"):
        sl.generate(toy, max_tokens=2, beams=3, prompt=[1], cache=False)


# --- lone decoders --------------------------------------------------------------------------------


@pytest.mark.parametrize("beams", [1, 3])
def test_a_lone_decoder_takes_its_memory_or_none(models, memories, beams):
    whole, memory = models["whisper-a"], memories["whisper-a"]
    options = {"max_tokens": 8, "beams": beams, "prompt": [41, 43], "rules": []}
    found = sl.generate(whole.decoder, memory, **options)
    mel = inputs(outputs("whisper-a"))[0]
    assert torch.equal(found.tokens, sl.generate(whole, mel, **options).tokens)
    mask = torch.ones(memory.shape[:2], dtype=torch.bool)
    mask[:, 30:] = False
    hidden = sl.generate(whole.decoder, memory, memory_mask=mask, **options)
    cut = sl.generate(whole.decoder, memory[:, :30], **options)
    uncached = sl.generate(whole.decoder, memory, memory_mask=mask, cache=False, **options)
    assert torch.equal(hidden.tokens, cut.tokens) and torch.equal(hidden.tokens, uncached.tokens)
    deaf = sl.generate(whole.decoder, **options | {"prompt": [[41, 43], [41, 3]]})
    assert deaf.tokens.shape[0] == 2 and sl.generate(whole.decoder, max_tokens=2).tokens[0, 0] == 41
    again = sl.generate(whole.decoder, **options | {"prompt": [[41, 43], [41, 3]]}, cache=False)
    assert torch.equal(deaf.tokens, again.tokens)


def test_what_a_lone_decoder_refuses(models, memories):
    decoder, memory = models["whisper-a"].decoder, memories["whisper-a"]
    for wrong, named in (
        ({"lengths": [3, 3, 3]}, "lengths are for a model that encodes"),
        ({"inputs": None, "memory_mask": [[1]]}, "expected a memory for this memory_mask"),
        ({"memory_mask": torch.ones(3, 7).bool()}, "memory mask of shape"),
        ({"inputs": memory[..., :4]}, "expected memory of shape"),
        ({"inputs": "memory"}, "expected memory"),
        ({"draft": models["whisper-a"]}, "lone decoder as draft"),
    ):
        with pytest.raises(ValueError, match=named):
            sl.generate(decoder, **{"inputs": memory, "max_tokens": 3} | wrong)
