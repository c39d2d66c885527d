"""The bundled toy corpus: split -> utterances, each with its text, its times and its sound.

`data/digits/manifest.jsonl` has a line for each utterance; nothing is read from the sound files
until `.wave()` asks for it.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlib import audio, paths

SPLITS = ("train", "valid", "test")
KINDS = ("digits", "words", "noise", "silence")


@dataclass(frozen=True)
class Utterance:
    """One recording of the toy corpus.

    text: what the model should write, "" when there is no digit in it; voice: a key of
    voices.json, "" for noise and silence; kind: one of KINDS; words and phones: (label, start_s,
    end_s) from the synthesiser, in its own phone symbols.
    """

    path: Path
    text: str
    voice: str
    split: str
    kind: str
    duration_s: float
    words: tuple[tuple[str, float, float], ...]
    phones: tuple[tuple[str, float, float], ...]

    def wave(self) -> np.ndarray:
        """(samples,) float32, mono, 16 kHz."""
        return audio.load(self.path)

    def mel(self, mel_bins: int = 80, pad_to_seconds: float = 6.0) -> np.ndarray:
        """(mel bins, mel frames) float32, padded to the window of `whisper-digits`."""
        return audio.log_mel(self.wave(), mel_bins=mel_bins, pad_to_seconds=pad_to_seconds)


def digits(split: str | None = None, kind: str | None = "digits") -> list[Utterance]:
    """The toy corpus of spoken digit strings, in the order of its manifest.

    split: "train", "valid" or "test" (no voice is in two of them); None: all.
    kind: "digits"; "words", "noise" or "silence" for what a digit model must not write down
    (test only); None: all. Raises ValueError for another split or kind, or without data.
    """
    for value, known, what in ((split, SPLITS, "split"), (kind, KINDS, "kind")):
        if value is not None and value not in known:
            raise ValueError(f"expected {what} to be one of {', '.join(known)} or None, "
                             f"got {value!r}")
    folder = paths.data_folder() / "digits"
    return [utterance for utterance in read_manifest(folder)
            if split in (None, utterance.split) and kind in (None, utterance.kind)]


def speakers() -> dict[str, dict]:
    """Voice -> what it is: synthesiser, timbre, accent, sex, split, pitch, pace."""
    return json.loads((paths.data_folder() / "digits" / "voices.json").read_text("utf-8"))


@functools.lru_cache(maxsize=4)
def read_manifest(folder: Path) -> tuple[Utterance, ...]:
    """The utterances of a folder in the toy corpus' format."""
    file = folder / "manifest.jsonl"
    if not file.is_file():
        raise ValueError(f"expected the toy corpus' manifest at {file}, found none; "
                         "python -m speechlib corpus build makes it again")
    return tuple(_utterance(folder, json.loads(row))
                 for row in file.read_text("utf-8").splitlines())


def _utterance(folder: Path, row: dict) -> Utterance:
    spans = {name: tuple((label, start, end) for label, start, end in row[name])
             for name in ("words", "phones")}
    same = {name: row[name] for name in ("text", "voice", "split", "kind", "duration_s")}
    return Utterance(path=folder / row["file"], **same, **spans)
