"""The bundled corpus of synthetic speech, how it is made, and downloads of real speech.

`digits("test")` -> utterances with text, times and sound; `commands`, `numbers`, `conversations`
and `voice_clips` likewise. `disturb(wave, "babble")` adds noise. Reading needs no synthesiser.
`download("free-spoken-digits", "test")` -> utterances of people, the first time from the network.
"""

from speechlib.corpus.downloads import Utterances, download
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
    "Utterances",
    "commands",
    "conversations",
    "digits",
    "disturb",
    "download",
    "numbers",
    "speakers",
    "voice_clips",
]
