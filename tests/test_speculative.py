"""Speculative decoding: exactly the greedy text, with fewer looks of the big model."""

import numpy as np
import pytest
import torch
from golden_cases import folder, inputs, outputs

import speechlib as sl
from speechlib import configs, generation_rules
from speechlib.torch_models.whisper import Whisper


def some_whisper(seed, width=16, layers=1, vocabulary=30, slots=24):
    """A random model that does not say the same all the time."""
    torch.manual_seed(seed)
    block = {"width": width, "heads": 2, "feed_forward": 2 * width, "key_bias": False}
    model = Whisper(
        configs.WhisperConfig(
            encoder=configs.BlockConfig(**block),
            decoder=configs.BlockConfig(**block, cross_attention=True),
            encoder_layers=1, decoder_layers=layers, vocabulary=vocabulary, mel_bins=8,
            frames=10, slots=slots, pad=0, start=1, end=0,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "encoder.positions" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.5)
    return model


def counted(model):
    """How often the model's decoder is called, in a list that grows."""
    calls = []
    model.decoder.register_forward_hook(lambda *_: calls.append(1))
    return calls


def shaken(model, by, seed):
    """The same model with some noise: a draft that is right now and then."""
    torch.manual_seed(seed)
    twin = type(model)(model.config).eval()
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(torch.randn_like(parameter) * by)
    return twin


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "uncached"])
def test_the_text_is_the_greedy_one_whoever_drafts(cache):
    fewer = 0
    for seed in range(20):
        model = some_whisper(seed, layers=1 + seed % 2)
        mel = torch.randn(1 + seed % 3, 8, 20, generator=torch.Generator().manual_seed(seed))
        drafts = [shaken(model, 0.02, seed), some_whisper(99 + seed, width=8, slots=9)]
        drafts.append(drafts[1].decoder if seed % 2 else drafts[0].decoder)
        rules = [[], [generation_rules.Suppress((0, 5)), generation_rules.SuppressAtBegin((3,))]]
        options = {"max_tokens": 3 + seed % 18, "rules": rules[seed % 4 // 2], "cache": cache}
        greedy = sl.generate(model, mel, **options)
        for draft in drafts:
            calls = counted(model)
            found = sl.generate(model, mel, draft=draft, **options)
            assert torch.equal(found.tokens, greedy.tokens)
            torch.testing.assert_close(found.steps, greedy.steps, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(found.scores, greedy.scores, atol=1e-3, rtol=1e-4)
            assert len(calls) <= greedy.steps.shape[1]
            fewer += len(calls) < greedy.steps.shape[1]
    assert fewer > 20


def test_a_perfect_draft_saves_five_looks_of_six():
    for seed in range(3, 9):
        model = some_whisper(seed)
        mel, quiet = torch.randn(2, 8, 20), [generation_rules.Suppress((0,))]
        calls = counted(model)
        sl.generate(model, mel, max_tokens=18, rules=quiet, draft=shaken(model, 0.0, 0))
        assert len(calls) == 3


def test_checkpoints_and_their_own_rules():
    model, mel = sl.load(folder("whisper-a")), inputs(outputs("whisper-a"))[0]
    greedy = sl.generate(model, mel, max_tokens=15)
    for by in (0.0, 0.05, 0.4):
        found = sl.generate(model, mel, max_tokens=15, draft=shaken(model, by, 1))
        assert torch.equal(found.tokens, greedy.tokens)
    lone = sl.generate(model.decoder, None, max_tokens=9, prompt=[41, 43])
    for draft in (shaken(model, 0.05, 2).decoder, some_whisper(1, vocabulary=62).decoder):
        found = sl.generate(model.decoder, None, max_tokens=9, prompt=[41, 43], draft=draft)
        assert torch.equal(found.tokens, lone.tokens)


def test_prompts_of_unequal_length_have_drafts_too():
    model, mel = some_whisper(3), torch.randn(3, 8, 20)
    prompt = [[0, 0, 1, 5], [0, 1, 7, 6], [0, 0, 1, 9]]  # 0: padding
    greedy = sl.generate(model, mel, max_tokens=9, prompt=prompt)
    for by in (0.0, 0.05):
        found = sl.generate(model, mel, max_tokens=9, prompt=prompt, draft=shaken(model, by, 1))
        assert torch.equal(found.tokens, greedy.tokens)


def test_what_is_refused():
    model, mel = some_whisper(0), np.zeros((1, 8, 20), np.float32)
    for wrong, named in (
        ({"draft": some_whisper(1, vocabulary=31)}, "vocabulary of 30 tokens, got one of 31"),
        ({"draft": some_whisper(1), "beams": 2}, "beams and draft exclude each other"),
        ({"draft": some_whisper(1), "temperature": 1.0}, "temperature and draft exclude"),
        ({"draft": "whisper-tiny"}, "expected a smaller model as draft, got str"),
    ):
        with pytest.raises(ValueError, match=named):
            sl.generate(model, mel, max_tokens=3, **wrong)
