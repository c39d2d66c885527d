"""What is said, and what is done to the sound before it is stored.

Line (words as written for a voice) -> a synthesiser -> Speech (samples, word and phone times) ->
tidied, with longer gaps -> an Ogg Vorbis file that is the same, byte for byte, each time.
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from random import Random

import numpy as np

from speechlib import audio, sound_files

Span = tuple[str, float, float]  # label, start_s, end_s


@dataclass(frozen=True)
class Line:
    """What to say: the words as written for the voice, the mark after each, and how.

    stretch (of durations) and pitch are factors on the voice's own, so that no two takes are alike.
    """

    words: tuple[str, ...]
    written: tuple[str, ...]
    marks: tuple[str, ...]
    stretch: float = 1.0
    pitch: float = 1.0

    @property
    def text(self) -> str:
        return " ".join(word + mark for word, mark in zip(self.written, self.marks, strict=True))


@dataclass(frozen=True)
class Speech:
    """wave: (samples,) float32 at `rate` Hz; words and phones in order."""

    wave: np.ndarray
    words: list[Span]
    phones: list[Span]
    rate: int = audio.SAMPLE_RATE

    def with_times(self, wave: np.ndarray, move) -> "Speech":
        """The same words in another wave at 16 kHz: `move` takes an old time to its new one."""
        words, phones = (
            [(label, float(move(start)), float(move(end))) for label, start, end in spans]
            for spans in (self.words, self.phones)
        )
        return Speech(wave, words, phones)


def resample(speech: Speech, tract: float = 1.0) -> Speech:
    """To 16 kHz, played `tract` times as fast: formants and pitch rise as in a shorter tract."""
    import soxr

    rate = speech.rate * tract
    wave = speech.wave
    if rate != audio.SAMPLE_RATE:
        wave = soxr.resample(wave, rate, audio.SAMPLE_RATE)
    return speech.with_times(wave, lambda time: time / tract)


def tidy(speech: Speech, margin_s: float, peak: float = 0.7, silence_db: float = -45.0) -> Speech:
    """Cut the silence at both ends, all but `margin_s` of it, and scale to `peak`.

    Silence: frames of 10 ms that lie `silence_db` below the loudest one.
    """
    hop = audio.HOP
    frames = len(speech.wave) // hop
    power = np.square(speech.wave[: frames * hop].reshape(frames, hop)).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (silence_db / 10))
    margin = round(margin_s * audio.SAMPLE_RATE)
    first = max(0, loud[0] * hop - margin)
    wave = speech.wave[first : (loud[-1] + 1) * hop + margin]
    length, offset = len(wave) / audio.SAMPLE_RATE, first / audio.SAMPLE_RATE
    scaled = wave * np.float32(peak / np.abs(wave).max())
    return speech.with_times(scaled, lambda time: round(min(max(time - offset, 0), length), 3))


def widen_gaps(speech: Speech, draw: Random, longest_s: float, ends_s: float = 0.3) -> Speech:
    """Add silence: up to `longest_s` in each pause between words, up to `ends_s` at both ends."""
    inner = [
        _quietest(speech.wave, before[2], after[1])
        for before, after in zip(speech.words, speech.words[1:], strict=False)
        if after[1] - before[2] > 0.03
    ]
    cuts = [0, *inner, len(speech.wave)]
    limits = [ends_s, *[longest_s] * len(inner), ends_s]
    gaps = [round(draw.uniform(0, limit) * audio.SAMPLE_RATE) for limit in limits]
    parts = [np.zeros(gaps[0], np.float32)]
    for first, last, gap in zip(cuts, cuts[1:], gaps[1:], strict=False):
        parts += [_faded(speech.wave[first:last]), np.zeros(gap, np.float32)]

    def later(time):
        passed = [gap for cut, gap in zip(cuts, gaps, strict=True)
                  if cut == 0 or cut < time * audio.SAMPLE_RATE - 1]
        return round(time + sum(passed[: len(inner) + 1]) / audio.SAMPLE_RATE, 3)

    return speech.with_times(np.concatenate(parts), later)


def _quietest(wave: np.ndarray, start_s: float, end_s: float) -> int:
    """The sample in the middle of the quietest 10 ms between two times."""
    first, last = round(start_s * audio.SAMPLE_RATE), round(end_s * audio.SAMPLE_RATE)
    power = np.convolve(np.square(wave[first:last]), np.ones(audio.HOP), "valid")
    return first + int(power.argmin()) + audio.HOP // 2


def _faded(wave: np.ndarray, samples: int = 80) -> np.ndarray:
    """A copy that comes and goes within 5 ms, so that a cut does not click."""
    ramp = np.minimum(np.arange(len(wave)) / samples, 1).astype(np.float32)
    return wave * ramp * ramp[::-1]


def ogg_bytes(wave: np.ndarray) -> bytes:
    """wave at 16 kHz -> an Ogg Vorbis file that is the same each time.

    An Ogg stream has a random serial number; here it is set to 1 and the checksum of each page
    made anew (RFC 3533, section 6: serial at byte 14 of a page, checksum at byte 22).
    """
    import soundfile

    file = BytesIO()
    soundfile.write(file, wave, audio.SAMPLE_RATE, format="OGG", subtype="VORBIS",
                    compression_level=0.7)
    data, start = bytearray(file.getvalue()), 0
    while start < len(data):
        segments = data[start + 26]
        header = start + 27 + segments
        end = header + sum(data[start + 27 : header])
        data[start + 14 : start + 18] = struct.pack("<I", 1)
        data[start + 22 : start + 26] = sound_files.ogg_checksum(bytes(data[start:end]))
        start = end
    return bytes(data)
