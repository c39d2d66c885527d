"""A person instead of a synthesiser: (voice, lines of digits) -> Speech, her recordings joined.

Allison Smith spoke the prompts of the telephone exchange Asterisk (8 kHz, CC BY-SA 3.0), among
them each digit once. Takes differ in speed and pitch together, as on a tape.
"""

from pathlib import Path

from speechlib.corpus.processes import read
from speechlib.corpus.speech import Line, Speech, resample, tidy
from speechlib.corpus.voices import DIGITS, Voice
from speechlib.corpus.whole_words import joined

PACKAGE = "asterisk-core-sounds-en-wav"  # Debian and Ubuntu
FOLDER = Path("/usr/share/asterisk/sounds/en_US_f_Allison/digits")
GAP_S = 0.06


def speak(voice: Voice, lines: list[Line]) -> list[Speech]:
    """All lines, which must be digits, at 16 kHz; the voice's pitch and stretch are not used."""
    said = {word: tidy(_recorded(n), margin_s=0.0) for n, word in enumerate(DIGITS)}
    return [resample(joined(line, [said[word] for word in line.words], GAP_S), line.pitch)
            for line in lines]


def _recorded(digit: int) -> Speech:
    wave, rate = read(FOLDER / f"{digit}.wav")
    return resample(Speech(wave, [], [], rate))
