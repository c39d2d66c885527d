"""Figures for the cards, and what `train` makes of the numbers that were typed."""

import argparse
import math
import types

import numpy as np
import pytest

from speechlib import cli, metrics
from speechlib.recipes import command, scoring


def test_a_figure_says_what_it_is_of_and_lies_in_its_interval():
    right = [1.0] * 90 + [0.0] * 10
    found = scoring.figure("share", np.mean, right, "a hundred coins", baseline={"chance": 0.5})
    assert found["on"] == "a hundred coins" and found["share"] == 0.9 and found["items"] == 100
    low, high = found["interval_95"]
    # the binomial's own 95 % around 0.9 of 100: 0.9 -+ 1.96 * sqrt(0.9 * 0.1 / 100)
    assert (low, high) == (pytest.approx(0.841, abs=0.015), pytest.approx(0.959, abs=0.015))
    assert found["baseline"] == {"chance": 0.5}


def test_the_bootstrap_is_seeded_and_narrows_with_more_items():
    values = list(np.random.default_rng(0).normal(size=40))
    once = metrics.bootstrap(np.mean, values)
    assert metrics.bootstrap(np.mean, values) == once != metrics.bootstrap(np.mean, values, seed=1)
    many = metrics.bootstrap(np.mean, values * 9)
    assert (many[1] - many[0]) == pytest.approx((once[1] - once[0]) / 3, rel=0.2)


def test_draws_that_have_no_such_number_are_left_out():
    """Of two trials a draw is often of one kind only: no equal error rate there."""

    def eer(trials):
        scores, same = zip(*trials, strict=True)
        return metrics.eer(scores, same)

    assert metrics.bootstrap(eer, [(0.9, True), (0.1, False)]) == (0.0, 0.0)
    with pytest.raises(ValueError, match="none of 1000 draws"):
        metrics.bootstrap(eer, [(0.9, True)])
    with pytest.raises(ValueError, match="got none"):
        metrics.bootstrap(np.mean, [])


def test_word_error_rate_is_that_of_metrics():
    pairs = [("one two", "one"), ("three", "three"), ("four", "five")]
    found = scoring.wer_figure(pairs, "three texts")
    assert found["word_error_rate"] == 0.5 and (found["recordings"], found["words"]) == (3, 4)
    assert found["baseline"] == {"empty text": 1.0} and metrics.wer([pairs[0][0]], [""]) == 1.0
    assert found["baseline"] == {"empty text": 1.0} and metrics.wer([pairs[0][0]], [""]) == 1.0
    interval = metrics.wer_interval(*zip(*pairs, strict=True))
    assert found["interval_95"] == pytest.approx(interval, abs=1e-4)


def test_accuracy_comes_with_what_is_reached_without_listening():
    wanted = ["a"] * 6 + ["b"] * 3 + ["c"]
    found = ["a"] * 5 + ["b"] * 4 + ["c"]
    figure = scoring.accuracy_figure(wanted, found, "ten", labels=list("abcd"))
    assert figure["accuracy"] == 0.9 and figure["items"] == 10
    assert figure["baseline"] == {"majority": 0.6, "chance": 0.25}
    assert figure["confusion"]["labels"] == list("abcd")
    assert figure["confusion"]["counts"][0] == [5, 1, 0, 0]
    named = scoring.accuracy_figure(wanted, found, "ten", name="exact_match", picture=False)
    assert named["exact_match"] == 0.9 and "confusion" not in named


def test_no_mistake_seen_does_not_mean_that_there_are_none():
    """Against scipy's binomial test: the interval is what 54 of 54 does not rule out."""
    from scipy.stats import binomtest

    exact = binomtest(54, 54).proportion_ci(method="exact")
    assert scoring.accuracy_figure(["a"] * 54, ["a"] * 54, "54", labels="ab")["interval_95"] == (
        pytest.approx([exact.low, exact.high], abs=1e-4)
    )
    none = binomtest(0, 54).proportion_ci(method="exact")
    assert scoring.accuracy_figure(["a"] * 54, ["b"] * 54, "54", labels="ab")["interval_95"] == (
        pytest.approx([none.low, none.high], abs=1e-4)
    )
    perfect = scoring.wer_figure([("one two", "one two")] * 27, "27 texts")
    assert perfect["interval_95"] == pytest.approx([none.low, none.high], abs=1e-4)


def test_confusion_has_wanted_rows_and_keeps_every_item():
    table = scoring.confusion([1, 1, 2], [1, 2, None], [1, 2])
    assert table == {"labels": ["1", "2", "nothing"], "counts": [[1, 1, 0], [0, 0, 1], [0, 0, 0]]}


def test_word_confusion_aligns_the_texts():
    table = scoring.word_confusion([("one two", "one"), ("two", "one two")], ["one", "two"])
    assert table["labels"] == ["one", "two", "nothing"]
    assert table["counts"] == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]


# -- train: what was typed


def typed(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(["whisper-digits", *words])


def test_a_recipes_own_numbers_fill_what_was_not_typed(monkeypatch):
    seen = []
    own = types.SimpleNamespace(
        DEFAULTS={"steps": 7, "rate": 0.5, "seed": 3}, TAKES=(), run=seen.append
    )
    monkeypatch.setattr(command, "recipe", lambda name: own)
    command.run(typed("--rate", "0.25"))
    (args,) = seen
    assert (args.steps, args.rate, args.batch, args.decay) == (7, 0.25, 32, 0.3)
    assert (args.seed, args.threads, args.watch) == (3, 2, 80)
    assert args.out == "runs/whisper-digits" and args.data == [] and args.start is None


@pytest.mark.parametrize("name", command.RECIPES)
def test_an_option_that_a_recipe_does_not_use_is_refused(name, tmp_path):
    """It would be trained without it, and nobody would know."""
    takes = command.recipe(name).TAKES
    given = {"data": [str(tmp_path)], "start": "x", "library": [str(tmp_path)],
             "real": str(tmp_path), "leave_out": ["x"], "watch": 3}  # fmt: skip
    assert set(takes) <= set(given) == set(command.OPTIONS)
    for option in set(given) - set(takes):
        args = typed()
        args.name = name
        setattr(args, option, given[option])
        with pytest.raises(ValueError, match=f"{name} does not use --{option.replace('_', '-')}"):
            command.run(args)


def test_a_folder_without_a_library_is_refused(tmp_path):
    args = typed("--data", "/nowhere")
    args.name = "whisper-commands"
    with pytest.raises(ValueError, match="--data: there is no folder /nowhere"):
        command.run(args)
    with pytest.raises(ValueError, match="holds no library"):
        command.run(typed("--library", str(tmp_path)))


@pytest.mark.parametrize(
    "name, start, said",
    [
        ("whisper-digits", "wavlm-ctc", "expected a Whisper, got wavlm-ctc, a CTCModel"),
        ("whisper-digits", "whisper-commands", "of another size: .*vocabulary"),
        ("whisper-commands", "wavlm-ctc", "expected a Whisper, got wavlm-ctc"),
        ("whisper-keywords", "whisper-keywords", "a SequenceClassifier"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(name, start, said, tmp_path, monkeypatch):
    args = typed("--start", start, "--steps", "1", "--out", str(tmp_path))
    args.name = name
    module = command.recipe(name)
    for clips in ("corpus_clips", "library_clips", "command_clips", "keyword_clips"):
        monkeypatch.setattr(module, clips, lambda *given: iter(()), raising=False)
    with pytest.raises(ValueError, match=said):
        command.run(args)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--batch", "-3"], "--batch must be at least 1"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--rate", "0"], "--rate must be more than 0"),
        (["--rate", "nan"], "--rate must be more than 0"),
        (["--rate", "inf"], "--rate must be more than 0"),
        (["--decay", "1.5"], "--decay is a share"),
        (["--seed", "-1"], "--seed must be 0 or more"),
        (["--data", "/nowhere"], "whisper-digits does not use --data"),
        (["--library", "/nowhere"], "--library: there is no folder /nowhere"),
        (["--leave-out", "anna"], "--leave-out names speakers of --real"),
    ],
)
def test_numbers_and_folders_that_cannot_be_are_one_line(words, said, capsys):
    assert cli.main(["train", "whisper-digits", *words]) == 2
    line = capsys.readouterr().err.strip()
    assert said in line and "\n" not in line


def test_an_unknown_checkpoint_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "whisper-songs"])
    assert ended.value.code == 2
    line = capsys.readouterr().err.strip()
    assert "whisper-songs" in line and "whisper-digits" in line and "\n" not in line


@pytest.mark.parametrize("name", command.RECIPES)
def test_every_recipe_has_what_the_commands_need(name):
    module = command.recipe(name)
    assert callable(module.run) and callable(module.measure)
    assert all(math.isfinite(module.DEFAULTS[what]) for what in ("steps", "rate"))
