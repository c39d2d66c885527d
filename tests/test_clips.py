"""What recipes learn from: libraries of clips, read as they were written; people's recordings."""

import itertools
import json

import numpy as np
import pytest
import soundfile

from speechlib import audio
from speechlib.corpus import library, synthesise, synthesisers, voices
from speechlib.corpus.speech import Speech
from speechlib.corpus.voices import DIGITS
from speechlib.recipes import (
    people,
    wavlm_clips,
    wavlm_heads,
    whisper_commands,
    whisper_digits,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A library of one voice, whose every word is 0.1 s of its own loudness."""

    def speak(voice, lines):
        return [spoken(line) for line in lines]

    def spoken(line):
        level = np.repeat([0.2 + len(word) / 20 for word in line.words], 1600)
        wave = np.sin(np.arange(len(level)) / 5) * level
        times = [(word, n / 10, (n + 1) / 10) for n, word in enumerate(line.words)]
        return Speech(wave.astype(np.float32), times, [])

    out = tmp_path_factory.mktemp("library")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesisers, "speak", speak)
        voice = voices.espeak_voice("f2", "en")
        (out / "voices.json").write_text(json.dumps([synthesise.write_voice(voice, out)]))
    return out


def test_a_library_is_read_back_as_it_was_written(folder):
    ((name, clips),) = library.voices([folder], "train")
    lines, kinds = synthesise.draw_lines(voices.espeak_voice("f2", "en"))
    assert name == "espeak-en-f2" == clips[0].voice and [clip.kind for clip in clips] == kinds
    for clip, line in zip(clips, lines, strict=True):
        assert tuple(word for word, *_ in clip.words) == line.words
        assert clip.text == (" ".join(line.words) if clip.kind != "other" else "")
        assert abs(len(clip.samples) / 16_000 - clip.words[-1][2]) < 0.02
        assert np.abs(clip.wave()).max() == pytest.approx(0.7, abs=1e-3)
    assert not list(library.voices([folder], "test")) and not list(library.voices([], "train"))


def test_every_recipe_takes_from_a_library_what_it_needs(folder):
    ((_, clips),) = library.voices([folder], "train")
    every = list(wavlm_clips.of_libraries([folder], "train"))
    assert sorted(c.samples.tobytes() for c in every) == sorted(c.samples.tobytes() for c in clips)
    assert all(bool(clip.words) == bool(clip.text) for clip in every)
    some = list(wavlm_clips.of_libraries([folder], "train", seconds=3))
    assert 0 < sum(len(clip.samples) for clip in some) <= 3 * 16_000
    mixed = list(whisper_digits.library_clips([folder], "train"))
    assert [" ".join(clip.words) for clip in mixed] == [clip.text for clip in clips]
    other = list(whisper_commands.other_clips([folder], "train"))
    known = {clip.kind for clip in clips if {w for w, *_ in clip.words} & {"five", "ten"}}
    assert known and all(clip.group == "other" and not clip.words for clip in other)
    assert sum(clip.kind == "other" for clip in clips) // 2 < len(other) < len(clips) // 2


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two people who say five digits, three times each: 0.2 s, the louder the later."""
    out = tmp_path_factory.mktemp("people")
    for digit, speaker, index in itertools.product(range(5), ("anna", "ben"), (0, 4, 5)):
        wave = np.full(3200, 0.1 * (index + 1))
        soundfile.write(out / f"{digit}_{speaker}_{index}.wav", wave, 16_000)
    return out


def test_people_are_told_apart_and_their_own_test_part_is_left_out(recorded):
    found = list(people.recordings(recorded))
    assert [word for _, word, _ in found] == [w for w in DIGITS[:5] for _ in range(2)]
    assert {path.stem.split("_")[2] for path, *_ in found} == {"5"}
    assert {name for *_, name in people.recordings(recorded, leave_out=["ben"])} == {"anna"}
    every = list(people.recordings(recorded, only=["ben"], indices=people.EVERY))
    assert len(every) == 15 and {name for *_, name in every} == {"ben"}
    pieces = wavlm_heads.real_pieces(recorded, only=["anna"])
    assert {(piece.voice, piece.timbre) for piece in pieces} == {("anna", "anna")}
    assert [piece.text for piece in pieces] == list(DIGITS[:5])


def test_who_is_not_there_cannot_be_left_out(recorded, tmp_path):
    """A name that was mistyped would be trained on."""
    for named in ({"leave_out": ["bne"]}, {"only": ["anna", "bne"]}):
        with pytest.raises(ValueError, match="which are anna, ben, got bne"):
            list(people.recordings(recorded, **named))
    with pytest.raises(ValueError, match="digit_speaker_index.wav"):
        list(people.recordings(tmp_path))


def test_strings_of_people_are_of_one_person_each(recorded):
    said = {"ben": [], "anna": []}
    for path, word, speaker in people.recordings(recorded):
        said[speaker].append((audio.load(path), word))
    found = people.strings(said, 8, 3, np.random.default_rng(0))
    assert [len(text.split()) for _, text in found] == [1, 1, 2, 2, 3, 3, 1, 1]
    for wave, text in found:
        spoken = np.count_nonzero(wave) / 16_000
        assert spoken == pytest.approx(0.2 * len(text.split())) and not wave[:3200].any()
        assert 0.1 <= len(wave) / 16_000 - 0.2 - spoken <= 0.5 * len(text.split())
    again = people.strings(said, 8, 3, np.random.default_rng(0))
    assert np.array_equal(np.concatenate([w for w, _ in found]),
                          np.concatenate([w for w, _ in again]))
