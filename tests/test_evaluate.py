"""`python -m speechlib evaluate`: good and bad weights are told apart, what is found is written,
and what the bundled checkpoints say of themselves is whole and true."""

import json
import shutil
import socket
import types
from pathlib import Path

import numpy as np
import pytest

import speechlib as sl
from speechlib import cli
from speechlib.recipes import cards, command, digit_figures, scoring

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
BUNDLED = sorted((DATA / "checkpoints").iterdir())
by_name = pytest.mark.parametrize("folder", BUNDLED, ids=lambda folder: folder.name)


def said(capsys, *words):
    """(exit code, stdout, stderr) of one command line."""
    code = cli.main(["evaluate", *words])
    out, err = capsys.readouterr()
    return code, out, err


# -- what the bundled checkpoints say of themselves


def test_the_readme_says_of_checkpoints_what_the_cards_say():
    text = (DATA / "README.md").read_text(encoding="utf-8")
    between = text.partition(cards.BEGIN)[2].partition(cards.END)[0]
    assert between.strip("\n") == cards.section(DATA), (
        "data/README.md and the cards differ: `python -m speechlib evaluate NAME` writes both"
    )


@by_name
def test_a_card_is_whole_and_true(folder):
    (card,) = [card for card in sl.available() if card["name"] == folder.name]
    assert {"task", "system", "parameters", "metrics", "licence", "data", "limits"} <= set(card)
    model = sl.load(folder.name)
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    for name, figure in card["metrics"].items():
        items, result, *_ = cards.row(figure)
        counted = items or any(isinstance(value, list) for value in figure.values())
        assert figure["on"] and counted and result, f"{name}: on what, how many, how good?"
    low, high = card["metrics"]["test"]["interval_95"]
    assert low <= high and folder.name in command.RECIPES


@by_name
def test_a_checkpoint_is_small_and_nothing_but_plain_files(folder):
    from safetensors import safe_open

    names = {file.name for file in folder.iterdir()}
    assert {n for n in names if not n.endswith((".json", ".txt"))} == {"model.safetensors"}
    assert (folder / "model.safetensors").stat().st_size <= 6e6
    with safe_open(folder / "model.safetensors", framework="np") as file:
        tensors = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
    if sum(tensor.size for tensor in tensors) > 1.5e6:
        assert {tensor.dtype for tensor in tensors if tensor.dtype.kind == "f"} == {np.dtype("f2")}


def test_all_checkpoints_together_are_small():
    size = sum(file.stat().st_size for folder in BUNDLED for file in folder.iterdir())
    assert size <= 25e6
    assert [entry["name"] for entry in sl.available()] == [folder.name for folder in BUNDLED]
    assert not any("confusion" in f for one in sl.available() for f in one["metrics"].values())


@pytest.mark.parametrize("name", command.RECIPES)
def test_a_picture_of_confusions_is_small_and_there_where_a_card_has_some(name):
    card = cards.read(DATA / "checkpoints" / name)
    picture = DATA / "pictures" / f"{name}-confusion.png"
    assert picture.is_file() == bool(cards.confused(card))
    if picture.is_file():
        assert picture.stat().st_size < 60_000


# -- measuring


@pytest.fixture
def few(monkeypatch):
    """The digits of two utterances a split and kind."""
    whole = sl.corpus.digits
    monkeypatch.setattr(
        digit_figures.corpus, "digits", lambda *given, **named: whole(*given, **named)[:2]
    )


def test_random_weights_get_a_bad_figure_and_trained_ones_a_good_one(few, tmp_path, capsys):
    import torch

    from speechlib.recipes import whisper_digits

    torch.manual_seed(0)
    folder = tmp_path / "whisper-digits"
    whisper_digits.write_checkpoint(sl.Whisper(whisper_digits.config()).eval(), folder)
    readme = (DATA / "README.md").read_bytes()
    assert said(capsys, str(folder))[0] == 0
    random = cards.read(folder)["metrics"]["test"]
    shutil.copytree(DATA / "checkpoints" / "whisper-digits", tmp_path / "mine")
    assert said(capsys, str(tmp_path / "mine"), "--as", "whisper-digits")[0] == 0
    trained = cards.read(tmp_path / "mine")["metrics"]["test"]
    assert trained["word_error_rate"] <= 0.3 and random["word_error_rate"] >= 0.8
    assert (folder / "confusion.png").is_file()
    assert (DATA / "README.md").read_bytes() == readme  # not a bundled one: no business there


def test_all_of_nothing_is_an_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SPEECHLIB_DATA", str(tmp_path))
    assert cli.main(["evaluate", "--all"]) == 2
    assert f"no checkpoints in {tmp_path}" in capsys.readouterr().err


def test_the_network_may_be_cut(few, monkeypatch, capsys):
    def cut(*given, **named):
        raise AssertionError("something looked for the network")

    monkeypatch.setattr(socket, "create_connection", cut)
    monkeypatch.setattr(socket.socket, "connect", cut)
    card = (DATA / "checkpoints" / "whisper-digits" / "card.json").read_bytes()
    code, out, _ = said(capsys, "whisper-digits", "--no-write")
    assert code == 0 and "WER" in out and "95 % interval" in out and "wrote" not in out
    assert (DATA / "checkpoints" / "whisper-digits" / "card.json").read_bytes() == card


# -- writing it down


@pytest.fixture
def bundled(monkeypatch, tmp_path):
    """A data folder of our own with whisper-digits in it, and a recipe that measures at once."""
    data = tmp_path / "data"
    shutil.copytree(DATA / "checkpoints" / "whisper-digits", data / "checkpoints/whisper-digits")
    (data / "README.md").write_text(f"before\n{cards.BEGIN}\nyesterday\n{cards.END}\nafter\n")
    monkeypatch.setenv("SPEECHLIB_DATA", str(data))
    figure = scoring.accuracy_figure(list("aab"), list("abb"), "three | letters")
    seen = []

    def measure(model, args):
        seen.append((model, args))
        return {"test": figure}

    monkeypatch.setattr(command, "recipe", lambda name: types.SimpleNamespace(measure=measure))
    return data, seen


def test_card_table_and_picture_are_written(bundled, capsys):
    data, seen = bundled
    code, out, _ = said(capsys, "whisper-digits", "--real", str(data), "--only", "anna")
    assert code == 0 and "66.7 % accuracy" in out and "majority 66.7 %, chance 50.0 %" in out
    ((model, args),) = seen
    assert not model.training and (args.real, args.only) == (str(data), ["anna"])
    card = json.loads((data / "checkpoints/whisper-digits/card.json").read_text())
    assert card["metrics"]["test"]["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert "valid" in card["metrics"]  # what was not measured this time is kept
    readme = (data / "README.md").read_text()
    assert (
        readme.startswith("before\n") and readme.endswith("\nafter\n") and "yesterday" not in readme
    )
    assert "| three / letters | 3 items | 66.7 % accuracy |" in readme
    alt = "2 classes, 2 of 3 on the diagonal; most often a was taken for b (1)."
    assert f"{alt}](pictures/whisper-digits-confusion.png)" in readme
    assert (data / "pictures/whisper-digits-confusion.png").read_bytes()[:4] == b"\x89PNG"
    first = (data / "README.md").read_bytes()
    assert said(capsys, "--all")[0] == 0 and (data / "README.md").read_bytes() == first


def test_tables_can_be_written_again_from_the_cards(bundled, capsys):
    data, seen = bundled
    code, out, _ = said(capsys, "--from-cards")
    assert code == 0 and not seen and "README.md" in out
    assert cards.section(data) in (data / "README.md").read_text()
    assert (data / "pictures/whisper-digits-confusion.png").is_file()
    code, _, err = said(capsys, "--from-cards", "--all")
    assert code == 2 and "give it alone" in err
    (data / "README.md").write_text("nothing")
    code, _, err = said(capsys, "--from-cards")
    assert code == 2 and "no place for checkpoints" in err


def test_nothing_is_written_when_told_so(bundled, capsys):
    data, _ = bundled
    before = {file: file.read_bytes() for file in data.rglob("*") if file.is_file()}
    assert said(capsys, "whisper-digits", "--no-write")[0] == 0
    assert {file: file.read_bytes() for file in data.rglob("*") if file.is_file()} == before


def test_a_card_keeps_what_it_says_through_writing(tmp_path):
    card = cards.read(DATA / "checkpoints" / "whisper-digits")
    cards.write(tmp_path, card)
    assert cards.read(tmp_path) == card
    lines = (tmp_path / "card.json").read_text().splitlines()
    assert any(line.strip().startswith('"interval_95": [0.') for line in lines)
    cards.write(tmp_path, {"metrics": {"test": {"share": 2 / 3, "ends": [1 / 3, 1.0], "items": 3}}})
    kept = cards.read(tmp_path)["metrics"]["test"]
    assert kept == {"share": 0.666667, "ends": [0.333333, 1.0], "items": 3}


# -- what a user can get wrong


@pytest.mark.parametrize(
    "words, wrong",
    [
        ([], "name a checkpoint (whisper-digits"),
        (["whisper-songs"], "'whisper-songs' is neither a folder nor a bundled checkpoint"),
        (["openai/whisper-tiny"], "neither a folder nor a bundled checkpoint"),
        (["quick-digits"], "nor a bundled checkpoint"),  # made where it is needed
        (["whisper-digits", "--all"], "give one or the other"),
        (["whisper-digits", "--real", "/nowhere", "--only", "anna"], "no folder /nowhere"),
        (["whisper-digits", "--real", "/tmp"], "--only SPEAKER"),
        (["whisper-digits", "--only", "anna"], "--real FOLDER"),
        (["whisper-digits", "--as", "songs"], "no recipe for 'songs'"),
        (["EMPTY"], "has no config.json"),
        (["COPY"], "which checkpoint is"),
        (["OTHER", "--as", "whisper-digits"], "is a WavLMModel; whisper-digits is a Whisper"),
    ],
)
def test_what_cannot_be_measured_is_one_line(words, wrong, tmp_path, capsys):
    (tmp_path / "EMPTY").mkdir()
    shutil.copytree(DATA / "checkpoints" / "whisper-digits", tmp_path / "COPY")
    (tmp_path / "OTHER").mkdir()
    (tmp_path / "OTHER" / "config.json").write_text('{"architectures": ["WavLMModel"]}')
    there = [str(tmp_path / word) if word.isupper() else word for word in words]
    code, out, err = said(capsys, *there)
    assert code == 2 and out == ""
    assert wrong in err and len(err.strip().splitlines()) == 1


def test_speakers_that_are_not_there_are_one_line(few, tmp_path, capsys):
    code, _, err = said(
        capsys, "whisper-digits", "--no-write", "--real", str(tmp_path), "--only", "anna"
    )
    assert code == 2 and "no files named digit_speaker_index.wav" in err


# -- a figure in words


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("word_error_rate", 0.0484, "4.8 %"),
        ("exact_match", 1.0, "100.0 %"),
        ("median_start_error_s", 0.012, "12 ms"),
        ("duration_s", 2.5, "2.50 s"),
        ("perplexity", 41.26, "41.3"),
        ("with_text", 1200, "1,200"),
        ("median_end_error_s", None, "no"),
    ],
)
def test_numbers_have_the_unit_that_their_name_tells(name, value, words):
    assert cards.worded(value, name) == words


def test_a_row_tells_counts_from_results():
    figure = scoring.wer_figure([("one two", "one")], "one recording", layer=3)
    assert cards.row(figure) == (
        *("1 recording, 2 words, layer 3", "50.0 % WER", "50.0 % to 50.0 %", "empty text 100.0 %"),
    )
    plain = {"on": "noise", "recordings": 18, "with_text": 2, "layer_weights": [0.25, 0.75]}
    assert cards.row(plain) == ("18 recordings", "2 with text, layer weights 0.25, 0.75", "", "")
    assert cards.row({"on": "noise", "recordings": 18, "result": "nothing said"})[1] == (
        "nothing said"
    )
