"""Generation rules against the logits processors of transformers 4.46.3, and the prompts."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from speechlib import generation_rules

HERE = Path(__file__).parent / "golden"
GOLDEN = np.load(HERE / "generation_rules.npz")
HISTORIES, END, SILENT, BEGIN = GOLDEN["meta"].tolist()
SUPPRESS = [
    generation_rules.SuppressAtBegin((5, 40, 50257)),
    generation_rules.Suppress((3, 7, 11, 46, 47, 48)),
]
TIMES = generation_rules.Timestamps(end=END, no_timestamps=SILENT, latest_first=4)
CHAINS = {"suppress": SUPPRESS, "times": [TIMES], "all": [*SUPPRESS, TIMES]}


def settings(name):
    return json.loads((HERE / name / "generation_config.json").read_text())


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("number", range(HISTORIES))
def test_allowed_tokens_equal_transformers(number, chain):
    tokens, scores = GOLDEN[f"{number}.tokens"], GOLDEN[f"{number}.scores"]
    allowed = generation_rules.allowed_tokens(CHAINS[chain], scores, tokens, BEGIN)
    np.testing.assert_array_equal(allowed, GOLDEN[f"{number}.{chain}"])


def test_the_rules_are_told_apart():
    """Each part of the timestamp rules changes some golden: none could be left out unseen."""
    changed = {"sum_rule": False, "latest_first": None}
    for name, value in changed.items():
        other = generation_rules.Timestamps(
            **{"end": END, "no_timestamps": SILENT, "latest_first": 4, name: value}
        )
        assert any(
            not np.array_equal(
                other(GOLDEN[f"{n}.scores"], GOLDEN[f"{n}.tokens"], BEGIN), GOLDEN[f"{n}.times"]
            )
            for n in range(HISTORIES)
        ), name
    # an order in which times are chosen before suppressed tokens are gone gives another answer
    assert any(
        not np.array_equal(
            generation_rules.allowed_tokens(
                [TIMES, *SUPPRESS], GOLDEN[f"{n}.scores"], GOLDEN[f"{n}.tokens"], BEGIN
            ),
            GOLDEN[f"{n}.all"],
        )
        for n in range(HISTORIES)
    )


def test_times_that_are_as_likely_as_the_best_text_are_no_reason_for_a_time():
    rule = generation_rules.Timestamps(end=5, no_timestamps=6)
    scores, tokens = np.full((1, 9), -np.inf), np.array([[1, 7, 2, 3]])
    scores[0, [2, 8]] = 0.0
    assert rule(scores, tokens, 1)[0, 2]
    scores[0, 8] = 1e-3
    assert not rule(scores, tokens, 1)[0, 2]
    with np.errstate(all="raise"):  # where earlier rules have left nothing, this one does not mind
        assert rule(np.full((1, 9), -np.inf), tokens, 1)[0, 2]


def test_begin_is_counted_after_the_prompt():
    rule = generation_rules.SuppressAtBegin((2,))
    scores = np.zeros((1, 4))
    assert not rule(scores, np.zeros((1, 3)), 3)[0, 2]
    assert rule(scores, np.zeros((1, 4)), 3).all()


def test_rules_leave_their_inputs_alone_and_take_torch():
    torch = pytest.importorskip("torch")
    scores, tokens = torch.randn(2, 62), torch.tensor([[41, 43, 45, 50, 3]] * 2)
    kept = scores.clone()
    allowed = generation_rules.allowed_tokens(CHAINS["all"], scores, tokens, BEGIN)
    assert allowed.dtype == bool and allowed.shape == (2, 62)
    assert torch.equal(scores, kept)
    for rule in CHAINS["all"]:
        assert torch.as_tensor(np.array(rule(scores, tokens, BEGIN))).shape == (2, 62)


def test_contradicting_rules_are_named():
    everything = generation_rules.Suppress(tuple(range(4)))
    with pytest.raises(ValueError, match="forbid all in rows"):
        generation_rules.allowed_tokens([everything], np.zeros((1, 4)), np.zeros((1, 1)), 1)


def test_rules_of_a_checkpoint():
    mine = settings("whisper-a")
    assert generation_rules.rules_of(mine) == SUPPRESS
    assert generation_rules.rules_of(mine, timestamps=True) == [*SUPPRESS, TIMES]
    assert generation_rules.rules_of({}) == []
    with pytest.raises(ValueError, match="timestamps=False"):
        generation_rules.rules_of(settings("whisper-b"), timestamps=True)


def test_prompts():
    """The published ways: tables, forced ids, language to be heard, times wanted."""
    a, b = settings("whisper-a"), settings("whisper-b")
    prompt = generation_rules.prompt_of
    assert prompt(a) == [41, None, 49]
    assert prompt(a, language="en", task="transcribe") == [41, 43, 45, 49]
    assert prompt(a, language="<|de|>", task="translate") == [41, 42, 44, 49]
    assert prompt(a, language="<|DE|>") == prompt(a, language="DE")
    assert prompt(a, language="DE") == [41, 42, 45, 49]  # transcribing goes without saying
    assert prompt(a, task="translate") == [41, None, 44, 49]
    assert prompt(a, language="en", timestamps=True) == [41, 43, 45]
    assert prompt({**a, "language": "de", "task": "translate"}) == [41, 42, 44, 49]
    assert prompt(b) == [47, 50, 49]
    assert prompt(b, task="transcribe") == [47, 50, 49]  # it does nothing else
    forced = {**a, "forced_decoder_ids": [[1, None], [2, 45], [3, 49]]}
    assert prompt(forced) == [41, None, 45, 49]
    assert prompt(forced, timestamps=True) == [41, None, 45]
    assert prompt(forced, language="en") == [41, 43, 45, 49]
    assert prompt({"forced_decoder_ids": [[1, None], [2, 9]]}, start=1) == [1, 9]
    assert generation_rules.language_tokens(a) == [42, 43]


def test_prompt_errors():
    a, b = settings("whisper-a"), settings("whisper-b")
    with pytest.raises(ValueError, match=r"language '<\|fr\|>'.*<\|de\|>"):
        generation_rules.prompt_of(a, language="fr")
    with pytest.raises(ValueError, match="task 'sing'.*translate"):
        generation_rules.prompt_of(a, task="sing")
    with pytest.raises(ValueError, match="no language to choose|no task to choose"):
        generation_rules.prompt_of(b, language="en")
    with pytest.raises(ValueError, match="positions 1, 2, 3"):
        generation_rules.prompt_of({**b, "forced_decoder_ids": [[1, 4], [3, 5]]})
    with pytest.raises(ValueError, match="decoder_start_token_id"):
        generation_rules.prompt_of({})
    with pytest.raises(ValueError, match="eos_token_id"):
        generation_rules.end_tokens({})


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"decoder_start_token_id": None}, "decoder_start_token_id must .* 0 to 49, .* got 50257"),
        ({"decoder_start_token_id": -1}, "decoder_start_token_id must .* got -1: set it in"),
        ({"lang_to_id": {"<|en|>": 42, "<|xx|>": 50}}, "lang_to_id must .* got 50"),
        ({"forced_decoder_ids": [[1, 70]]}, "forced_decoder_ids must .* got 70"),
        ({"no_timestamps_token_id": 90}, "no_timestamps_token_id must .* got 90"),
        ({"task": "translate", "task_to_id": {"translate": 80}}, "task_to_id must .* got 80"),
    ],
)
def test_entries_outside_the_vocabulary_are_named(changes, named):
    mine = {"decoder_start_token_id": 40, **changes}
    with pytest.raises(ValueError, match=named):
        generation_rules.prompt_of(mine, 50257, vocabulary=50)
    assert generation_rules.prompt_of(mine, 50257)  # nothing to compare with
    # a published list may name more languages than a smaller vocabulary has
    mine = {"decoder_start_token_id": 40, "lang_to_id": {"<|en|>": 42, "<|xx|>": 50}}
    assert generation_rules.prompt_of(mine, language="en", vocabulary=50) == [40, 42]


def test_a_pad_token_outside_the_vocabulary_is_named():
    config = SimpleNamespace(end=3, pad=None, vocabulary=50)
    assert generation_rules.end_and_pad({"pad_token_id": None}, config) == ([3], 3)
    assert generation_rules.end_and_pad({"pad_token_id": 7}, config) == ([3], 7)
    with pytest.raises(ValueError, match="pad_token_id must lie in 0 to 49, .* got 50"):
        generation_rules.end_and_pad({"pad_token_id": 50}, config)


def test_settings_of_old_folders():
    config = {"forced_decoder_ids": [[1, 5]], "suppress_tokens": [1], "eos_token_id": 2}
    assert generation_rules.settings_of(config, None) == config
    both = generation_rules.settings_of(config, {"eos_token_id": [7, 8]})
    assert both == {"forced_decoder_ids": [[1, 5]], "eos_token_id": [7, 8]}
    assert generation_rules.end_tokens(both) == [7, 8]
