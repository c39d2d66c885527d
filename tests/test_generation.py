"""Searching for a text: parity with transformers 4.46.3, cached = uncached, brute force."""

import json

import numpy as np
import pytest
import torch
from whisper_cases import GOLDEN, NAMES, folder, inputs, outputs

import speechlib as sl
from speechlib import generation_rules
from speechlib.torch_models import generation

ARRAYS = dict(np.load(GOLDEN / "generation.npz"))


def listed(kind):
    """(number, case) of every golden of a kind."""
    return list(enumerate(json.loads(str(ARRAYS[f"{kind}.cases"]))))


def named(case):
    """A case as the name of its test."""
    return "-".join(str(value) for value in case.values())


@pytest.fixture(scope="module")
def models():
    return {name: sl.load(folder(name)) for name in NAMES}


@pytest.fixture(scope="module")
def memories(models):
    """What each model hears in its golden mel."""
    with torch.no_grad():
        return {name: models[name].encode(inputs(outputs(name))[0]) for name in NAMES}


def golden_tokens(kind, number):
    tokens = ARRAYS[f"{kind}.tokens"][number]
    return tokens[:, (tokens >= 0).any(axis=0)].tolist()


def rules_for(model, case):
    """The suppressed tokens of the checkpoint, as a case wants them."""
    return generation_rules.rules_of(generation.settings_of(model)) if case["ruled"] else []


def with_end(model, end):
    """The model's settings with these end tokens."""
    model.checkpoint.generation["eos_token_id"] = end
    return model


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "uncached"])
def test_beams_equal_transformers(models, memories, cache):
    for number, case in listed("beams"):
        model = with_end(models[case["model"]], case["end"])
        options = {k: case[k] for k in ("beams", "length_penalty", "early_stopping")}
        found = generation.generate_from(
            model,
            memories[case["model"]],
            max_tokens=case["max_tokens"],
            prompt=case["prompt"],
            rules=rules_for(model, case),
            cache=cache,
            search=generation.search_named(**options),
        )
        assert found.tokens.tolist() == golden_tokens("beams", number), case
        scores = ARRAYS["beams.scores"][number]
        np.testing.assert_allclose(found.scores.numpy(), scores, rtol=1e-5, atol=1e-5)
