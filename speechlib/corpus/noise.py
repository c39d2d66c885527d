"""Disturbances made here: (wave, kind, seed) -> the same wave, harder to understand.

babble: other people of the corpus talk at once; hum: mains of 50 Hz with overtones; hiss: white
noise; clipping: an amplifier driven too far; telephone: only 300 to 3400 Hz, in 8 bits.
`snr_db` says how far the noise lies below the speech, for the kinds that add something.
"""

import numpy as np

from speechlib import audio
from speechlib.audio import SAMPLE_RATE

KINDS = ("babble", "hum", "hiss", "clipping", "telephone")
TALKERS = 6


def disturb(wave: np.ndarray, kind: str, snr_db: float = 10.0, seed: int = 0, talkers=None):
    """-> (samples,) float32, within ±1 if the wave is. The same arguments always give the same.

    talkers: waves to make babble of, at 16 kHz; None: utterances of the corpus' train split.
    Raises ValueError for another kind, an snr_db that is no finite number, waves that are none
    (see `audio.as_wave`), and talkers of whom nobody says anything.
    """
    wave = audio.as_wave(wave)
    if kind not in KINDS:
        raise ValueError(f"expected kind to be one of {', '.join(KINDS)}, got {kind!r}")
    if not np.isfinite(snr_db):
        raise ValueError(f"expected snr_db as a finite number of dB, got {snr_db}")
    draw = np.random.default_rng([KINDS.index(kind), seed])
    if kind == "clipping":
        limit = np.abs(wave).max() * draw.uniform(0.1, 0.3)
        return wave.clip(-limit, limit)
    if kind == "telephone":
        return _telephone(wave)
    if kind == "babble":
        added = _babble(wave.size, draw, talkers)
    else:
        added = draw.standard_normal(wave.size) if kind == "hiss" else mains(
            wave.size, phases=draw.uniform(0, 2 * np.pi, 4))
    loudness = np.sqrt(np.square(wave).mean() / np.maximum(np.square(added).mean(), 1e-12))
    noisy = wave + added * loudness * 10 ** (-snr_db / 20)
    return (noisy / max(1.0, np.abs(noisy).max())).astype(np.float32)


def mains(size: int, hz: float = 50, phases=(0, 0, 0, 0)):
    """The hum of a power line and three overtones, (size,), loudness about 1.

    phases: in radians, of hz and of 2, 3 and 5 times that."""
    time = np.arange(size) / SAMPLE_RATE
    return sum(np.sin(2 * np.pi * hz * k * time + phase) / k
               for k, phase in zip((1, 2, 3, 5), phases, strict=True))


def _babble(size, draw, talkers):
    if talkers is None:
        from speechlib.corpus.utterances import digits

        found = digits("train")
        talkers = [found[n].wave() for n in draw.choice(len(found), 4 * TALKERS, replace=False)]
    waves = [wave for wave in map(audio.as_wave, talkers) if np.any(wave)]
    if not waves:
        raise ValueError("expected talkers that say something, got none, or only silence")
    total = np.zeros(size)
    for n in range(min(TALKERS, len(waves))):
        # each says one thing after another, from somewhere within it
        line = np.concatenate([wave / np.abs(wave).max() for wave in waves[n::TALKERS]])
        total += np.resize(np.roll(line, -int(draw.integers(line.size))), size)
    return total


def _telephone(wave):
    """Band 300 to 3400 Hz, then 8 bits on a logarithmic scale (mu-law, 255)."""
    spectrum = np.fft.rfft(wave)
    hertz = np.fft.rfftfreq(wave.size, 1 / SAMPLE_RATE)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    band = np.fft.irfft(spectrum, wave.size)
    band /= max(1.0, np.abs(band).max())
    small = np.sign(band) * np.log1p(255 * np.abs(band)) / np.log(256)
    small = np.round(small * 127) / 127
    return (np.sign(small) * np.expm1(np.abs(small) * np.log(256)) / 255).astype(np.float32)
