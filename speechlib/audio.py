"""From a sound file to what a speech transformer reads.

file -> (samples,) float32 mono 16 kHz -> (mel bins, mel frames) log-mel as Whisper sees it, or
(samples,) of zero mean and unit variance as wav2vec 2.0 and WavLM see it.

The log-mel spectrogram is the one of Radford et al. 2022, "Robust Speech Recognition via
Large-Scale Weak Supervision" (arXiv:2212.04356), section 2.2: windows of 25 ms every 10 ms, mel
bands as in Slaney's Auditory Toolbox (1998). Every step of it is a function of its own; together
they equal the published extractors within 1e-4. Reading files and resampling are left to
libraries (soundfile by way of sound_files.py, soxr).
"""

import functools
import numbers

import numpy as np
import scipy.fft

from speechlib import sound_files

SAMPLE_RATE = 16_000  # samples a second (Hz)
HOP = 160  # samples from one mel frame to the next: 10 ms
WINDOW = 400  # samples in one mel frame: 25 ms
BLOCK = 128  # frames transformed at a time
LOUDEST = 1e12  # far beyond full scale, 1; the power of larger samples is infinite in float32
POWER_FLOOR = 1e-10  # the logarithm of silence is that of this power
DYNAMIC_RANGE = 8.0  # powers of ten below the loudest cell that are kept: 80 dB
NORMALISE_EPSILON = 1e-7  # added to the variance, so that silence stays finite


def load(path):
    """Read a sound file of any sampling rate and any number of channels.

    path: a wav, flac, ogg or mp3 file. Channels are averaged, other rates resampled (soxr).
    Returns (samples,) float32, mono, 16 kHz, full scale = 1.
    Raises ValueError, in one line, for a file that is missing, a folder, empty, not audio,
    corrupt or truncated, of zero length, or holding values that are not finite.
    """
    import soxr

    samples, rate = sound_files.read(path)
    bad = ~np.isfinite(samples).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{path}: expected finite samples, but {bad.sum()} of {len(bad)} are NaN or infinite, "
            f"the first at {bad.argmax() / rate:.3f} s: export the file again"
        )
    wave = samples.mean(axis=1)
    if len(wave) and rate != SAMPLE_RATE:
        wave = soxr.resample(wave, rate, SAMPLE_RATE)
    if len(wave) == 0:
        raise ValueError(
            f"expected sound, but {path} is of zero length ({len(samples)} samples at {rate} Hz): "
            "record it again"
        )
    return np.ascontiguousarray(wave, dtype=np.float32)


def as_wave(wave):
    """(samples,) float32 from floats, or from whole numbers (int16: 32768 becomes 1).

    Raises ValueError for another shape or kind, and for samples that are not finite or so large
    that their power is not.
    """
    try:
        # a tensor that learns, or lies on another device, is no array for NumPy
        wave = np.asarray(wave.detach().cpu() if hasattr(wave, "detach") else wave)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"expected a mono wave (samples,), came {type(wave).__name__} that NumPy cannot read: "
            "give samples as float32"
        ) from error
    if wave.ndim != 1 or wave.size == 0:
        raise ValueError(
            f"expected a mono wave (samples,) with samples in it, came shape {wave.shape}: "
            "average the channels, and give one recording at a time"
        )
    if wave.dtype.kind == "i":
        return (wave / -float(np.iinfo(wave.dtype).min)).astype(np.float32)
    if wave.dtype.kind != "f":
        raise ValueError(f"expected samples as floats or signed whole numbers, came {wave.dtype}")
    loudest = max(float(wave.max()), -float(wave.min()))  # NaN where one sample is
    if not np.isfinite(loudest):
        raise ValueError(
            f"expected finite samples, but {(~np.isfinite(wave)).sum()} of {wave.size} are NaN or "
            "infinite: remove them (numpy.nan_to_num) or record again"
        )
    if loudest > LOUDEST:
        raise ValueError(
            f"expected samples with full scale 1, came {loudest:.1g}: divide the wave by its "
            "largest value"
        )
    return wave.astype(np.float32, copy=False)


def to_int16(wave):
    """Floats of full scale 1, (samples,), as int16, half the size: `as_wave` gives them back.
    What is louder than full scale is cut off at it, as by a recorder."""
    return np.clip(np.round(np.asarray(wave) * 32768.0), -32768, 32767).astype(np.int16)


def pad_or_cut(wave, samples):
    """(samples,) of exactly that length: zeros are added at the end, or the end is cut off."""
    missing = samples - len(wave)
    return np.pad(wave, (0, missing)) if missing > 0 else wave[:samples]


def normalise(wave, lengths=None):
    """Zero mean and unit variance, as the extractor of wav2vec 2.0 and WavLM does.

    wave: (samples,) or (batch, samples). lengths: real samples of each row; what lies behind them
    is padding, does not count, and becomes 0. None: all are real.
    Returns float32 of the same shape: (wave - mean) / sqrt(variance + 1e-7).
    """
    wave = np.asarray(wave, dtype=np.float32)
    if lengths is None:
        variance = wave.var(axis=-1, keepdims=True)
        return (wave - wave.mean(axis=-1, keepdims=True)) / np.sqrt(variance + NORMALISE_EPSILON)
    rows, lengths = np.atleast_2d(wave), np.atleast_1d(lengths)
    if lengths.shape != rows.shape[:1] or lengths.min() < 1 or lengths.max() > rows.shape[1]:
        raise ValueError(
            f"expected {len(rows)} lengths from 1 to {rows.shape[1]} samples, came "
            f"{lengths.tolist()}: lengths count the real samples of each row"
        )
    result = np.zeros_like(rows)
    for row, length, out in zip(rows, lengths, result, strict=True):
        out[:length] = normalise(row[:length])
    return result.reshape(wave.shape)


def frames(wave, window=WINDOW, hop=HOP):
    """Overlapping pieces: (..., samples) -> (..., frames, window), a view without a copy.

    Frame t holds samples t * hop to t * hop + window; what does not fill a frame is left out.
    """
    if wave.shape[-1] < window:
        raise ValueError(
            f"expected at least one window of {window} samples, came {wave.shape[-1]}: pad the wave"
        )
    return np.lib.stride_tricks.sliding_window_view(wave, window, axis=-1)[..., ::hop, :]


@functools.cache
def hann_window(window=WINDOW):
    """One period of a raised cosine, (window,) float64: sin^2(pi * n / window).

    Periodic: divided by `window`, not by `window - 1`, so that shifted copies add up evenly.
    """
    hann = np.sin(np.pi * np.arange(window) / window) ** 2
    hann.flags.writeable = False  # made once, shared by everybody
    return hann


def stft_power(wave, window=WINDOW, hop=HOP):
    """Energy of each frequency in each frame: (..., samples) -> (..., frequencies, frames) float32.

    Frame t is centred on sample t * hop: both ends are mirrored by half a window, which makes
    samples // hop + 1 frames. Frequency k is k * 16000 / window Hz, k = 0 … window // 2.
    """
    half = window // 2
    edges = [(0, 0)] * (wave.ndim - 1) + [(half, half)]
    pieces = frames(np.pad(wave, edges, mode="reflect"), window, hop)
    power = np.empty((*pieces.shape[:-1], half + 1), np.float32)
    # In float64, since the rounding of a float32 FFT shows 70 dB below a loud tone; a block of
    # frames at a time, since a block fits the processor's cache: three times as fast.
    for start in range(0, pieces.shape[-2], BLOCK):
        block = np.s_[..., start : start + BLOCK, :]
        spectrum = scipy.fft.rfft(pieces[block] * hann_window(window))
        power[block] = spectrum.real**2 + spectrum.imag**2
    return np.swapaxes(power, -1, -2)


def hz_to_mel(hz):
    """Slaney's mel scale: 3 mel every 200 Hz up to 1 kHz, then 27 mel for every factor of 6.4."""
    hz = np.asarray(hz, dtype=np.float64)
    above = 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4)
    return np.where(hz < 1000, 3 * hz / 200, above)


def mel_to_hz(mel):
    """The inverse of hz_to_mel."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15, 200 * mel / 3, 1000 * 6.4 ** ((np.maximum(mel, 15) - 15) / 27))


@functools.cache
def mel_filters(mel_bins=80, window=WINDOW, sample_rate=SAMPLE_RATE):
    """Triangles, evenly spaced in mel: (mel bins, frequencies) float32, made once and read-only.

    Triangle m rises from corner m to corner m + 1 and falls to corner m + 2; it is divided by half
    its width in Hz (Slaney's norm), so that wide high bands do not outweigh narrow low ones.
    """
    if not isinstance(mel_bins, numbers.Integral) or mel_bins < 1:
        raise ValueError(f"expected at least 1 mel bin, came {mel_bins!r} (Whisper: 80 or 128)")
    frequencies = np.arange(window // 2 + 1) * sample_rate / window
    corners = mel_to_hz(np.linspace(0, hz_to_mel(sample_rate / 2), mel_bins + 2))[:, None]
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    filters = filters.astype(np.float32)
    filters.flags.writeable = False  # made once, shared by everybody
    return filters


def log_scaled(mel_power):
    """Whisper's scaling of mel power (..., mel bins, frames): the same shape, float32 of float32.

    log10 with a floor, all within 8 powers of ten of the loudest cell, then (x + 4) / 4: speech
    lies roughly between -1 and 1.
    """
    log = np.maximum(mel_power, np.float32(POWER_FLOOR))
    np.log10(log, out=log)  # in place, as all below: new memory costs more than the sums
    loudest = log.max(axis=(-2, -1), keepdims=True)
    np.maximum(log, loudest - DYNAMIC_RANGE, out=log)
    log += 4
    log /= 4
    return log


def log_mel_from_power(power, filters):
    """Power (..., frequencies, frames), filters of mel_filters() -> (..., mel bins, frames).

    For training: make the power once, change it each time (louder, shorter, noisy), then this.
    """
    return log_scaled(filters @ power)


def log_mel(wave, mel_bins=80, pad_to_seconds=30):
    """The log-mel spectrogram exactly as Whisper sees it.

    wave: (samples,) at 16 kHz, floats or int16. mel_bins: 80, or 128 (large-v3).
    pad_to_seconds: zeros are added up to this window, and anything longer is cut off, as the
    published extractors do (split long recordings before). None: neither; the wave as it is.
    Returns (mel bins, mel frames) float32, one frame every 10 ms: 3000 for 30 s.
    """
    wave = as_wave(wave)
    seconds = 0 if pad_to_seconds is None else pad_to_seconds
    if not isinstance(seconds, numbers.Real) or not np.isfinite(seconds):
        raise ValueError(f"expected pad_to_seconds as seconds, or None, came {pad_to_seconds!r}")
    total = len(wave) if pad_to_seconds is None else round(pad_to_seconds * SAMPLE_RATE)
    if total < HOP:
        raise ValueError(
            f"expected at least one hop of {HOP} samples (10 ms), came {total}: "
            "record more, or set pad_to_seconds"
        )
    # Two windows after the sound every frame is silent. They are all alike: compute one, repeat it.
    heard = min(total, len(wave) + 2 * WINDOW)
    power = stft_power(pad_or_cut(wave, heard))[:, :-1]  # Whisper drops the last frame
    mel = log_mel_from_power(power, mel_filters(mel_bins))
    silent = total // HOP - mel.shape[1]
    return np.pad(mel, ((0, 0), (0, silent)), mode="edge") if silent else mel
