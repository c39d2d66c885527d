"""The toy corpus: what is shipped, whether its times are true, whether it is made again alike."""

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from speechlib import audio, corpus, paths
from speechlib.corpus import (
    build,
    espeak,
    festival,
    recordings,
    synthesise,
    synthesisers,
    voices,
    whole_words,
)
from speechlib.corpus.speech import Line, Speech, ogg_bytes, resample, tidy, widen_gaps
from speechlib.corpus.voices import DIGITS

FOLDER = paths.data_folder() / "digits"
TOY = build.toy_voices()


def lacking():
    try:
        synthesisers.require(list(TOY.values()))
    except ValueError as error:
        return str(error)
    return ""


needs_synthesisers = pytest.mark.skipif(bool(lacking()), reason=lacking())


@pytest.fixture(scope="module")
def everything():
    return corpus.digits(kind=None)


# -- what is shipped -----------------------------------------------------------------------------


def wrong_files(folder):
    """Names whose checksum differs, that are missing, or that nobody listed."""
    listed = dict(reversed(row.split()) for row in (folder / "SHA256SUMS").read_text().splitlines())
    found = {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
             for file in folder.glob("*/*")}
    return sorted(name for name in listed.keys() | found.keys()
                  if listed.get(name) != found.get(name))


def test_every_file_is_as_it_was_made(everything):
    assert wrong_files(FOLDER) == []
    assert len(everything) == len(list(FOLDER.glob("*/*.ogg")))
    assert all(utterance.path.is_file() for utterance in everything)


def test_a_changed_or_foreign_file_is_noticed(tmp_path):
    (tmp_path / "train").mkdir()
    for name, content in (("a", b"one"), ("b", b"two"), ("c", b"three")):
        (tmp_path / "train" / name).write_bytes(content)
    sums = [f"{hashlib.sha256(content).hexdigest()}  train/{name}\n"
            for name, content in (("a", b"one"), ("b", b"too"), ("d", b"four"))]
    (tmp_path / "SHA256SUMS").write_text("".join(sums))
    assert wrong_files(tmp_path) == ["train/b", "train/c", "train/d"]


def test_size_and_variety():
    people = corpus.speakers()
    assert sum(file.stat().st_size for file in FOLDER.rglob("*")) <= 6_000_000
    assert len(people) >= 24
    assert {voice["synthesiser"] for voice in people.values()} == {"espeak-ng", "flite"}
    for sex in ("female", "male"):
        assert sum(voice["sex"] == sex for voice in people.values()) >= 10
    assert len({voice["accent"] for voice in people.values()}) >= 12


def test_no_voice_and_no_timbre_is_in_two_splits(everything):
    people = corpus.speakers()
    splits = {}
    for utterance in everything:
        if utterance.voice:
            assert people[utterance.voice]["split"] == utterance.split
            assert utterance.path.parent.name == utterance.split
            splits.setdefault(people[utterance.voice]["timbre"], set()).add(utterance.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} == {"train", "valid", "test"}


def test_each_split_has_each_digit_and_each_length():
    for split in ("train", "valid", "test"):
        texts = [utterance.text.split() for utterance in corpus.digits(split)]
        assert {word for text in texts for word in text} == set(DIGITS)
        assert {len(text) for text in texts} == {1, 2, 3, 4}


def test_words_and_phones_are_in_order_and_inside(everything):
    for utterance in everything:
        assert [word for word, _, _ in utterance.words] == utterance.text.split()
        for spans in (utterance.words, utterance.phones):
            times = [time for _, start, end in spans for time in (start, end)]
            assert times == sorted(times)
            assert not times or 0 <= times[0] and times[-1] <= utterance.duration_s
        for _, start, end in utterance.words:
            inside = [span for span in utterance.phones if start <= span[1] and span[2] <= end]
            assert inside and (inside[0][1], inside[-1][2]) == (start, end)


def test_the_sound_is_sound(everything):
    for utterance in everything:
        wave = utterance.wave()
        assert wave.dtype == np.float32 and wave.ndim == 1
        assert len(wave) / audio.SAMPLE_RATE == pytest.approx(utterance.duration_s, abs=0.001)
        assert len(wave) / audio.SAMPLE_RATE <= build.LONGEST_S
        peak = np.abs(wave).max()
        assert peak < 1  # nothing is clipped
        assert peak > 0.2 or utterance.kind in ("silence", "noise")
    assert everything[0].mel().shape == (80, 600)


def card_row(split, utterances):
    """How the data card begins its row on a split."""
    digits = sum(utterance.kind == "digits" for utterance in utterances)
    others = len(utterances) - digits
    count = f"{digits} digits + {others} others" if others else str(digits)
    people = corpus.speakers()
    said_by = {utterance.voice for utterance in utterances if utterance.voice}
    sexes = [people[voice]["sex"] for voice in said_by]
    seconds = round(sum(utterance.duration_s for utterance in utterances))
    return (f"| {split} | {count} | {len(said_by)} | {sexes.count('female')}, "
            f"{sexes.count('male')} | {seconds} |")


def test_the_data_card_has_the_figures(everything):
    card = (FOLDER.parent / "README.md").read_text("utf-8")
    for split in ("train", "valid", "test"):
        part = [utterance for utterance in everything if utterance.split == split]
        assert card_row(split, part) in card
        assert card_row(split, part[1:]) not in card


# -- are the times true? -------------------------------------------------------------------------


def edge_errors(utterance, wave, shift_s=0.0):
    """How far (s) the energy's rise is from a word's start after a pause, its fall from the end."""
    hop = 80
    frames = len(wave) // hop
    power = np.square(wave[: frames * hop].reshape(frames, hop)).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 1e-3) * hop / audio.SAMPLE_RATE
    words = [(start + shift_s, end + shift_s) for _, start, end in utterance.words]
    edges = [-1.0, *(time for word in words for time in word), 99.0]
    starts, ends = [], []
    for n, (start, end) in enumerate(words):
        before, after = edges[2 * n], edges[2 * n + 3]
        if start - before > 0.2:
            starts += [time - start for time in loud if before + 0.1 < time < end][:1]
        if after - end > 0.2:
            ends += [time + hop / audio.SAMPLE_RATE - end for time in loud
                     if start < time < after - 0.1][-1:]
    return starts, ends


@pytest.mark.parametrize("synthesiser", ["espeak-ng", "flite"])
def test_word_times_agree_with_the_energy(everything, synthesiser):
    people, right, late = corpus.speakers(), [], []
    for utterance in everything:
        if utterance.words and people[utterance.voice]["synthesiser"] == synthesiser:
            wave = utterance.wave()
            right.append(edge_errors(utterance, wave))
            late.append(edge_errors(utterance, wave, shift_s=0.1))

    def median(pairs, side):
        return np.median(np.abs(np.concatenate([pair[side] for pair in pairs])))

    assert median(right, 0) < 0.02 and median(right, 1) < 0.03
    assert median(late, 0) > 0.06 and median(late, 1) > 0.06  # what wrong times look like


# -- reading it ----------------------------------------------------------------------------------


def test_digits_takes_a_split_and_a_kind(everything):
    parts = [corpus.digits(split) for split in ("train", "valid", "test")]
    assert sum(map(len, parts)) == len(corpus.digits())
    assert all(utterance.text for utterance in corpus.digits())
    others = [utterance for utterance in everything if utterance.kind != "digits"]
    assert len(others) >= 12 and all(u.text == "" and u.split == "test" for u in others)
    assert {utterance.kind for utterance in others} == {"words", "noise", "silence"}
    with pytest.raises(ValueError, match="expected split to be one of train, valid, test"):
        corpus.digits("dev")
    with pytest.raises(ValueError, match="expected kind"):
        corpus.digits(kind="music")


def test_without_data_the_reader_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHLIB_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="manifest.jsonl"):
        corpus.digits()


# -- the steps from a synthesiser to a file ------------------------------------------------------


def bursts(*spans, rate=16_000, hertz=1000, length_s=2.0):
    """A tone that sounds only in the given spans (s), with them as its words."""
    time = np.arange(round(length_s * rate)) / rate
    on = sum((time >= start) & (time < end) for start, end in spans)
    wave = (on * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
    return Speech(wave, [("one", *span) for span in spans], [("w", *span) for span in spans], rate)


def sounding(wave):
    """(start_s, end_s) of everything louder than nothing, pauses above 20 ms apart."""
    loud = np.flatnonzero(np.abs(wave) > 0.05 * np.abs(wave).max()) / audio.SAMPLE_RATE
    breaks = np.flatnonzero(np.diff(loud) > 0.02)
    return list(zip(loud[[0, *(breaks + 1)]], loud[[*breaks, -1]], strict=True))


def test_wider_gaps_move_the_times_with_the_sound():
    speech = bursts((0.0, 0.3), (0.4, 0.9), (1.5, 2.0))
    wide = widen_gaps(speech, Random(0), longest_s=0.5)
    assert len(wide.wave) > len(speech.wave) + 3200
    for (_, start, end), heard in zip(wide.words, sounding(wide.wave), strict=True):
        assert (start, end) == pytest.approx(heard, abs=0.006)
    assert wide.phones[1][1:] == wide.words[1][1:]


def test_tidy_cuts_the_silence_and_sets_the_peak():
    speech = tidy(bursts((0.5, 0.7), (1.0, 1.2)), margin_s=0.05, peak=0.6)
    assert len(speech.wave) / audio.SAMPLE_RATE == pytest.approx(0.8, abs=0.011)
    assert np.abs(speech.wave).max() == pytest.approx(0.6)
    for (_, start, end), heard in zip(speech.words, sounding(speech.wave), strict=True):
        assert (start, end) == pytest.approx(heard, abs=0.006)


def test_a_shorter_tract_is_higher_and_faster():
    speech = resample(bursts((0.5, 1.0), rate=22_050), tract=1.1)
    assert len(speech.wave) == pytest.approx(2.0 / 1.1 * 16_000, abs=2)
    peak = np.abs(np.fft.rfft(speech.wave)).argmax() * 16_000 / len(speech.wave)
    assert peak == pytest.approx(1100, abs=2)
    assert speech.words[0][1:] == pytest.approx((0.5 / 1.1, 1.0 / 1.1))


def test_a_wave_always_gives_the_same_file_and_it_can_be_read():
    import soundfile

    wave = 0.5 * bursts((0.2, 1.8)).wave
    data = ogg_bytes(wave)
    assert data == ogg_bytes(wave)
    back, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == 16_000 and len(back) == len(wave)
    assert np.corrcoef(back, wave)[0, 1] > 0.99


# -- the voices and the words --------------------------------------------------------------------


def test_held_out_timbres_and_accents_are_not_in_the_training_part():
    splits = {"train": [], "valid": [], "test": []}
    for voice in voices.all_voices():
        splits[voice.split].append(voice)
    trained = {voice.timbre for voice in splits["train"]}
    for split in ("valid", "test"):
        assert not trained & voices.TIMBRES[split]
        assert not {voice.accent for voice in splits["train"]} & voices.ACCENTS[split]
        assert {voice.synthesiser for voice in splits[split]} > {"espeak-ng"}  # a whole one, too
    assert 0.1 < 1 - len(splits["train"]) / sum(map(len, splits.values())) < 0.3
    names = [voice.name for part in splits.values() for voice in part]
    assert len(set(names)) == len(names) >= 500


def test_every_spelling_has_ten_words_and_other_words_hold_no_digit():
    for accent in voices.SPELLINGS:
        for spelling in voices.spellings(voices.espeak_voice("f1", accent)):
            assert list(spelling) == list(DIGITS) and all(spelling.values())
    assert not [word for word in synthesise.OTHER_WORDS for digit in DIGITS if digit in word]
    sound_alikes = {"for", "fore", "to", "too", "won", "ate", "nein", "tree", "free", "fife", "sex"}
    assert not sound_alikes & set(synthesise.OTHER_WORDS)


# -- making it again -----------------------------------------------------------------------------


def test_a_missing_synthesiser_is_one_line_with_the_packages(monkeypatch, capsys, tmp_path):
    from speechlib import cli

    monkeypatch.setattr(espeak, "library", lambda: None)
    monkeypatch.setattr(synthesisers.shutil, "which", lambda name: None)
    assert cli.main(["corpus", "build", "--out", str(tmp_path / "new")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "apt-get install espeak-ng flite" in told
    assert "Traceback" not in told and not (tmp_path / "new").exists()


@needs_synthesisers
def test_building_twice_gives_the_same_bytes(tmp_path):
    names = ["f04", "m13", "f21"]  # flutter and breath draw random numbers; flite
    rows = build.build(tmp_path / "one", names, workers=2)
    assert build.build(tmp_path / "two", names[::-1], workers=1) != []
    for row in rows:
        first, second = (tmp_path / part / row["file"] for part in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
    assert wrong_files(tmp_path / "one") == []
    shipped = {u.path.name: u for u in corpus.digits(kind=None)}
    for row in rows:  # another version of a synthesiser may sound different, not say other words
        utterance = shipped[row["file"].split("/")[1]]
        assert row["text"] == utterance.text
        assert row["duration_s"] == pytest.approx(utterance.duration_s, abs=0.5)


@needs_synthesisers
def test_a_voice_says_what_it_is_asked(tmp_path):
    entry = synthesise.write_voice(voices.espeak_voice("f2", "hi"), tmp_path)
    stored = np.load(tmp_path / "train" / "espeak-hi-f2.npz")
    digits, strings = 10 * synthesise.TAKES, synthesise.STRINGS
    assert entry["clips"] == {"digit": digits, "string": strings, "other": 0}
    assert len(stored["texts"]) == len(stored["starts"]) - 1 == digits + strings
    assert stored["samples"].dtype == np.int16 and stored["starts"][-1] == len(stored["samples"])
    for text, words in zip(stored["texts"], json.loads(str(stored["words"])), strict=True):
        assert [word for word, _, _ in words] == text.split()


def test_packages_of_missing_voices_are_named_one_by_one(monkeypatch, tmp_path):
    assert set(festival.PACKAGES) == {row[1] for row in voices.RECORDED if row[0] == "festival"}
    wanted = [voices.recorded_voice(row, 0) for row in voices.RECORDED if row[4] == "train"]
    told = "(kal_diphone lp_diphone czech_ph)\n"
    monkeypatch.setattr(festival.shutil, "which", lambda name: name)
    monkeypatch.setattr(festival.subprocess, "run",
                        lambda *_, **__: subprocess.CompletedProcess([], 0, told))
    monkeypatch.setattr(recordings, "FOLDER", tmp_path / "nowhere")
    monkeypatch.setattr(whole_words, "RHVOICE_FOLDER", tmp_path)
    (tmp_path / "anna").mkdir()
    with pytest.raises(ValueError, match="apt-get install") as error:
        synthesisers.require(wanted)
    packages = str(error.value).split("install ")[1].split()
    assert recordings.PACKAGE in packages and "festvox-czech-dita" in packages
    assert "rhvoice" in packages and "rhvoice-ukrainian" in packages
    assert not {"festvox-italp16k", "festvox-czech-ph", "festvox-kdlpc16k"} & set(packages)
    synthesisers.require([voice for voice in wanted if voice.timbre in ("anna", "en-GB")])


def test_every_voice_of_rhvoice_has_its_package():
    rows = [row for row in voices.RECORDED if row[0] in whole_words.PROGRAMS]
    assert {row[1] for row in rows if row[0] == "rhvoice"} == set(whole_words.RHVOICE)
    assert {row[0] for row in rows} == set(whole_words.PROGRAMS)
    spelled = [voices.spellings(voices.recorded_voice(row, 0)) for row in rows]
    assert all(len(one) == 10 for ways in spelled for one in ways)


def test_words_spoken_alone_are_joined_where_their_times_say():
    said = {}
    for n, word in enumerate(("seven", "two", "nine")):
        time = np.arange(1600 * (n + 2)) / audio.SAMPLE_RATE
        said[word] = Speech(np.sin(2000 * time).astype(np.float32), [], [])
    line = Line(("two", "nine", "seven"), ("tu", "nain", "seven"), ("", ",", "."))
    speech = whole_words.joined(line, [said[word] for word in line.words], gap_s=0.05)
    assert [(w, round(a, 3), round(b, 3)) for w, a, b in speech.words] == [
        ("two", 0.0, 0.3), ("nine", 0.35, 0.75), ("seven", 0.8, 1.0)
    ]  # fmt: skip
    for _, end, start in ((0, 0.3, 0.35), (1, 0.75, 0.8)):
        assert not speech.wave[round(end * 16000) : round(start * 16000)].any()


FAKE_PROGRAM = """#!/usr/bin/env python3
# speaks a tone of half a second, as fast and as high as it is asked to
import re, sys, wave
import numpy as np
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
text = sys.argv[-1] if "-w" in given else sys.stdin.read()
speed = float(given.get("-r") or re.search('speed level="(.*?)"', text)[1])
pitch = float(given.get("-t") or re.search('pitch level="(.*?)"', text)[1])
assert "sewwen." in text or "севен." in text, text
time = np.arange(int(24000 * 50 / speed)) / 24000
with wave.open(given.get("-w") or given["-o"], "wb") as file:
    file.setparams((1, 2, 24000, 0, "NONE", ""))
    file.writeframes((9999 * np.sin(2 * np.pi * 2 * pitch * time)).astype("<i2").tobytes())
"""


@pytest.mark.parametrize("timbre", ["de-DE", "anatol"])
def test_a_program_without_times_is_asked_for_one_word_at_a_time(timbre, tmp_path, monkeypatch):
    for name in ("pico2wave", "RHVoice-test"):
        (tmp_path / name).write_text(FAKE_PROGRAM.replace("python3", sys.executable, 1)
                                     .replace("/usr/bin/env ", ""))  # fmt: skip
        (tmp_path / name).chmod(0o755)
    (tmp_path / timbre).mkdir()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(whole_words, "RHVOICE_FOLDER", tmp_path)
    voice = replace(timed_voice(timbre), pitch=120, stretch=1.25, tract=0.8)
    word = {"de-DE": "sewwen", "anatol": "севен"}[timbre]
    lines = [Line(("seven", "seven"), (word, word), (",", "."))] * 8
    spoken = synthesisers.speak(voice, lines)
    takes = sorted({round(end - start, 1) for speech in spoken for _, start, end in speech.words})
    # half a second, 1.25 times as slow: a shorter or longer vocal tract leaves the pace alone
    assert takes == [round(0.625 * stretch, 1) for stretch, _ in whole_words.TAKES]
    for speech in spoken:
        (_, start, end), _ = speech.words
        wave = speech.wave[round(start * 16000) : round(end * 16000)]
        crossings = np.count_nonzero(np.diff(np.signbit(wave))) / 2 / (end - start)
        assert min(abs(crossings / (2 * 120 * pitch) - 1) for _, pitch in whole_words.TAKES) < 0.03


def timed_voice(timbre):
    """One recorded voice, changed in pitch and pace, if what speaks it is here."""
    row = next(row for row in voices.RECORDED if row[1] == timbre)
    voice = voices.recorded_voice(row, 2)
    try:
        synthesisers.require([voice])
    except ValueError as error:
        pytest.skip(str(error))
    return voice


# those that speak word by word are in Debian's part non-free, which CI does not ask for
FREE = ["lp_diphone", "czech_krb", "msu_ru_nsh_clunits", "Allison"]
NONFREE = [timbre for timbre, program in (("de-DE", "pico2wave"), ("bdl", "RHVoice-test"))
           if shutil.which(program)]  # fmt: skip


@pytest.mark.parametrize("timbre", FREE + NONFREE)
def test_times_of_recorded_voices_agree_with_the_energy(timbre):
    voice = timed_voice(timbre)
    spelling = voices.spellings(voice)[0]
    words = ("seven", "two", "nine")
    line = Line(words, tuple(spelling[word] for word in words), (";", ";", "."))
    (speech,) = synthesisers.speak(voice, [line])
    assert [word for word, _, _ in speech.words] == list(words)
    loud = np.flatnonzero(np.abs(speech.wave) > 0.01 * np.abs(speech.wave).max())
    assert speech.words[0][1] == pytest.approx(loud[0] / audio.SAMPLE_RATE, abs=0.08)
    assert speech.words[-1][2] == pytest.approx(loud[-1] / audio.SAMPLE_RATE, abs=0.12)
    assert np.diff([time for _, *span in speech.words for time in span]).min() >= -0.001


def test_festival_moves_the_pitch_and_not_the_pace():
    voice = timed_voice("czech_ph")
    line = Line(("one",), (voices.spellings(voice)[0]["one"],), (".",))
    flat = {"pitch_range": 5, "tract": 1.0}
    low, high = (synthesisers.speak(replace(voice, pitch=hertz, **flat), [line])[0]
                 for hertz in (90, 180))

    def pitch(speech):
        wave = speech.wave - speech.wave.mean()
        alike = np.correlate(wave, wave, "full")[len(wave) :]
        shortest, longest = audio.SAMPLE_RATE // 300, audio.SAMPLE_RATE // 60
        return audio.SAMPLE_RATE / (shortest + 1 + alike[shortest:longest].argmax())

    assert pitch(low) == pytest.approx(90, rel=0.1)
    assert pitch(high) == pytest.approx(180, rel=0.1)
    assert len(low.wave) == pytest.approx(len(high.wave), rel=0.05)


@needs_synthesisers
def test_an_unknown_voice_is_an_error():
    voice = voices.espeak_voice("f1", "xx-nowhere")
    with pytest.raises(RuntimeError, match="espeak-ng has no voice xx-nowhere"):
        espeak.speak(voice, [])


def test_arguments_of_the_command():
    parser = argparse.ArgumentParser()
    build.add_arguments(parser)
    options = parser.parse_args(["--out", "somewhere"])
    assert str(options.out) == "somewhere" and options.workers == 2
