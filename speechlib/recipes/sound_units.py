"""Targets without labels: which of a hundred kinds of sound is heard every 20 ms.

input -> output: clips -> a number for every frame of each.
Special: the first round of HuBERT (Hsu et al. 2021, arXiv:2106.07447, section II-A): k-means on
cepstra and how they change. The cepstra of a voice are brought to mean 0 and variance 1, so that
the kinds tell sounds apart rather than voices.
"""

import numpy as np
import scipy.fft

from speechlib import audio

UNITS = 100
CEPSTRA = 13


def cepstra(wave):
    """(samples,) -> (frames, 26) float32, a frame each 20 ms: cepstra of the log-mel spectrum at
    the frame's middle, and their change over 60 ms on both sides."""
    wave = np.pad(wave, (0, max(0, audio.WINDOW - len(wave))))
    power = audio.mel_filters(40) @ audio.stft_power(wave)
    level = np.log(np.maximum(power, 1e-7 * power.max() + 1e-10))
    found = scipy.fft.dct(level, axis=0, norm="ortho")[:CEPSTRA].T
    near = np.pad(found, ((3, 3), (0, 0)), mode="edge")
    slope = sum(k * (near[3 + k : len(found) + 3 + k] - near[3 - k : len(found) + 3 - k])
                for k in (1, 2, 3)) / 28  # fmt: skip
    both = np.concatenate([found, 4 * slope], axis=1)
    return both[1::2].astype(np.float32)  # the middle of frame k is 10 ms * (2 k + 1)


def of_voices(voices, units=UNITS, seed=0, sample=60_000):
    """{voice: clips} -> ({clip: its units (frames,) uint8}, the unit of silence).

    Means, deviations and clusters come from these clips alone."""
    features = {}
    for clips in voices.values():
        found = [cepstra(clip.wave()) for clip in clips]
        every = np.concatenate(found)
        mean, deviation = every.mean(0), every.std(0) + 1e-3
        features |= {c: (f - mean) / deviation for c, f in zip(clips, found, strict=True)}
    every = np.concatenate(list(features.values()))
    rng = np.random.default_rng(seed)
    centres = k_means(every[rng.permutation(len(every))[:sample]], units, rng)
    found = {clip: nearest(f, centres).astype(np.uint8) for clip, f in features.items()}
    return found, int(centres[:, 0].argmin())  # the first cepstrum is the loudness


def k_means(points, clusters, rng, rounds=25):
    """Lloyd's algorithm from random points (points, features) -> centres (clusters, features);
    an empty cluster takes a random point. Raises ValueError for fewer points than clusters."""
    if len(points) < clusters:
        raise ValueError(
            f"expected at least {clusters} frames for as many units, got {len(points)}"
        )
    centres = points[rng.choice(len(points), clusters, replace=False)]
    for _ in range(rounds):
        chosen = nearest(points, centres)
        counts = np.bincount(chosen, minlength=clusters)
        sums = np.zeros_like(centres)
        np.add.at(sums, chosen, points)
        empty = counts == 0
        centres = sums / np.maximum(counts, 1)[:, None]
        centres[empty] = points[rng.choice(len(points), empty.sum())]
    return centres


def nearest(points, centres, block=20_000):
    """The nearest centre of each point: (points,) int."""
    sizes = np.square(centres).sum(1)
    parts = [points[n : n + block] for n in range(0, len(points), block)]
    return np.concatenate([(sizes - 2 * part @ centres.T).argmin(1) for part in parts])
