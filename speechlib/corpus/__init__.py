"""The bundled corpus of synthetic speech, and how it is made.

`digits("test")` -> utterances with text, times and sound; `commands`, `numbers`, `conversations`
and `voice_clips` likewise. `disturb(wave, "babble")` adds noise. Reading needs no synthesiser.
"""

from speechlib.corpus.noise import disturb
from speechlib.corpus.utterances import (
    Utterance,
    commands,
    conversations,
    digits,
    numbers,
    speakers,
    voice_clips,
)

__all__ = [
    "Utterance",
    "commands",
    "conversations",
    "digits",
    "disturb",
    "numbers",
    "speakers",
    "voice_clips",
]
