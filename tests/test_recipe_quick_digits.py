"""quick-digits: what it trains on, that looking on changes nothing, and what is seen."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import speechlib as sl
from speechlib import corpus, viz
from speechlib.corpus.mixing import clip_of
from speechlib.recipes import command, quick_digits, whisper_digits
from speechlib.recipes.watching import Glimpse, Watched
from speechlib.tokenizers import DIGIT_WORDS
from speechlib.viz.training_view import film_of

WORDS = (("three", 0.2, 0.6), ("one", 0.8, 1.2))
TINY = {"steps": 4, "batch": 2, "threads": 1, "live": False}


@pytest.fixture(scope="module")
def clips():
    """The clips of the first recordings of a few voices, so that nothing takes long."""
    some = [u for u in corpus.digits("train")[::13] if u.duration_s < 2]
    return [clip_of(u.wave(), u.text.split(), "string", u.voice) for u in some]


@pytest.fixture
def short(monkeypatch, clips):
    """A recipe with few clips and few strings to measure on, looked at after every step."""
    monkeypatch.setattr(whisper_digits, "corpus_clips", lambda split: clips)
    monkeypatch.setattr(quick_digits, "strings", lambda split, all=quick_digits.strings: [
        all(split)[0]])  # fmt: skip
    monkeypatch.setattr(quick_digits, "MEASURES", 1)


@pytest.fixture
def seen():
    """Two moments: the look spread evenly, and each word's look inside the word."""
    fog, clear = np.full((2, 150), 1 / 150), np.zeros((2, 150))
    clear[0, 20], clear[1, 50] = 1.0, 1.0
    return [Glimpse(0, fog, "", 0.1), Glimpse(300, clear, "three one", 1.0)]


def test_a_batch_says_where_each_word_is(clips):
    batch_at = quick_digits.batches(clips, 6, seed=0)
    lengths = set()
    for step in range(4):
        mel, labels, said = batch_at(step)
        lengths.add(mel.shape[2])
        assert mel.shape == (6, 80, 2 * said.shape[1]) and len(labels) == 6
        for row, frames in zip(labels.tolist(), said, strict=True):
            assert row[:3] == [2, 3, 4] and row.count(0) == 1
            written = [token for token in row[3:] if token > 0]
            heard = [int(name) for name in torch.unique_consecutive(frames) if name]
            digits = [(name - 1) // quick_digits.PARTS for name in heard]
            parts = [(name - 1) % quick_digits.PARTS for name in heard]
            assert digits[:: quick_digits.PARTS] == [token - 5 for token in written]
            assert parts == [*range(quick_digits.PARTS)] * len(written)
    assert len(lengths) > 1, "shorter windows save time"
    again = quick_digits.batches(clips, 6, seed=0)(3)
    assert all(torch.equal(one, other) for one, other in zip((mel, labels, said), again,
                                                             strict=True))  # fmt: skip


def test_only_voices_of_the_train_split_are_trained_on():
    trained = {clip.voice for clip in whisper_digits.corpus_clips("train")}
    for split in ("valid", "test"):
        assert trained.isdisjoint(u.voice for u in corpus.digits(split))
    assert len(trained) > 20 and quick_digits.strings("valid")


def test_the_shown_string_is_of_the_valid_split_and_fits():
    one = quick_digits.watched()
    words = [word for word, *_ in one.words]
    assert len(words) == len(set(words)) == 4 and set(words) <= set(DIGIT_WORDS)
    assert one.mel.shape == (80, 100 * quick_digits.SECONDS)
    assert one.words[-1][2] < quick_digits.SECONDS
    assert sl.corpus.digits("valid")[quick_digits.SHOWN].voice not in {
        u.voice for u in corpus.digits("train")
    }


def test_a_run_gives_a_model_a_log_and_pictures(short, tmp_path, capsys):
    threads = torch.get_num_threads()
    trained = quick_digits.train_quickly(tmp_path, **TINY)
    assert torch.get_num_threads() == threads
    assert [row["step"] for row in trained.log] == [1, 2, 3, 4]
    assert "words wrong" in trained.log[-1] and "words wrong" in capsys.readouterr().out
    assert [glimpse.step for glimpse in trained.live.glimpses] == [0, 1, 2, 3, 4]
    rows = [glimpse.weights.sum(axis=1) for glimpse in trained.live.glimpses]
    assert np.allclose(rows, 1, atol=1e-4)
    assert "after 4 steps" in trained.live.alt and "Step 4 of 4" in trained.live.alt
    assert set(sl.transcribe(np.ones(16000, np.float32), trained.model).text.split()) <= set(
        DIGIT_WORDS
    )
    again = quick_digits.train_quickly(tmp_path, **TINY)  # from nothing, not on from there
    assert [row["loss"] for row in again.log] == [row["loss"] for row in trained.log]


def test_it_learns_from_the_first_steps_on(short, tmp_path, monkeypatch):
    monkeypatch.setattr(quick_digits, "LOOKS", 1)
    trained = quick_digits.train_quickly(tmp_path, **TINY | {"steps": 30, "batch": 8})
    losses = [row["loss"] for row in trained.log]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    first, last = trained.live.glimpses
    assert (first.step, last.step) == (0, 30) and not np.allclose(first.weights, last.weights)


def test_looking_changes_nothing(short, tmp_path, monkeypatch):
    often = quick_digits.train_quickly(tmp_path / "often", **TINY)
    monkeypatch.setattr(quick_digits, "LOOKS", 1)
    seldom = quick_digits.train_quickly(tmp_path / "seldom", **TINY)
    assert len(often.live.glimpses) > len(seldom.live.glimpses)
    assert [row["loss"] for row in often.log] == [row["loss"] for row in seldom.log]


def test_the_command_goes_on_where_it_stopped_and_leaves_pictures(short, tmp_path, capsys):
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    typed = ["quick-digits", "--steps", "3", "--batch", "2", "--threads", "1"]
    for _ in range(2):  # the second time there is nothing left to do
        assert command.run(parser.parse_args([*typed, "--out", str(tmp_path)])) == 0
        assert (tmp_path / "film.png").read_bytes()[:4] == b"\x89PNG"
        assert str(tmp_path / "quick-digits") in capsys.readouterr().out
    assert sl.load(str(tmp_path / "quick-digits")).config.mel_frames == 300


def test_an_unknown_setting_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected steps, batch, rate, decay, got width"):
        quick_digits.train_quickly(tmp_path, width=64)


def test_the_share_inside_the_words_is_counted(seen):
    one = Watched(np.zeros((80, 300)), WORDS, [8, 6], (1, 2, 3, 4), str)
    fog, clear = (one.inside(glimpse.weights) for glimpse in seen)
    assert clear == 1.0 and fog == pytest.approx(24 / 150)
    with pytest.raises(ValueError, match="one token a word"):
        Watched(np.zeros((80, 300)), WORDS, [8], (1, 2, 3, 4), str)


def test_the_view_tells_what_it_shows(seen):
    live = viz.LiveTraining(np.zeros((80, 300)), WORDS, steps=300)
    with pytest.raises(ValueError, match="no glimpse"):
        live.draw()
    live.seen(seen[0])
    assert "Step 0 of 300" in live.alt and "(nothing)" in live.alt and "<img" in live.picture.value
    assert [text.get_text() for text in live.figure.texts] == [
        "The curves appear\nwith the first steps."]
    assert "the boxes show when each was said" in live.second.value
    for step in range(1, 301):
        live({"step": step, "loss": 1 / step, "rate": 1.0})
    first = live.picture.value
    live.seen(seen[1])
    assert live.picture.value != first
    told = "Said: three one. Written by the model: three one. At step 300 100% of its attention lay"
    assert told in live.alt and "after 300 steps" in live.alt and "“one” at 1.00 s" in live.alt
    assert live.second.value.count("<b>three one</b>") == 2
    bundle, _ = live._repr_mimebundle_()  # what a saved notebook keeps
    assert live.picture.value in bundle["text/html"] and len(bundle["text/html"]) < 100_000


def test_between_two_pictures_the_view_says_how_far_it_is(seen, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("IPython.display.display", lambda view, display_id: object())
    live = viz.LiveTraining(np.zeros((80, 300)), WORDS, steps=300)
    live.show()
    live.seen(seen[0])
    picture = live.picture.value
    assert "Step 0 of 300: the recordings are being prepared." in live.second.value
    clock[0] += 60  # the preparation: it says nothing about the pace of the steps
    for step in range(1, 12):
        live({"step": step, "loss": 1.0, "rate": 1.0})
        clock[0] += 0.5
    assert "Step 9 of 300 after 64 s, about 146 s" not in live.second.value
    assert "Step 9 of 300 after 64 s, about 2 minutes left." in live.second.value
    assert "At step 0 10% of its attention" in live.second.value
    assert live.picture.value is picture


def test_an_interrupted_training_gives_what_it_has(monkeypatch, tmp_path, capsys):
    batches = quick_digits.batches

    def until_stopped(clips, batch, seed):
        batch_at = batches(clips, batch, seed)

        def stopped_at(step):
            if step == 3:
                raise KeyboardInterrupt
            return batch_at(step)

        return stopped_at

    monkeypatch.setattr(quick_digits, "batches", until_stopped)
    found = quick_digits.train_quickly(tmp_path, steps=8, batch=2, live=False)
    assert "stopped at step 3 of 8" in capsys.readouterr().out
    assert len(found.log) == 3 and sum(p.numel() for p in found.model.parameters()) > 400_000
    assert "step 3" in found.live.film().axes[-1].get_title()


def test_the_saved_notebook_keeps_the_last_picture(seen, monkeypatch):
    live, updates = viz.LiveTraining(np.zeros((80, 300)), WORDS, steps=300), []

    class Handle:
        def update(self, view):
            updates.append(view._repr_mimebundle_()[0]["text/html"])

    monkeypatch.setattr("IPython.display.display", lambda view, display_id: Handle())
    live.show()
    for one in seen:
        live.seen(one, draw=False)
    live.finish()
    assert len(updates) == 1 and "Step 300 of 300" in updates[0] and "<img" in updates[0]


def test_the_film_shows_a_few_moments(seen):
    way = [replace(seen[0], step=step) for step in range(0, 321, 20)] + [seen[1]]
    way = sorted(way, key=lambda glimpse: glimpse.step)
    assert [glimpse.step for glimpse in film_of(way)] == [0, 20, 80, 320]
    assert [glimpse.step for glimpse in film_of(seen)] == [0, 300]
    drawn = viz.plot_film(seen, WORDS, valid_s=1.5)
    assert len(drawn.axes) == 2 and drawn.axes[0].get_xlim() == (0, 1.5)
    assert re.search("step 0 10%, step 300 100%", drawn.alt)
    rows = [artist.get_array() for artist in drawn if hasattr(artist, "get_array")][:2]
    assert all(np.allclose(row.max(axis=1), 1) for row in rows)  # each row has its own scale
    with pytest.raises(ValueError, match="no glimpse"):
        viz.plot_film([], WORDS)
