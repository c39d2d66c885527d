"""The bundled toy corpus: split -> utterances, each with its text, its times and its sound.

Four sets: digits, commands, numbers (with their German text) and conversations.
`data/<set>/manifest.jsonl` has a line for each utterance; nothing is read from the sound files
until `.wave()` asks for it.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlib import audio, paths

SPLITS = ("train", "valid", "test")
SETS = ("digits", "commands", "numbers", "conversations")
KINDS = ("digits", "words", "noise", "silence")
FRAMES_A_SECOND = 100  # of who spoke when


@dataclass(frozen=True)
class Utterance:
    """One recording of the toy corpus.

    text: what the model should write, "" when there is no digit in it; voice: a key of
    voices.json, "" for noise, silence and conversations; kind: one of KINDS, "command", "keyword",
    "number", "conversation" or, of a download, "sentence"; words and phones: (label, start_s,
    end_s) from the synthesiser, in its own phone symbols; translation: of a number, into German;
    turns: of a conversation, (voice, start_s, end_s).
    """

    path: Path
    text: str
    voice: str
    split: str
    kind: str
    duration_s: float
    words: tuple[tuple[str, float, float], ...]
    phones: tuple[tuple[str, float, float], ...]
    translation: str = ""
    turns: tuple[tuple[str, float, float], ...] = ()

    def wave(self) -> np.ndarray:
        """(samples,) float32, mono, 16 kHz."""
        return audio.load(self.path)

    def mel(self, mel_bins: int = 80, pad_to_seconds: float = 6.0) -> np.ndarray:
        """(mel bins, mel frames) float32, padded to the window of `whisper-digits`."""
        return audio.log_mel(self.wave(), mel_bins=mel_bins, pad_to_seconds=pad_to_seconds)

    def who_spoke_when(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Of a conversation: its voices, in order of their first turn, and (frames, voices) bool,
        a frame being 10 ms and True where its middle lies in a turn of that voice."""
        voices = tuple(dict.fromkeys(voice for voice, _, _ in self.turns))
        frames = int(np.ceil(self.duration_s * FRAMES_A_SECOND))
        middles = (np.arange(frames) + 0.5) / FRAMES_A_SECOND
        spoken = np.zeros((frames, len(voices)), dtype=bool)
        for voice, start, end in self.turns:
            spoken[:, voices.index(voice)] |= (middles >= start) & (middles < end)
        return voices, spoken


def digits(split: str | None = None, kind: str | None = "digits") -> list[Utterance]:
    """The toy corpus of spoken digit strings, in the order of its manifest.

    split: "train", "valid" or "test" (no voice is in two of them); None: all.
    kind: "digits"; "words", "noise" or "silence" for what a digit model must not write down
    (test only); None: all. Raises ValueError for another split or kind, or without data.
    """
    _check(kind, KINDS, "kind")
    return [u for u in _of_split("digits", split) if kind in (None, u.kind)]


def commands(split: str | None = None, kind: str | None = "command") -> list[Utterance]:
    """Spoken commands of a small grammar ("turn the light off"); kind "keyword": single words;
    None: both. Raises ValueError for another split or kind, or without data."""
    _check(kind, ("command", "keyword"), "kind")
    return [u for u in _of_split("commands", split) if kind in (None, u.kind)]


def numbers(split: str | None = None) -> list[Utterance]:
    """Spoken numbers from 0 to 99: `.text` in English, `.translation` in German."""
    return _of_split("numbers", split)


def conversations(split: str | None = None) -> list[Utterance]:
    """Two voices taking turns, sometimes at once; see `.turns` and `.who_spoke_when()`."""
    return _of_split("conversations", split)


def voice_clips(split: str | None = None) -> dict[str, list[Utterance]]:
    """For telling voices apart: voice -> all its commands, keywords and numbers (76 voices)."""
    found: dict[str, list[Utterance]] = {}
    for utterance in commands(split, kind=None) + numbers(split):
        found.setdefault(utterance.voice, []).append(utterance)
    return found


def speakers(name: str = "digits") -> dict[str, dict]:
    """Voice -> what it is: synthesiser, timbre, accent, sex, split, pitch, pace; of one set."""
    _check(name, SETS, "the set")
    return json.loads((paths.data_folder() / name / "voices.json").read_text("utf-8"))


def _of_split(name: str, split: str | None) -> list[Utterance]:
    _check(split, SPLITS, "split")
    return [u for u in read_manifest(paths.data_folder() / name) if split in (None, u.split)]


def _check(value: str | None, known: tuple[str, ...], what: str) -> None:
    if value is not None and value not in known:
        raise ValueError(f"expected {what} to be one of {', '.join(known)} or None, got {value!r}")


@functools.lru_cache(maxsize=4)
def read_manifest(folder: Path) -> tuple[Utterance, ...]:
    """The utterances of a folder in the toy corpus' format."""
    file = folder / "manifest.jsonl"
    if not file.is_file():
        name = folder.name if folder.name in SETS else f"NAME --out {folder}"
        raise ValueError(f"expected the toy corpus' manifest at {file}, found none; "
                         f"python -m speechlib corpus build --set {name} makes one")
    return tuple(from_row(folder, json.loads(row))
                 for row in file.read_text("utf-8").splitlines())


def from_row(folder: Path, row: dict) -> Utterance:
    """The utterance of a manifest's line; `folder` is where the manifest lies."""
    spans = {name: tuple((label, start, end) for label, start, end in row.get(name, ()))
             for name in ("words", "phones", "turns")}
    same = {name: row[name] for name in ("text", "voice", "split", "kind", "duration_s")}
    translation = row.get("translation", "")
    return Utterance(path=folder / row["file"], **same, **spans, translation=translation)
