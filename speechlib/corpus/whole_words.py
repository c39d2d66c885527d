"""Voices that come without times: each word is spoken alone, then the words are joined.

(voice, lines) -> Speech whose word times are where the words were joined. SVOX Pico and RHVoice
make a sound file and nothing else; of a person (recordings.py) there are only files. Voices of
other languages read English digits as they are spelled there (voices.py).
"""

import shutil
import tempfile
from pathlib import Path
from random import Random

import numpy as np

from speechlib.audio import SAMPLE_RATE
from speechlib.corpus.processes import read, run
from speechlib.corpus.speech import Line, Speech, resample, tidy
from speechlib.corpus.voices import Voice

GAP_S = (0.02, 0.12)  # between two words
TAKES = ((0.94, 0.92), (1.1, 1.07))  # of each word: factors of stretch and pitch
PICO = "libttspico-utils"  # Debian and Ubuntu: in the parts non-free and multiverse
RHVOICE = {  # voice -> the package it is in, likewise; each needs the package rhvoice, too
    **dict.fromkeys(("alan", "bdl", "clb"), "rhvoice-english"),
    **dict.fromkeys(("aleksandr", "anna", "elena", "irina"), "rhvoice-russian"),
    **dict.fromkeys(("anatol", "natalia"), "rhvoice-ukrainian"),
    **dict.fromkeys(("azamat", "nazgul"), "rhvoice-kyrgyz"),
    "spomenka": "rhvoice-esperanto",
    "Leticia-F123": "rhvoice-brazilian-portuguese",
}
RHVOICE_FOLDER = Path("/usr/share/RHVoice/voices")


def lacking(voices: list[Voice]) -> list[str]:
    """Debian packages of those of the voices that are not here."""
    return sorted({package for voice in voices for package in _packages(voice)})


def _packages(voice: Voice) -> list[str]:
    if voice.synthesiser == "pico":
        return [] if shutil.which("pico2wave") else [PICO]
    here = shutil.which("RHVoice-test") and (RHVOICE_FOLDER / voice.timbre).is_dir()
    return [] if here else ["rhvoice", RHVOICE[voice.timbre]]


def speak(voice: Voice, lines: list[Line]) -> list[Speech]:
    """All lines, at 16 kHz; the program speaks each word once a take, not once a line."""
    draw = Random(f"takes {voice.name}")
    said = {written: [_word(voice, written, *take) for take in TAKES]
            for written in sorted({word for line in lines for word in line.written})}  # fmt: skip
    return [joined(line, [draw.choice(said[word]) for word in line.written],
                   draw.uniform(*GAP_S)) for line in lines]


def joined(line: Line, spoken: list[Speech], gap_s: float) -> Speech:
    """The words of a line, each spoken alone and cut close, with `gap_s` of silence between."""
    gap, parts, words, start = np.zeros(round(gap_s * SAMPLE_RATE), np.float32), [], [], 0.0
    for word, speech in zip(line.words, spoken, strict=True):
        end = start + len(speech.wave) / SAMPLE_RATE
        words.append((word, start, end))
        parts += [speech.wave, gap]
        start = end + len(gap) / SAMPLE_RATE
    return Speech(np.concatenate(parts), words, [])


def _word(voice: Voice, written: str, stretch: float, pitch: float) -> Speech:
    """One word, at 16 kHz, cut close."""
    percent = round(voice.pitch * pitch / voice.tract)
    speed = round(100 / (voice.stretch * stretch * voice.tract))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "word.wav"
        PROGRAMS[voice.synthesiser](voice.timbre, f"{written}.", percent, speed, str(path))
        wave, rate = read(path)
    return tidy(resample(Speech(wave, [], [], rate)), margin_s=0.0)


def _pico(language: str, text: str, pitch: int, speed: int, path: str):
    """Pitch and speed, in percent of the voice's own, are marks in the text."""
    level = min(200, max(50, pitch))
    marked = f'<pitch level="{level}"><speed level="{speed}">{text}</speed></pitch>'
    run(["pico2wave", "-l", language, "-w", path, marked])


def _rhvoice(timbre: str, text: str, pitch: int, speed: int, path: str):
    run(["RHVoice-test", "-p", timbre, "-t", str(pitch), "-r", str(speed), "-o", path], f"{text}\n")


PROGRAMS = {"pico": _pico, "rhvoice": _rhvoice}
