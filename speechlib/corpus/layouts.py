"""How published corpora are laid out: unpacked folder -> a row of the manifest for each recording.

A row has file (relative to the folder), text in lower case, voice, split and kind. No voice is in
two splits: where the publisher splits by speaker that split is kept, else it is made here.
"""

from collections.abc import Iterator
from pathlib import Path

from speechlib.corpus.voices import DIGITS

# george, jackson, nicolas and yweweler were heard by the bundled whisper-digits
DIGIT_SPLITS = {"lucas": "valid", "theo": "test"}
LIBRISPEECH_SPLITS = {"train": "train", "dev": "valid", "test": "test"}
KEYWORD_LISTS = {"validation_list.txt": "valid", "testing_list.txt": "test"}


def digit_rows(folder: Path) -> Iterator[dict]:
    """Free Spoken Digit Dataset: recordings/<digit>_<speaker>_<number>.wav."""
    for file in sorted(folder.glob("*/recordings/*.wav")):
        digit, voice, _ = file.stem.split("_")
        yield _row(folder, file, DIGITS[int(digit)], voice, DIGIT_SPLITS.get(voice, "train"),
                   "digits")


def keyword_rows(folder: Path) -> Iterator[dict]:
    """Speech Commands: <word>/<speaker>_nohash_<number>.wav, and two lists of what is not train.

    The lists are by speaker. The folder _background_noise_ is left out: it has no split.
    """
    splits = {name: split for listed, split in KEYWORD_LISTS.items()
              for name in (folder / listed).read_text("utf-8").split()}
    for file in sorted(folder.glob("[!_]*/*.wav")):
        name = f"{file.parent.name}/{file.name}"
        yield _row(folder, file, file.parent.name, file.stem.partition("_nohash_")[0],
                   splits.get(name, "train"), "keyword")


def sentence_rows(folder: Path) -> Iterator[dict]:
    """LibriSpeech: LibriSpeech/<part>/<speaker>/<chapter>/*.flac beside a file with the texts."""
    for texts in sorted(folder.glob("LibriSpeech/*/*/*/*.trans.txt")):
        voice, part = texts.parts[-3], texts.parts[-4]
        split = LIBRISPEECH_SPLITS[part.partition("-")[0]]
        for line in texts.read_text("utf-8").splitlines():
            name, _, text = line.partition(" ")
            yield _row(folder, texts.with_name(f"{name}.flac"), " ".join(text.lower().split()),
                       voice, split, "sentence")


def _row(folder, file, text, voice, split, kind):
    return {"file": file.relative_to(folder).as_posix(), "text": text, "voice": voice,
            "split": split, "kind": kind}
