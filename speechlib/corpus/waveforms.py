"""Recordings that nobody made: a wave in, the same words out of another throat, room and telephone.

input -> output: wave (samples,) at 16 kHz and a random generator -> another wave, and where its
times have gone; waves -> a batch (batch, samples) and the lengths.
Special: one Fourier transform there and one back do all the work, so that a clip of 2 s costs
milliseconds. Fewer points on the way back play the sound faster, which also raises pitch and
formants, as in a shorter throat; a room, a microphone's colour and a telephone's limits are
factors on the spectrum; hiss of any colour is added to it.
The power spectrogram's counterpart is `mixing.py`.

Sources: speed perturbation, Ko et al. 2015; rooms and noise, Ko et al. 2017.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft

from speechlib import audio
from speechlib.audio import SAMPLE_RATE
from speechlib.corpus.noise import mains

TAIL_S = 0.2  # room for echoes at the end; it is cut off again
BANDS_HZ = (3400, 3800, 4000, 4000, 5500, 7000)  # where telephones and old recordings end


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """How far `perturbed` may go; shares are 0 to 1, ranges (least, most)."""

    speed: tuple[float, float] = (0.82, 1.22)  # (1, 1) leaves pitch, formants and pace alone
    rooms: float = 0.3
    narrow: float = 0.4  # share that goes through a telephone or an old recording
    colour_db: float = 4.0  # spread of the microphone's colour
    tilt_db: float = 8.0  # most, from the middle to the highest frequency
    clean: float = 0.3  # share without any noise
    snr_db: tuple[float, float] = (3.0, 45.0)  # of the others
    hum: float = 0.1
    babble: float = 0.2  # where talkers are given
    clipped: float = 0.05
    level_db: tuple[float, float] = (-35.0, 10.0)
    pad_s: tuple[float, float] = (0.0, 0.3)  # silence before, and behind


GENTLE = Disturbance(
    speed=(0.9, 1.12), rooms=0.2, narrow=0.3, clean=0.4, snr_db=(10.0, 45.0), clipped=0.0
)


@dataclass(frozen=True)
class Moved:
    """Where times have gone: `moved(time_s)`, for a number or an array."""

    offset_s: float
    factor: float

    def __call__(self, time_s):
        return self.offset_s + np.asarray(time_s) * self.factor


def perturbed(wave, rng, how=None, talkers=()):
    """A wave (samples,) -> (another (samples,) float32, `Moved`: old times in s -> new ones).

    rng: a numpy Generator, which decides everything. how: a `Disturbance`; None: the default.
    talkers: waves of other people for babble. Raises ValueError for what is no wave.
    """
    how = how or Disturbance()
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1 or not wave.size:
        raise ValueError(f"expected a wave of shape (samples,), got {wave.shape}")
    loud = loudness(wave)
    before, behind = (int(SAMPLE_RATE * rng.uniform(*how.pad_s)) for _ in range(2))
    tail = int(TAIL_S * SAMPLE_RATE)
    size = scipy.fft.next_fast_len(before + wave.size + behind + tail, real=True)
    track = np.zeros(size, np.float32)
    track[before : before + wave.size] = wave
    noisy = rng.random() >= how.clean
    if noisy and len(talkers) and rng.random() < how.babble:
        level = loud * 10 ** (-rng.uniform(*how.snr_db) / 20)
        track += level * babble(talkers, size, rng)
    new_size = scipy.fft.next_fast_len(round(size / rng.uniform(*how.speed)), real=True)
    if how.speed[0] == how.speed[1] == 1:
        new_size = size
    factor = new_size / size
    spectrum = np.zeros(new_size // 2 + 1, np.complex64)
    heard = scipy.fft.rfft(track)[: len(spectrum)] * np.float32(factor)
    spectrum[: len(heard)] = heard
    if rng.random() < how.rooms:
        spectrum *= scipy.fft.rfft(room(new_size, rng))
    spectrum *= channel(len(spectrum), how, rng)
    if noisy:
        spectrum += _hiss(new_size, loud * 10 ** (-rng.uniform(*how.snr_db) / 20), rng)
    made = scipy.fft.irfft(spectrum, new_size)
    made = made[: round((before + wave.size + behind) * factor)]
    if noisy and rng.random() < how.hum:
        level = loud * 10 ** (-rng.uniform(*how.snr_db) / 20)
        made += level * mains(made.size, rng.choice([50, 60]), rng.uniform(0, 2 * np.pi, 4))
    if rng.random() < how.clipped:
        limit = np.abs(made).max() * rng.uniform(0.2, 0.6)
        made = made.clip(-limit, limit)
    made *= 10 ** (rng.uniform(*how.level_db) / 20)
    return made.astype(np.float32), Moved(before * factor / SAMPLE_RATE, factor)


def loudness(wave):
    """Root mean square of the louder half of its 10 ms; of silence 0.01, so that noise is heard."""
    hop = SAMPLE_RATE // 100
    if wave.size < 2 * hop:
        return float(np.sqrt(np.square(wave).mean())) or 0.01
    power = np.square(wave[: wave.size // hop * hop].reshape(-1, hop)).mean(1)
    return float(np.sqrt(np.partition(power, len(power) // 2)[len(power) // 2 :].mean())) or 0.01


def babble(talkers, size, rng, most=3):
    """Up to `most` of these waves at once, from somewhere within them: (size,), loudness 1."""
    total = np.zeros(size, np.float32)
    for _ in range(rng.integers(1, most + 1)):
        talker = talkers[rng.integers(len(talkers))]
        first = int(rng.integers(len(talker)))
        piece = np.resize(np.concatenate([talker[first:], talker[:first]]), size)
        total += piece / loudness(piece)
    return total / loudness(total)


def room(size, rng):
    """An echo: (size,) samples of a room that falls by 60 dB within 0.15 to 0.6 s, the direct
    sound first. Lengths beyond the tail come round to the start, faintly."""
    seconds = rng.uniform(0.15, 0.6)
    length = min(size, int(seconds * SAMPLE_RATE))
    decay = 10 ** (-3 * np.arange(length, dtype=np.float32) / (seconds * SAMPLE_RATE))
    tail = rng.standard_normal(length, dtype=np.float32) * decay
    energy = np.square(tail).sum()
    tail *= np.sqrt(10 ** rng.uniform(-1.6, -0.1) / max(energy, 1e-9))
    made = np.zeros(size, np.float32)
    made[:length] = tail
    made[0] = 1.0
    return made


def channel(bins, how, rng):
    """Factors (bins,) from 0 to 8000 Hz: a microphone's colour and tilt, a telephone's limits."""
    nyquist = SAMPLE_RATE / 2
    gain_db = _smooth(bins, 9, how.colour_db, rng)
    gain_db += np.linspace(-1, 1, bins) * rng.uniform(-how.tilt_db, how.tilt_db)
    hertz = np.linspace(0, nyquist, bins)
    if rng.random() < how.narrow:
        limit = rng.choice(BANDS_HZ) * rng.uniform(0.96, 1.04)
        gain_db -= np.clip((hertz - limit) / 150, 0, 1) * rng.uniform(35, 80)
        if rng.random() < 0.5:
            low = rng.uniform(60, 300)
            gain_db -= np.clip((low - hertz) / 60, 0, 1) * rng.uniform(10, 40)
    return (10 ** (gain_db / 20)).astype(np.float32)


def _hiss(size, rms, rng):
    """The spectrum of noise of any colour, (size // 2 + 1,); rms: of its samples, about."""
    bins = size // 2 + 1
    shape = 10 ** ((_smooth(bins, 8, 6.0, rng) - np.linspace(0, rng.uniform(0, 30), bins)) / 20)
    shape /= np.sqrt(np.square(shape).mean())
    white = rng.standard_normal(2 * bins, dtype=np.float32).view(np.complex64)
    return white * (shape * rms * np.sqrt(size / 2)).astype(np.float32)


def _smooth(size, points, spread, rng):
    """A random smooth curve (size,), in dB."""
    knots = rng.normal(0.0, spread, points)
    return np.interp(np.linspace(0, points - 1, size), np.arange(points), knots)


def padded(waves, normalise=True, samples=None):
    """Waves -> (batch, samples) float32, zeros at the end, and lengths (batch,) int64.

    normalise: each wave to mean 0 and variance 1 first. samples: of the batch; None: as many as
    the longest wave has. Raises ValueError for no waves, and for a wave that is longer.
    """
    waves = [audio.normalise(w) if normalise else np.asarray(w, np.float32) for w in waves]
    if not waves:
        raise ValueError("expected at least one wave to make a batch of, got none")
    lengths = np.array([len(wave) for wave in waves], dtype=np.int64)
    samples = int(lengths.max()) if samples is None else samples
    if lengths.max() > samples:
        raise ValueError(
            f"expected waves of at most {samples} samples, got one of {lengths.max()}: cut it first"
        )
    batch = np.zeros((len(waves), samples), np.float32)
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = wave
    return batch, lengths
