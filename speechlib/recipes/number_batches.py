"""Spoken numbers to train on: corpora of numbers -> batches that never come twice.

input -> output: folders made by `python -m speechlib corpus build --set numbers` and a seed
-> waveforms, labels, what is said in each frame, where each piece is to be found.
Special: the words of a voice are cut apart and joined anew ("forty" of forty-seven, "two" of
ninety-two), so that every voice says every number; then each example is disturbed by
`corpus/waveforms.py`. The recordings of a batch are alike in length, which saves padding.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speechlib import audio
from speechlib.corpus import grammar, utterances, waveforms
from speechlib.recipes import german_pieces
from speechlib.recipes.labels import padded_labels
from speechlib.recipes.wavlm_base import FRAME, HEARD

NAMES = (*grammar.ONES, *grammar.TENS)  # what is said in a frame: 1 + the place here; 0: nothing
FADE_S = 0.01  # at the seam of two recordings
KEPT_S = 0.15  # silence kept before and behind a number: what is not stored need not be computed
JOINED = 0.35  # share of the numbers from 21 on that are put together from two recordings
NOTHING = 0.03  # share of examples in which nobody speaks: nothing is to be written


@dataclass(frozen=True)
class Spoken:
    """One recording of a number."""

    samples: np.ndarray  # (samples,) int16, to keep thousands of them in memory
    number: int
    spans: tuple[tuple[float, float], ...]  # where each English word is: start_s, end_s
    voice: str

    def wave(self) -> np.ndarray:
        """(samples,) float32, peak 1: two recordings of a voice can then be joined."""
        wave = self.samples.astype(np.float32)
        return wave / max(1.0, np.abs(wave).max())


def spoken_numbers(folders, split) -> list[Spoken]:
    """All recordings of a split. Raises ValueError for folders without any."""
    found = []
    for folder in folders:
        for one in utterances.read_manifest(Path(folder)):
            if one.split == split and one.kind == "number":
                found.append(_spoken(one))
    if not found:
        raise ValueError(
            f"no spoken numbers of the split {split} in {', '.join(map(str, folders))}"
            "; python -m speechlib corpus build --set numbers --out FOLDER makes them"
        )
    return found


def _spoken(one):
    """An utterance of the corpus, its silence cut short."""
    rate, (start_s, end_s) = audio.SAMPLE_RATE, (one.words[0][1], one.words[-1][2])
    first = round(max(0.0, start_s - KEPT_S) * rate)
    wave = one.wave()[first : round((end_s + KEPT_S) * rate)]
    spans = tuple((start - first / rate, end - first / rate) for _, start, end in one.words)
    samples = audio.to_int16(wave)
    return Spoken(samples, german_pieces.number_of(one.translation), spans, one.voice)


def joined(first: Spoken, second: Spoken):
    """The first word of one recording, the last of another -> wave, spans.

    ("forty-seven", "two") -> "forty-two". The seam is faded."""
    rate, fade = audio.SAMPLE_RATE, round(FADE_S * audio.SAMPLE_RATE)
    (start_s, end_s), (from_s, to_s) = first.spans[0], second.spans[-1]
    front = first.wave()[: round(end_s * rate)]
    begin = round(from_s * rate)
    back = second.wave()[begin:]
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    front[-fade:] *= ramp[::-1]
    back[:fade] *= ramp
    moved = end_s - begin / rate
    return np.concatenate([front, back]), ((start_s, end_s), (from_s + moved, to_s + moved))


class Numbers:
    """Draws examples: all numbers equally often within their kind, then a recording of it."""

    def __init__(self, recordings):
        self.of_number, self.of_voice = {}, {}
        for one in recordings:
            self.of_number.setdefault(one.number, []).append(one)
            self.of_voice.setdefault(one.voice, {}).setdefault(one.number, []).append(one)
        self.numbers = sorted(self.of_number)
        # thirteen and thirty, fifteen and fifty: the numbers of one word are the hard ones
        shares = np.array([1.0 if n in german_pieces.CROSSING else 2.5 for n in self.numbers])
        self.shares = shares / shares.sum()

    def drawn(self, rng):
        """-> wave (samples,), number (None: nobody speaks), spans."""
        if rng.random() < NOTHING:
            return self._nothing(rng), None, ()
        number = int(rng.choice(self.numbers, p=self.shares))
        one = _any(self.of_number[number], rng)
        if number in german_pieces.CROSSING and rng.random() < JOINED:
            mine = self.of_voice[one.voice]
            tens, ones = number - number % 10, number % 10
            first = [s for n in range(tens, tens + 10) for s in mine.get(n, ())]
            second = [s for n in (ones, *range(20 + ones, 100, 10)) for s in mine.get(n, ())]
            wave, spans = joined(_any(first, rng), _any(second, rng))
            return wave, number, spans
        return one.wave(), number, one.spans

    def _nothing(self, rng):
        """Silence, or hiss of any loudness."""
        size = int(rng.uniform(0.4, 2.0) * audio.SAMPLE_RATE)
        level = 10 ** rng.uniform(-4, -1) if rng.random() < 0.8 else 0.0
        return (level * rng.standard_normal(size)).astype(np.float32)


def _any(items, rng):
    return items[rng.integers(len(items))]


def words_of(number):
    """A number -> the places of its English words in NAMES; nothing for None."""
    return [] if number is None else [NAMES.index(word) for word in grammar.english(number)]


def frames_between(start, end, frames):
    """Samples -> the frames whose middle lies there, as a slice; at least one frame."""
    first = min(max(0, round((start - HEARD / 2) / FRAME)), frames - 1)
    return slice(first, min(frames, max(first + 1, round((end - HEARD / 2) / FRAME))))


def labelled(examples, frames):
    """(number, spans in samples) of each row -> labels (batch, tokens), said (batch, frames),
    places (batch, tokens, frames).

    said: in each frame 0 or 1 + the place in NAMES. places: True where a piece's English word is,
    all False for "und" and the end, which have none. Ones are said last and written first."""
    rows = [
        [german_pieces.END] if number is None else german_pieces.token_ids(number)
        for number, _ in examples
    ]
    labels = padded_labels(rows)
    said = torch.zeros(len(rows), frames, dtype=torch.long)
    places = torch.zeros(*labels.shape, frames, dtype=torch.bool)
    for row, (number, spans) in enumerate(examples):
        tokens = (2, 0) if len(spans) == 2 else (0,)
        for token, name, span in zip(tokens, words_of(number), spans, strict=False):
            here = frames_between(*span, frames)
            said[row, here] = 1 + name
            places[row, token, here] = True
    return labels, said, places


def batches(numbers, batch, seed, frames_of, how_at=lambda step: None, pool=4):
    """-> function step -> (waveform (batch, samples), labels, said, places).

    frames_of(samples) -> encoder frames; how_at(step) -> the `Disturbance`, None: the usual one.
    Of `pool` times as many drawn recordings a step takes neighbours in length, one of `pool` equal
    parts. What is missing to the longest is silence, which counts as heard: the front end's norm
    would count it in anyway.
    """

    def batch_at(step):
        rng = np.random.default_rng((seed, step))
        drawn = sorted((numbers.drawn(rng) for _ in range(pool * batch)), key=lambda d: len(d[0]))
        first = batch * int(rng.integers(pool))
        waves, examples = [], []
        for wave, number, spans in drawn[first : first + batch]:
            changed, moved = waveforms.perturbed(wave, rng, how_at(step))
            waves.append(changed)
            examples.append((number, (moved(spans) * audio.SAMPLE_RATE).tolist()))
        waveform, _ = waveforms.padded(waves)
        frames = int(frames_of(waveform.shape[1]))
        return torch.from_numpy(waveform), *labelled(examples, frames)

    return batch_at
