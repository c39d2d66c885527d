"""Who speaks commands, numbers and conversations: () -> 76 voices, all with an English accent.

The same people as in the training library, with the same splits: no timbre is in two of them. Of
a few timbres there are two voices, which differ in accent, pitch, pace and vocal tract.
"""

from speechlib.corpus.voices import (
    ENGLISH,
    MEN,
    RECORDED,
    SPELLINGS,
    TIMBRES,
    WHOLE_WORDS,
    WOMEN,
    Voice,
    all_voices,
    espeak_voice,
    recorded_voice,
)

RECORDED_VOICES = (("slt", 0), ("slt", 3), ("awb", 0), ("kal16", 0), ("rms", 0), ("rms", 4))
TRAINED_MEN = 24


def cast() -> list[Voice]:
    """Every speaker, by split: 52 in train, 6 in valid, 18 in test."""
    held_out = TIMBRES["valid"] | TIMBRES["test"]
    women = [timbre for timbre in WOMEN if timbre not in held_out]
    men = [timbre for timbre in MEN if timbre not in held_out][:TRAINED_MEN]
    timbres = [*women, *women, *men, *sorted(TIMBRES["valid"]), *sorted(TIMBRES["test"]) * 2]
    voices = [espeak_voice(timbre, ENGLISH[(n + n // 8) % len(ENGLISH)])
              for n, timbre in enumerate(timbres)]
    rows = {row[1]: row for row in RECORDED}
    return voices + [recorded_voice(rows[timbre], copy) for timbre, copy in RECORDED_VOICES]


def everyone() -> list[Voice]:
    """All voices of the training library that can read any English text, in their splits."""
    return [voice for voice in all_voices()
            if voice.accent not in SPELLINGS and voice.synthesiser not in WHOLE_WORDS]
