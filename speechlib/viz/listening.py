"""Hearing: a span of the recording, or only what one attention row listened to.

Wave (samples,) -> wave (samples,), and a small player for the page. Players embed MP3, variable
bit rate, mono: 3 to 5 kB a second, and every browser plays it (Ogg/Opus: not older Safaris). The
MP3 carries its encoder delay, so that playback keeps the timing to the sample.
Notebook: 00_start_here
"""

import base64
import html
import io

import numpy as np

from speechlib.viz.time_axis import WHISPER_ENCODER, TimeAxis

RATE = 16000
SMOOTHING = 160  # samples: 10 ms


def hear_span(wave, start_s, end_s, rate=RATE):
    """The stretch of a wave from start_s to end_s, with 5 ms fades so that it does not click.

    wave: (samples,). Returns (samples of the stretch,) float32. ValueError on an empty stretch.
    """
    wave = checked_wave(wave)
    start, end = max(0, round(start_s * rate)), min(len(wave), round(end_s * rate))
    if end <= start:
        raise ValueError(f"nothing between {start_s:.2f} s and {end_s:.2f} s in a recording of "
                         f"{len(wave) / rate:.2f} s")
    cut = wave[start:end].copy()
    fade = min(len(cut) // 2, rate // 200)
    ramp = (np.arange(fade) + 1) / (fade + 1)
    cut[:fade] *= ramp
    cut[len(cut) - fade:] *= ramp[::-1]
    return cut


def row_gain(row, samples, time=WHISPER_ENCODER, hop_s=None):
    """Gain of each sample, 0 to 1, from one attention row. row: (frames,), not negative.

    The row is put at its frames' centres, scaled so that its highest frame inside the recording
    gets gain 1 (0 dB, never more), and smoothed over 10 ms. Returns (samples,) float32.
    """
    row = np.asarray(row.detach().cpu() if hasattr(row, "detach") else row, dtype=float)
    if row.ndim != 1 or len(row) == 0:
        raise ValueError(f"row must be (frames,), one row of one head; it has shape {row.shape}")
    if not np.isfinite(row).all() or row.min() < 0:
        raise ValueError("an attention row holds weights from 0 to 1; this one has negative or "
                         "infinite values: is it the scores before the softmax?")
    if hop_s is not None:
        time = TimeAxis(round(hop_s * RATE), rate=RATE)
    centres = time.seconds(np.arange(len(row))) * time.rate
    peak = row[centres < samples].max(initial=0.0)
    if peak == 0:
        return np.zeros(samples, dtype=np.float32)
    # padded by the smoothing window on both sides, so that the edges stay what they are
    where = np.arange(-SMOOTHING, samples + SMOOTHING)
    gain = np.interp(where, centres, np.minimum(row / peak, 1), right=0.0)
    window = np.hanning(SMOOTHING + 2)[1:-1]
    gain = np.convolve(gain, window / window.sum(), mode="same")[SMOOTHING:SMOOTHING + samples]
    return np.clip(gain, 0, 1).astype(np.float32)


def hear_row(wave, row, time=WHISPER_ENCODER, hop_s=None):
    """What one query listened to: the wave with its attention row as gain, timing unchanged.

    wave: (samples,); row: (frames,) weights; time: where the row's frames lie (Whisper's encoder
    frames unless told), or hop_s, seconds a frame. Returns (samples,) float32, as long as `wave`.
    """
    wave = checked_wave(wave)
    return wave * row_gain(row, len(wave), time, hop_s)


class Player:
    """An audio player as HTML with a label; shows itself as the last line of a cell."""

    def __init__(self, wave, label, rate=RATE, quality=0.6):
        if not str(label).strip():
            raise ValueError("a player needs a label that says what one will hear")
        self.label = str(label).strip()
        self.seconds = len(checked_wave(wave)) / rate
        self.data, self.kind = encode(wave, rate, quality)

    def _repr_html_(self):
        name = html.escape(f"{self.label} ({self.seconds:.1f} s)", quote=True)
        source = f"data:{self.kind};base64,{base64.b64encode(self.data).decode('ascii')}"
        return (f'<div class="speechlib-player" style="margin:4px 0">'
                f'<div>{name}</div><audio controls data-lm-suppress-shortcuts="true" '
                f'preload="metadata" aria-label="{name}" '
                f'title="{name}" src="{source}"></audio></div>')

    def __repr__(self):
        return f"Player: {self.label} ({self.seconds:.1f} s)"


def play(wave, label="recording", rate=RATE):
    """Show a player for a wave, (samples,), now. label: what one will hear (read out, too)."""
    from IPython.display import display

    display(Player(wave, label, rate))


def encode(wave, rate=RATE, quality=0.6):
    """(bytes, media type): MP3 where libsndfile can write it, else 16-bit WAV.

    quality: libsndfile's compression level, 0 large to 1 small.
    """
    import soundfile

    wave = np.clip(checked_wave(wave), -1, 1)
    out = io.BytesIO()
    if "MP3" in soundfile.available_formats():
        # One MP3 frame is 576 samples at these rates; very short sounds need a few to be decoded.
        wave = np.pad(wave, (0, max(0, 2304 - len(wave))))
        soundfile.write(out, wave, rate, format="MP3", subtype="MPEG_LAYER_III",
                        bitrate_mode="VARIABLE", compression_level=quality)
        return out.getvalue(), "audio/mpeg"
    soundfile.write(out, wave, rate, format="WAV", subtype="PCM_16")
    return out.getvalue(), "audio/wav"


def checked_wave(wave):
    """The wave as (samples,) float32; ValueError where it is not one sound."""
    wave = np.asarray(wave.detach().cpu() if hasattr(wave, "detach") else wave)
    if wave.ndim != 1 or len(wave) == 0:
        raise ValueError(f"wave must be (samples,), mono and not empty; it has shape {wave.shape}")
    if wave.dtype.kind not in "fiu":
        raise ValueError(f"wave must hold numbers; it holds {wave.dtype}")
    if wave.dtype.kind in "iu":
        raise ValueError(f"wave must be floats from -1 to 1; it holds {wave.dtype}: "
                         "divide 16-bit samples by 32768 first")
    if not np.isfinite(wave).all():
        raise ValueError("wave holds NaN or infinite values")
    return wave.astype(np.float32)
