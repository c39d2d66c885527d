"""Recordings of people saying single digits: a folder -> its files, words and speakers.

Files are named `{digit}_{speaker}_{index}.wav`, as in the Free Spoken Digit Dataset, whose own test
part is index 0 to 4.
"""

from pathlib import Path

from speechlib.tokenizers import DIGIT_WORDS


def recordings(folder, leave_out=(), only=(), indices=range(5, 50)):
    """-> (path, word, speaker) of each. leave_out, only: speakers; only=(): all of them.

    Raises ValueError for a folder without any such file."""
    paths = sorted(Path(folder).glob("*_*_*.wav"))
    if not paths:
        raise ValueError(f"{folder} has no files named digit_speaker_index.wav")
    for path in paths:
        digit, speaker, index = path.stem.split("_")
        if speaker in leave_out or (only and speaker not in only) or int(index) not in indices:
            continue
        yield path, DIGIT_WORDS[int(digit)], speaker
