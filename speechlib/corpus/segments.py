"""Windows with several utterances, to learn from when each one begins and ends.

input -> output: clips of whole utterances and a seed -> log-mel (mel bins, mel frames) and `Said`:
the utterances in it, each with its words and their frames.
Special: mixed on power, as in `mixing.py`. Some utterances are put together out of single words of
a voice, so that a text is heard rather than guessed; the last one may be cut off by the window.
"""

from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from speechlib import audio
from speechlib.corpus.grammar import draw_command
from speechlib.corpus.mixing import FITTING, Mixer, Person

COUNTS = (0.45, 0.4, 0.15)  # how often a window is to hold 1, 2, 3 utterances, where they fit
LEAST_GAP, LARGEST_GAP = 6, 120  # mel frames between two utterances
LEAST_HEARD = 12  # mel frames that are heard of an utterance that the window cuts off
WORD_MARGIN = 1  # frames on both sides of a word that is cut out


@dataclass
class Said:
    """What is in a window; frames are mel frames (10 ms)."""

    utterances: list = field(default_factory=list)  # lists of (word, first frame, end frame)
    cut: list = field(default_factory=list)  # the same of one that the window's end cuts off


class SegmentMixer(Mixer):
    """Makes example number i of a run, always the same for the same seed and i."""

    def __init__(self, clips, mix=None, seed=0, counts=COUNTS):
        """clips: group "string": whole utterances; "other": what is not to be written. counts: how
        often a window is to hold 1, 2, ... utterances."""
        super().__init__(clips, mix, seed)
        self.counts = counts
        self.words = {}  # voice -> word -> clips of it
        for voice, spoken in self.groups["string"].items():
            for word, piece in (pair for clip in spoken for pair in words_of(clip)):
                self.words.setdefault(voice, {}).setdefault(word, []).append(piece)
        if self.groups["string"] and self.mix.synthetic:  # these are made of the same voices
            total = self.mix.string + self.mix.synthetic
            at = self.kinds.index("string")
            whole = self.shares[at] * self.mix.string / total
            self.kinds.append("synthetic")
            self.shares = [*self.shares, self.shares[at] - whole]
            self.shares[at] = whole

    def example(self, number, mix=None, cut=False):
        """-> log-mel (mel bins, mel frames) float32, `Said`. cut: the window may end within an
        utterance, if another one comes before it."""
        mix = mix or self.mix
        rng = np.random.default_rng((self.seed, number))
        kind = rng.choice(self.kinds, p=self.shares)
        power = np.zeros((mix.mel_bins, mix.mel_frames), dtype=np.float32)
        said = Said() if kind == "silence" else self._say(power, kind, rng, cut)
        heard = np.flatnonzero(power.any(axis=0))
        power = self.recorded(power, mix, rng)
        if not said.cut and rng.random() < 0.5:  # the recording ends, the window does not
            power[:, (heard[-1] if len(heard) else 0) + rng.integers(3, 80) :] = 0.0
        power *= 10 ** rng.uniform(-3.5, 1.0)  # the recording's level: -35 to +10 dB
        return audio.log_scaled(power).astype(np.float32), said

    def _say(self, power, kind, rng, cut):
        """Writes utterances one after another into power -> `Said`."""
        voices = list(self.groups["string" if kind == "synthetic" else kind])
        voice, person = voices[rng.integers(len(voices))], Person.drawn(rng)
        count = 1 + rng.choice(len(self.counts), p=self.counts)
        window, said = power.shape[1], Said()
        place = int(rng.integers(0, 60))
        for number in range(count):
            first = number == 0
            if rng.random() < 0.2:  # somebody else
                voice, person = voices[rng.integers(len(voices))], Person.drawn(rng)
            for _ in range(FITTING):
                sound, words = self._utterance(kind, voice, person, rng)
                if not first or sound.shape[1] < window:
                    break
            size = sound.shape[1]
            if first and size <= window and rng.random() < 0.25:  # anywhere in the window
                place = int(rng.integers(0, window - size + 1))
            if place + size > window:
                if first and size <= window:
                    place = window - size
                else:
                    begin = place + words[0][1] if words else window
                    if cut and not first and begin + LEAST_HEARD < window:
                        power[:, place:] += sound[:, : window - place]
                        said.cut = [(w, place + a, min(window, place + b)) for w, a, b in words
                                    if place + a < window]  # fmt: skip
                    break
            power[:, place : place + size] += sound
            if words:
                said.utterances.append([(w, place + a, place + b) for w, a, b in words])
            place += size + int(rng.integers(LEAST_GAP, LARGEST_GAP))
            if place >= window:
                break
        return said

    def _utterance(self, kind, voice, person, rng):
        """One utterance of a voice -> mel power (mel bins, frames), its (word, first, end)."""
        if kind == "synthetic":
            pieces, gaps = self._put_together(voice, rng)
        else:
            clips = self.groups[kind][voice]
            pieces, gaps = [clips[rng.integers(len(clips))]], [0]
        sounds, words, place = [], [], 0
        for clip, gap in zip(pieces, gaps, strict=True):
            sound, heard = self.spoken(clip, person, self.mix, rng)
            words += [(word, place + start, place + end) for word, start, end in heard]
            sounds += [sound, np.zeros((len(sound), gap), np.float32)]
            place += sound.shape[1] + gap
        return np.concatenate(sounds, axis=1), words

    def _put_together(self, voice, rng):
        """Single words of a voice: a command, or one to four words that mean nothing together."""
        known, wanted = self.words[voice], ()
        if rng.random() < 0.5:
            wanted = draw_command(Random(int(rng.integers(2**31))))
        if not wanted or not all(word in known for word in wanted):
            names = list(known)
            wanted = [names[rng.integers(len(names))] for _ in range(rng.integers(1, 5))]
        pieces = [known[word][rng.integers(len(known[word]))] for word in wanted]
        gaps = rng.integers(0, 4 if rng.random() < 0.5 else 20, len(pieces)).tolist()
        return pieces, gaps


def words_of(clip):
    """A clip's words as clips of their own, without a copy: [(word, clip)]."""
    frames, found = clip.power.shape[1], []
    for word, (start, end) in zip(clip.words, clip.spans, strict=True):
        first = max(0, round(start * frames) - WORD_MARGIN)
        last = min(frames, round(end * frames) + WORD_MARGIN)
        if last - first >= 8:
            inside = ((WORD_MARGIN / (last - first), 1 - WORD_MARGIN / (last - first)),)
            found.append((word, replace(clip, power=clip.power[:, first:last], words=(word,),
                                        spans=inside)))  # fmt: skip
    return found
