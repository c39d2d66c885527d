"""What recipes learn from: libraries of clips, read back as they were written."""

import json

import numpy as np
import pytest

from speechlib.corpus import library, synthesise, synthesisers, voices
from speechlib.corpus.speech import Speech
from speechlib.recipes import wavlm_clips, whisper_commands, whisper_digits


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
