"""What the wavlm-* checkpoints are trained on: clips of sound, kept small, and strings of them.

input -> output: libraries, corpora, recordings of people -> clips; a voice's clips -> one track.
Special: samples stay 16-bit, so that hours of speech fit into memory.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from speechlib import audio, corpus
from speechlib.corpus import library
from speechlib.corpus.library import Clip
from speechlib.corpus.utterances import read_manifest
from speechlib.corpus.voices import NATURAL
from speechlib.recipes import people

# single voices of the bundled corpus: split -> all utterances of a set
SETS = {
    "digits": corpus.digits,
    "commands": partial(corpus.commands, kind=None),
    "numbers": corpus.numbers,
}


def from_wave(wave, text, kind, voice, words=()):
    """A clip of a wave (samples,) float32."""
    samples = audio.to_int16(wave)
    return Clip(samples, text, kind, voice, tuple(words))


def of_libraries(folders, split, seconds=None):
    """Clips of `python -m speechlib.corpus.synthesise`; seconds: at most so many of a voice, some
    of every kind. Recorded voices have no such limit. Of clips without digits no words are kept."""
    for voice, clips in library.voices(folders, split):
        limited = seconds is not None and not voice.startswith(NATURAL)
        left = seconds * audio.SAMPLE_RATE if limited else float("inf")
        for n in np.random.default_rng(0).permutation(len(clips)):  # the same choice each time
            clip = clips[n]
            left -= len(clip.samples)
            if left < 0:
                break
            yield clip if clip.text else replace(clip, words=())


def of_corpus(folders, split, seconds=None):
    """Clips of the bundled sets and of `folders` made by `python -m speechlib corpus build`;
    seconds: at most so many of a voice in each folder. Only digits keep their text."""
    found = [u for of_split in SETS.values() for u in of_split(split)]
    for folder in folders:
        found += [u for u in read_manifest(Path(folder)) if u.split == split]
    names = {name: {k: v["name"] for k, v in corpus.speakers(name).items()} for name in SETS}
    spent = {}
    for spoken in found:
        place = spoken.path.parent.parent
        heard = spent[place, spoken.voice] = spent.get((place, spoken.voice), 0) + spoken.duration_s
        if seconds is not None and heard > seconds:
            continue
        voice = names.get(place.name, {}).get(spoken.voice, spoken.voice)
        digits = spoken.kind == "digits"
        told = (spoken.text, "string") if digits else ("", "other")
        yield from_wave(spoken.wave(), *told, voice, spoken.words if digits else ())


def of_people(folder, leave_out=(), only=(), indices=people.EVERY[5:]):
    """Single digits that people said; see `people.recordings`."""
    for path, word, speaker in people.recordings(folder, leave_out, only, indices):
        wave = audio.load(path)
        yield from_wave(wave, word, "real", speaker, [(word, 0.0, len(wave) / audio.SAMPLE_RATE)])


def by_voice(clips):
    """Clips -> {voice: its clips}."""
    voices = {}
    for clip in clips:
        voices.setdefault(clip.voice, []).append(clip)
    return voices


def weighted(names, natural=4.0):
    """How often each voice is drawn: recorded ones `natural` times as often as made ones."""
    shares = np.array([natural if name.startswith(NATURAL) else 1.0 for name in names])
    return shares / shares.sum()
