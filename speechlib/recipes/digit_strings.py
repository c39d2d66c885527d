"""Strings of digits that nobody said in one go: clips -> a wave, its words and their times.

input -> output: clips and a generator -> wave (samples,), words with times.
Special: as `corpus/mixing.py` does it on power, here on samples. Each imagined person has a pace of
their own (`pace.py`) beside the throat that `perturbed` gives them; single recordings are often cut
where a soft sound has hardly begun, so some are cut closer still.
"""

from dataclasses import dataclass, replace

import numpy as np

from speechlib import audio
from speechlib.corpus.pace import stretched
from speechlib.corpus.waveforms import perturbed
from speechlib.recipes import wavlm_clips

KINDS = ("real", "digit", "string", "other", "silence")
SHARES = (0.34, 0.22, 0.32, 0.08, 0.04)  # how often an example is of each kind
COUNTS = (0.2, 0.2, 0.2, 0.2, 0.1, 0.1)  # how often single words are joined to 1, 2, ... 6
PACE = (0.75, 1.35)  # of a person: how many times as long everything takes
GAP_S = 0.6  # longest between two words
TIGHT, TIGHT_S = 0.25, 0.05  # share of people who leave hardly any gap, and their longest
FITTING = 6  # tries to find a clip that is no longer than the window
TRIES = 20  # at something short enough for a short window


@dataclass(frozen=True)
class Strings:
    """Draws examples; clips: by kind and voice."""

    groups: dict  # kind -> {voice: clips}
    shares: dict  # kind -> how often
    talkers: tuple  # clips for babble: no digits

    @classmethod
    def of(cls, clips, shares=SHARES):
        """Raises ValueError where there are no digits to draw."""
        groups = {kind: {} for kind in KINDS[:-1]}
        for clip in clips:
            groups[clip.kind].setdefault(clip.voice, []).append(clip)
        wanted = dict(zip(KINDS, shares, strict=True))
        kept = {k: s for k, s in wanted.items() if k == "silence" or groups[k]}
        if not any(groups[kind] for kind in ("real", "digit", "string")):
            raise ValueError("expected clips of digits to make strings of, got none")
        others = tuple(clip for found in groups["other"].values() for clip in found)
        return cls(groups, {k: s / sum(kept.values()) for k, s in kept.items()}, others)

    def example(self, rng, how, samples):
        """-> a disturbed wave (samples,), and its words: (word, start_s, end_s), whole ones.

        Nothing is padded afterwards: silence around the words is in the recording, noise and all.
        """
        room = int(samples * min(1.0, how.speed[0]))  # what still fits when it is slowed down
        for _ in range(TRIES):
            kind = rng.choice(list(self.shares), p=list(self.shares.values()))
            wave, words = np.zeros(0, np.float32), []
            if kind != "silence":
                wave, words = self.spoken(kind, rng, room)
            if len(wave) <= room:
                break
        else:
            wave, words = np.zeros(0, np.float32), []
        track = np.zeros(int(samples * max(1.0, how.speed[1])) + 400, np.float32)
        first = int(rng.integers(room - len(wave) + 1))
        track[first : first + len(wave)] = wave
        talkers = ()
        if self.talkers and how.babble:
            talkers = [self.talkers[rng.integers(len(self.talkers))].wave() for _ in range(2)]
        made, moved = perturbed(track, rng, replace(how, pad_s=(0, 0)), talkers)
        first_s = first / audio.SAMPLE_RATE
        told = [(w, float(moved(first_s + s)), float(moved(first_s + e))) for w, s, e in words]
        return made[:samples], told

    def spoken(self, kind, rng, samples):
        """Clips of a voice one after another, at most `samples` where one fits: wave, words."""
        names = list(self.groups[kind])
        voice = rng.choice(names, p=wavlm_clips.weighted(names))
        count = 1 + int(rng.choice(len(COUNTS), p=COUNTS))
        pace, tight = rng.uniform(*PACE), rng.random() < TIGHT
        parts, words, place = [], [], 0
        for _ in range(count if kind in ("real", "digit") else 1):
            if rng.random() < 0.1:
                voice = names[rng.integers(len(names))]
            clips = self.groups[kind][voice]
            for _ in range(FITTING):
                clip = clips[rng.integers(len(clips))]
                if place + len(clip.samples) * pace <= samples:
                    break
            else:
                if parts:
                    break
            sound, told = paced(clip, pace, rng)
            parts.append(sound)
            start_s = place / audio.SAMPLE_RATE
            words += [(word, start_s + start, start_s + end) for word, start, end in told]
            gap = int(rng.uniform(0, TIGHT_S if tight else GAP_S) * audio.SAMPLE_RATE)
            parts.append(np.zeros(gap, np.float32))
            place += len(sound) + gap
        return np.concatenate(parts[:-1]), words


def paced(clip, pace, rng):
    """A clip at another pace, uneven on the way: wave, words. Half of the single words are cut
    closer."""
    wave, words = clip.wave(), clip.words
    if len(words) == 1 and rng.random() < 0.5:
        first, last = (int(n) for n in rng.integers(0, 1 + len(wave) // 10, 2))
        wave = wave[first : len(wave) - last]
        length = len(wave) / audio.SAMPLE_RATE
        words = [(words[0][0], 0.0, length)]
    factors = pace * np.exp(rng.normal(0, 0.12, 4))
    made = stretched(wave, factors.clip(0.5, 2.0))
    factor = len(made) / len(wave)
    return made, [(word, start * factor, end * factor) for word, start, end in words]
