"""Voices that come without times: each word is spoken alone, then the words are joined.

(voice, lines) -> Speech whose word times are where the words were joined. SVOX Pico and RHVoice
make a sound file and nothing else; of a person (recordings.py) there are only files. Voices of
other languages read English digits as they are spelled there (voices.py).
"""

import shutil
import subprocess
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
    program = PROGRAMS[voice.synthesiser]
    draw, said = Random(f"takes {voice.name}"), {}
    for written in sorted({word for line in lines for word in line.written}):
        said[written] = [program(voice, written, stretch, pitch) for stretch, pitch in TAKES]
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


def _pico(voice: Voice, written: str, stretch: float, pitch: float) -> Speech:
    """Pitch and speed in percent of the voice's own; it is given both as marks in the text."""
    level = min(200, max(50, round(voice.pitch * pitch / voice.tract)))
    speed = round(100 / (voice.stretch * stretch * voice.tract))
    text = f'<pitch level="{level}"><speed level="{speed}">{written}.</speed></pitch>'
    return _spoken(lambda path: run(["pico2wave", "-l", voice.timbre, "-w", path, text]))


def _rhvoice(voice: Voice, written: str, stretch: float, pitch: float) -> Speech:
    settings = {"-t": voice.pitch * pitch / voice.tract,
                "-r": 100 / (voice.stretch * stretch * voice.tract)}  # fmt: skip
    options = [part for name, value in settings.items() for part in (name, str(round(value)))]
    command = ["RHVoice-test", "-p", voice.timbre, *options]

    def make(path):
        done = subprocess.run([*command, "-o", path], input=written + ".\n", check=False,
                              capture_output=True, text=True, encoding="utf-8")  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"RHVoice-test failed: {done.stderr.strip()[:200]}")

    return _spoken(make)


def _spoken(make) -> Speech:
    """What `make(path)` writes to a file, at 16 kHz, cut close."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "word.wav")
        make(path)
        wave, rate = read(Path(path))
    return tidy(resample(Speech(wave, [], [], rate)), margin_s=0.0)


PROGRAMS = {"pico": _pico, "rhvoice": _rhvoice}
