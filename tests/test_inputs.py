"""What comes into a model: arrays of every kind, and what is refused, in words."""

import numpy as np
import pytest
import torch
from golden_cases import assert_close, folder

import speechlib as sl
from speechlib.torch_models import transcription

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model():
    return sl.load(folder("whisper-a"))


@pytest.fixture(scope="module")
def mel(model):
    c = model.config
    return torch.randn(2, c.mel_bins, c.mel_frames, generator=torch.Generator().manual_seed(0))


TOKENS = [[41, 3, 4], [41, 5, 6]]
ONES = torch.ones(2, 3, dtype=torch.bool)


@torch.no_grad()
def test_arrays_lists_and_other_number_types_give_the_same_logits(model, mel):
    expected = model(mel, torch.tensor(TOKENS), ONES)
    for kind in (np.int64, np.int32, np.uint8):
        tokens = np.array(TOKENS, kind)
        assert torch.equal(model(mel.numpy(), tokens, ONES.numpy()), expected)
        assert torch.equal(model(mel, torch.from_numpy(tokens), ONES), expected)
    assert torch.equal(model(mel, TOKENS, ONES.long()), expected)
    assert torch.equal(model(mel.double(), TOKENS, ONES.tolist()), expected)
    low = sl.load(folder("whisper-a"), dtype="bfloat16")
    assert_close(low(mel, TOKENS).float(), expected, "bfloat16", 0.1)
    labels = [[3, 4, -100], [5, -100, 6]]
    assert torch.equal(model.loss(mel, labels), model.loss(mel, np.array(labels)))


@pytest.mark.parametrize(
    "wrong, said",
    [
        (dict(mel=None), "expected mel .*NoneType"),
        (dict(mel="speech"), "expected mel .*str"),
        (dict(mel=torch.zeros(2, 80, 80).int()), "expected mel .*floating-point"),
        (dict(mel=torch.full((2, 80, 80), float("nan"))), "expected a finite mel, got NaN"),
        (dict(mel=torch.full((2, 80, 80), float("inf"))), "expected a finite mel, .*is the wave"),
        (dict(tokens=None), "expected tokens .*NoneType"),
        (dict(tokens=[[1, 2], [3]]), "expected tokens .*unequal length"),
        (dict(tokens=[["a", "b"]]), "expected tokens .*a list of something else than numbers"),
        (dict(tokens=[None, 3]), "expected tokens .*a list of something else than numbers"),
        (dict(tokens=torch.ones(2, 3)), "whole numbers, got torch.float32"),
        (dict(tokens=ONES), "whole numbers, got torch.bool"),
        (dict(token_mask=ONES[:1]), r"\(2, 3\), past tokens included, got \(1, 3\)"),
        (dict(token_mask=ONES[0]), r"got \(3,\)"),
        (dict(token_mask=ONES[:, :2]), r"got \(2, 2\)"),
        (dict(token_mask=torch.zeros(2, 3)), "True = real token.*float32"),
        (dict(token_mask=ONES.long() * -1), "True = real token"),
    ],
)
def test_wrong_input_is_named(model, mel, wrong, said):
    given = dict(mel=mel, tokens=TOKENS) | wrong
    with pytest.raises(ValueError, match=said):
        model(**given)
    if "mel" in wrong:
        with pytest.raises(ValueError, match=said):
            model.encode(given["mel"])


@torch.no_grad()
def test_wrong_memory_labels_and_caches_are_named(model, mel):
    memory = model.encode(mel)
    for wrong in (memory[..., :4], memory[:1], memory[0], None, "memory"):
        if wrong is not None:
            with pytest.raises(ValueError, match="expected memory"):
                model.decode(TOKENS, wrong)
        if wrong is None or len(wrong) > 1:  # one row may serve several rows of tokens
            with pytest.raises(ValueError, match="expected .*memory"):
                model.init_cache(2, 2, wrong)
    with pytest.raises(ValueError, match="multiple of the memory's 2 rows, got 3"):
        model.init_cache(3, 2, memory)
    with pytest.raises(ValueError, match="batch of 2, 1 came"):
        model.decode(TOKENS[:1], cache=model.init_cache(2, 2, memory))
    for slots in (0, "a", 2.5):
        with pytest.raises(ValueError, match="slots must be a whole number of at least 1, got"):
            model.init_cache(2, slots, memory)
    for batch in (-2, "a", 2.0):
        with pytest.raises(ValueError, match="batch must be a whole number of at least 0, got"):
            model.init_cache(batch, 2, memory)
    for labels in ([[3, 62], [4, 5]], [[3, -5], [4, 5]]):
        with pytest.raises(ValueError, match="labels must lie in 0 to 61"):
            model.loss(mel, labels)


def test_an_empty_batch_stays_empty(model, mel):
    assert model(mel[:0], torch.zeros(0, 3, dtype=torch.long)).shape == (0, 3, 62)
    assert len(sl.generate(model, mel[:0], max_tokens=3).tokens) == 0


def test_no_block_is_dropped_while_a_cache_is_filled(mel):
    """A block left out in one step would miss its part of the past in the next."""
    model = sl.load(folder("whisper-a"))
    model.train()
    object.__setattr__(model.config, "decoder_layer_drop", 0.9)
    cache = model.init_cache(2, memory=model.encode(mel))
    for step in range(3):
        model.decode(torch.tensor(TOKENS)[:, step : step + 1], cache=cache)
    assert [layer.length for layer in cache.layers] == [3, 3]


# --- generate -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong, said",
    [
        (dict(model="whisper-digits"), "expected a model .*got str"),
        (dict(model=torch.nn.Linear(2, 2)), "expected a model .*got Linear"),
        (dict(inputs=None), "expected mel"),
        (dict(inputs=torch.full((2, 80, 80), float("nan"))), "expected a finite mel, got NaN"),
        (dict(max_tokens=2.5), "max_tokens must be a whole number"),
        (dict(max_tokens=None), "max_tokens must be a whole number"),
        (dict(prompt=[]), "at least one token"),
        (dict(prompt=[62]), "0 to 61"),
        (dict(prompt=[-1]), "0 to 61"),
        (dict(prompt=[1.7]), "whole numbers"),
        (dict(prompt=[True]), "whole numbers"),
        (dict(prompt="zero"), "expected a prompt"),
        (dict(prompt=[[1], [2, 3]]), "expected a prompt"),
        (dict(prompt=[[1], [2], [3]]), "2 rows"),
        (dict(rules=3), "expected rules"),
        (dict(rules=[3]), "expected rules"),
        (dict(rules=[lambda scores, tokens, begin: np.ones(3, bool)]), "expected a rule to return"),
        (dict(rules=[lambda scores, tokens, begin: scores]), "expected a rule to return"),
        (dict(beams=0), "beams must be a whole number"),
        (dict(seed=0.5), "seed must be a whole number"),
        (dict(temperature=-0.7), "temperature must be 0"),
        (dict(length_penalty=None), "length_penalty must be a number"),
        (dict(early_stopping="always"), "early_stopping must be True, False"),
        (dict(beams=2, temperature=0.5), "beams and temperature exclude each other"),
        (dict(length_penalty=float("nan")), "length_penalty must be a number"),
        (dict(beams=2, length_penalty=400), "length_penalty must be .* -10 to 10, got 400"),
        (dict(beams=2, length_penalty=-300), "length_penalty must be .* -10 to 10, got -300"),
        (dict(length_penalty=10**400), "length_penalty must be a number from -10 to 10"),
        (dict(temperature=1e-39), "temperature must be 0 .* from 1e-30 to 1e.30, got 1e-39"),
        (dict(temperature=1e300), "temperature must be 0 .* from 1e-30 to 1e.30, got 1e.300"),
        (dict(temperature=float("nan")), "temperature must be 0 .*got nan"),
        (dict(temperature=0.5, seed=2**70), r"seed must be .* from -2\*\*63 to 2\*\*64 - 1"),
        (dict(memory_mask=ONES), "memory_mask is for a lone decoder"),
        (dict(draft=torch.nn.Linear(2, 2)), "smaller model as draft, got Linear"),
    ],
)
def test_what_generate_refuses(model, mel, wrong, said):
    given = dict(model=model, inputs=mel, max_tokens=3) | wrong
    with pytest.raises(ValueError, match=said):
        sl.generate(given.pop("model"), given.pop("inputs"), **given)


# --- transcribe -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [3, torch.nn.Linear(2, 2), ["whisper-digits"]])
def test_transcribe_needs_a_model(wrong):
    with pytest.raises(ValueError, match="expected a Whisper model"):
        sl.transcribe(np.ones(800, np.float32), wrong)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ((np.ones(8), 16_000), "mono wave"),
        (np.full(800, 1e30), "full scale 1"),
        (np.ones((1, 800)), r"shape \(1, 800\)"),
        (None, "mono wave"),
        (b"sound", "mono wave"),
    ],
)
def test_transcribe_needs_sound(model, wrong, said):
    with pytest.raises(ValueError, match=said):
        sl.transcribe(wrong, model)
    with pytest.raises(ValueError, match=said):
        transcription.listened(wrong, model)


def test_a_model_of_one_language_may_be_asked_for_it():
    model = sl.load("whisper-digits")
    wave = sl.corpus.digits("test")[0].wave()
    for language in ("en", "<|en|>", "EN", "<|EN|>"):
        assert sl.transcribe(wave, model, language=language) == sl.transcribe(wave, model)
    with pytest.raises(ValueError, match="no language to choose: leave out '<|de|>'"):
        sl.transcribe(wave, model, language="de")
    with pytest.raises(ValueError, match="no task to choose: leave out 'translate'"):
        sl.transcribe(wave, model, task="translate")
    with pytest.raises(ValueError, match="no language to choose|a language such as"):
        sl.transcribe(wave, model, language=3)
