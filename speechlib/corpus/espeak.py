"""espeak-ng through its C library: (voice, lines) -> Speech with the times of its own events.

The library (speak_lib.h) calls back with samples and with events: where in the samples each word
and each phone begins. Needs libespeak-ng.so.1 (Debian: espeak-ng).
"""

import ctypes
import ctypes.util

import numpy as np

from speechlib.corpus.speech import Line, Span, Speech
from speechlib.corpus.voices import Voice

END, WORD, PHONEME = 0, 1, 7  # espeak_EVENT_TYPE
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
SYNCHRONOUS, PHONEME_EVENTS, DONT_EXIT, UTF8 = 2, 1, 0x8000, 1
WORDS_A_MINUTE = 160  # at stretch 1


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("position", ctypes.c_int),  # in the text, from 1
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


def library() -> str | None:
    """The file name of espeak-ng's C library, or None."""
    return ctypes.util.find_library("espeak-ng")


def speak(voice: Voice, lines: list[Line]) -> list[Speech]:
    """All lines in one voice. Raises RuntimeError when espeak-ng does not know the voice.

    Some timbres use random numbers (flutter, breath): call this in a fresh process for each voice
    and the sound is the same each time.
    """
    espeak = ctypes.CDLL(library())
    rate = espeak.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS | DONT_EXIT)
    if rate <= 0:
        raise RuntimeError("espeak-ng does not start: is the package espeak-ng-data installed?")
    chunks, events = [], []

    @_Callback
    def collect(wave, samples, event):
        if wave and samples:
            chunks.append(np.ctypeslib.as_array(wave, (samples,)).copy())
        n = 0
        while event[n].type != END:
            e = event[n]
            events.append((e.type, e.position, e.sample / rate, e.id.string.decode("latin-1")))
            n += 1
        return 0

    espeak.espeak_SetSynthCallback(collect)
    variant = "" if voice.timbre == "default" else f"+{voice.timbre}"
    if espeak.espeak_SetVoiceByName(f"{voice.accent}{variant}".encode()):
        raise RuntimeError(f"espeak-ng has no voice {voice.accent}{variant}")
    said = []
    for line in lines:
        chunks.clear()
        events.clear()
        pace = WORDS_A_MINUTE / (voice.stretch * line.stretch * voice.tract)
        pitch = voice.pitch + 60 * (line.pitch - 1)
        for parameter, value in ((RATE, pace), (PITCH, pitch), (RANGE, voice.pitch_range)):
            espeak.espeak_SetParameter(parameter, int(min(max(value, 0), 450)), 0)
        text = line.text.encode()
        espeak.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None)
        wave = np.concatenate(chunks).astype(np.float32) / 32768
        said.append(Speech(wave, *_spans(line, events), rate))
    return said


def _spans(line: Line, events: list[tuple]) -> tuple[list[Span], list[Span]]:
    """Words and phones. A phone ends where the next one, a pause or the speech's end begins."""
    ends = [event[2] for event in events if event[0] == PHONEME][1:] + [events[-1][2]]
    ends, phones, words, reached = iter(ends), [], [], 0
    for kind, position, start, name in events:
        if kind == WORD and position > reached:  # it reports a word again after a pause
            words.append([])
            reached = position
        elif kind == PHONEME:
            end = next(ends)
            if name and not name.startswith("_") and end > start:  # "_", "_:" are pauses
                phones.append((name, start, end))
                words[-1].append(phones[-1])
    if len(words) != len(line.words) or not all(words):
        raise RuntimeError(f"espeak-ng said {len(words)} words for {line.text!r}")
    spans = [(word, inside[0][1], inside[-1][2])
             for word, inside in zip(line.words, words, strict=True)]
    return spans, phones
