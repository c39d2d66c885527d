"""Recordings of people saying single digits: a folder -> its files, words and speakers; strings.

Files are named `{digit}_{speaker}_{index}.wav`, as in the Free Spoken Digit Dataset, whose own test
part is index 0 to 4.
"""

from pathlib import Path

import numpy as np

from speechlib import audio
from speechlib.tokenizers import DIGIT_WORDS

EVERY = range(50)  # index of a recording
GAP_S = (0.1, 0.5)  # silence between the recordings that are joined to a string


def recordings(folder, leave_out=(), only=(), indices=EVERY[5:]):
    """-> (path, word, speaker) of each. leave_out, only: speakers; only=(): all of them.

    Raises ValueError for a folder without any such file, and for a speaker who is not in it."""
    found = [(path, *path.stem.split("_")) for path in sorted(Path(folder).glob("*_*_*.wav"))]
    if not found:
        raise ValueError(f"{folder} has no files named digit_speaker_index.wav")
    speakers = {speaker for _, _, speaker, _ in found}
    if unknown := sorted({*leave_out, *only} - speakers):
        raise ValueError(
            f"expected speakers of {folder}, which are {', '.join(sorted(speakers))}, got "
            f"{', '.join(unknown)}"
        )
    for path, digit, speaker, index in found:
        if speaker not in leave_out and (not only or speaker in only) and int(index) in indices:
            yield path, DIGIT_WORDS[int(digit)], speaker


def strings(said, count, longest, rng):
    """Test strings, the speakers taking turns: 1 to `longest` recordings of one of them with gaps
    of 0.1 to 0.5 s -> [(wave (samples,), text)].

    said: speaker -> [(wave (samples,), word)]. rng: a numpy Generator."""
    speakers, found = list(said), []
    for number in range(count):
        mine = said[speakers[number % len(speakers)]]
        size = number // len(speakers) % longest + 1
        found.append(joined([mine[n] for n in rng.integers(len(mine), size=size)], rng))
    return found


def joined(said, rng):
    """Recordings (wave, word) in a row, 0.2 s before them and a gap after each -> (wave, text)."""
    parts = [np.zeros(audio.SAMPLE_RATE // 5, np.float32)]
    for wave, _ in said:
        parts += [wave, np.zeros(int(rng.uniform(*GAP_S) * audio.SAMPLE_RATE), np.float32)]
    return np.concatenate(parts), " ".join(word for _, word in said)
