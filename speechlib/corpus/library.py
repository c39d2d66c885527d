"""A library of training clips, read again: folders and a split -> each voice and its clips.

`synthesise.py` writes it, and its docstring says what is in a file. Reading needs no synthesiser.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Clip:
    """One recording: a digit, a string of digits, or something without digits."""

    samples: np.ndarray  # (samples,) int16, 16 kHz: half the memory of float32
    text: str  # its digits, as words; "" where it has none
    kind: str  # "digit", "string" or "other"; "real": a digit that a person said
    voice: str
    words: tuple[tuple[str, float, float], ...] = ()  # what is said: (word, start_s, end_s)

    def wave(self) -> np.ndarray:
        """(samples,) float32."""
        return self.samples.astype(np.float32) / 32768


def voices(folders, split: str) -> Iterator[tuple[str, list[Clip]]]:
    """(name, clips) of every voice of a split, in the order of the files."""
    for path in sorted(path for folder in folders for path in Path(folder, split).glob("*.npz")):
        with np.load(path) as file:
            pieces = np.split(file["samples"], file["starts"][1:-1])
            words = json.loads(str(file["words"]))
            told = zip(pieces, file["texts"], file["kinds"], words, strict=True)
            # copies, so that whoever keeps a few clips does not keep the whole file
            yield path.stem, [
                Clip(piece.copy(), str(text), str(kind), path.stem, tuple(map(tuple, spoken)))
                for piece, text, kind, spoken in told
            ]
