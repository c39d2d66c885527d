"""Recordings of people, by one call: name -> utterances, read from the disk as one asks for them.

`download("speech-commands", split="test")` fetches the archive (progress, resume, checksum),
unpacks it beside its place and moves it there in one step: a folder of the right name is whole.
From then on it needs no network. Each corpus keeps its own licence; none is part of speechlib.
"""

import contextlib
import functools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechlib import paths
from speechlib.corpus import fetching, layouts, unpacking, utterances
from speechlib.corpus.fetching import Archive
from speechlib.corpus.utterances import Utterance

MANIFEST = "manifest.jsonl"
ROOM = 2.7  # an archive and what is unpacked from it, in sizes of the archive


@dataclass(frozen=True)
class Source:
    """A published corpus: what it is, its licence and page, its archives, how it is laid out."""

    what: str
    licence: str
    page: str
    archives: tuple[Archive, ...]
    rows: Callable[[Path], Iterator[dict]]


def _librispeech(what: str, number: int, *parts: tuple[str, str, int]) -> Source:
    base = f"https://www.openslr.org/resources/{number}"
    archives = tuple(Archive(f"{base}/{part}.tar.gz", *rest) for part, *rest in parts)
    return Source(what, "CC BY 4.0", f"https://www.openslr.org/{number}", archives,
                  layouts.sentence_rows)


# Checksums and sizes as published: openslr.org's md5sum.txt for Mini LibriSpeech; for the others
# the SHA-256 on which torchaudio and TensorFlow Datasets agree. GitHub publishes none.
SOURCES = {
    "free-spoken-digits": Source(
        "Free Spoken Digit Dataset 1.0.10: digits by six people, 8 kHz", "CC BY-SA 4.0",
        "https://github.com/Jakobovski/free-spoken-digit-dataset",
        (Archive("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/"
                 "v1.0.10.tar.gz", saved_as="free-spoken-digit-dataset-1.0.10.tar.gz"),),
        layouts.digit_rows),
    "speech-commands": Source(
        "Speech Commands 0.02: 35 single words by thousands of people", "CC BY 4.0",
        "https://arxiv.org/abs/1804.03209",
        (Archive("https://storage.googleapis.com/download.tensorflow.org/data/"
                 "speech_commands_v0.02.tar.gz",
                 "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
                 2_428_923_189),),
        layouts.keyword_rows),
    "mini-librispeech": _librispeech(
        "Mini LibriSpeech: train-clean-5 and dev-clean-2, read books", 31,
        ("train-clean-5", "md5:5df7d4e78065366204ca6845bb08f490", 332_954_390),
        ("dev-clean-2", "md5:6d7ab67ac6a1d2c993d050e16d61080d", 126_046_265)),
}
for _part, _sha256, _size in (
    ("dev-clean", "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3", 337_926_286),
    ("dev-other", "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365", 314_305_928),
    ("test-clean", "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23", 346_663_984),
    ("test-other", "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29", 328_757_843),
    ("train-clean-100", "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
     6_387_309_499),
):
    SOURCES[f"librispeech-{_part}"] = _librispeech(
        f"LibriSpeech {_part}, read books", 12, (_part, f"sha256:{_sha256}", _size))


class Utterances(Sequence):
    """The recordings of a downloaded corpus, or of one split: only what is asked for is read.

    Iterating, indexing and len() go by the manifest; each item is an `Utterance` with text, voice,
    split, duration_s and .wave(), and without word and phone times.
    """

    def __init__(self, folder: Path, split: str | None = None):
        self.folder, self.split = Path(folder), split

    def __iter__(self) -> Iterator[Utterance]:
        with open(self.folder / MANIFEST, encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                if self.split in (None, row["split"]):
                    yield utterances.from_row(self.folder, row)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        with open(self.folder / MANIFEST, "rb") as file:
            file.seek(self._starts[index])
            return utterances.from_row(self.folder, json.loads(file.readline()))

    def __repr__(self) -> str:
        return f"Utterances({str(self.folder)!r}, split={self.split!r})"

    def voices(self) -> Counter:
        """Voice -> number of its utterances."""
        return Counter(utterance.voice for utterance in self)

    @functools.cached_property
    def _starts(self) -> list[int]:
        """Where in the manifest the line of each utterance begins (bytes)."""
        starts, at = [], 0
        with open(self.folder / MANIFEST, "rb") as file:
            for line in file:
                if self.split in (None, json.loads(line)["split"]):
                    starts.append(at)
                at += len(line)
        return starts


def download(name: str, split: str | None = None, *, folder: str | Path | None = None,
             progress: bool = True) -> Utterances:
    """A corpus of real recordings; downloaded at the first call, read from the disk ever after.

    name: one of SOURCES. split: "train", "valid" or "test" (no voice is in two of them); None: all.
    folder: where corpora are kept (default: $SPEECHLIB_CORPORA, else the user's cache folder).
    Raises ValueError, in one line, for another name or split, a server that does not give the file,
    a wrong checksum, an archive that is damaged or unsafe, and a full disk. A download that was
    stopped is gone on with by the next call.
    """
    if name not in SOURCES:
        raise ValueError(f"expected one of {', '.join(SOURCES)}, got {name!r}")
    if split not in (None, *utterances.SPLITS):
        raise ValueError(f"expected split to be one of {', '.join(utterances.SPLITS)} or None, "
                         f"got {split!r}")
    place = corpora_folder() if folder is None else Path(folder)
    if not (place / name / MANIFEST).is_file():
        try:
            place.mkdir(parents=True, exist_ok=True)
            with _alone(place / f".{name}.lock", name):
                if not (place / name / MANIFEST).is_file():
                    _bring(name, place, progress)
        except OSError as error:
            raise ValueError(f"{error.filename or place}: {error.strerror or error}; what has been "
                             "downloaded is kept, call again when this is mended") from error
    return Utterances(place / name, split)


def corpora_folder() -> Path:
    """Where downloads are kept: $SPEECHLIB_CORPORA, else a folder in the user's cache."""
    if named := os.environ.get("SPEECHLIB_CORPORA"):
        return Path(named)
    import pooch

    return Path(pooch.os_cache("speechlib"))


def _bring(name: str, place: Path, progress: bool) -> None:
    """Fetch and unpack; the folder gets its right name when everything is in it, not before."""
    source, target, work = SOURCES[name], place / name, place / f".{name}.unpacking"
    if target.exists():
        raise ValueError(f"expected {target} to be a downloaded corpus or not to be there, found "
                         f"it without {MANIFEST}: move it away")
    _check_room(source, place)
    shutil.rmtree(work, ignore_errors=True)  # of a call that was killed
    files = [fetching.fetch(archive, place, progress) for archive in source.archives]
    work.mkdir()
    try:
        _unpack(source, files, work, progress)
        for archive, file in zip(source.archives, files, strict=True):
            if archive.checksum is None and archive.name not in fetching.recorded(place):
                fetching.record(file)
                print(f"{name}: no checksum is published for {archive.url}; that of what came now "
                      f"is kept in {place / fetching.SUMS}, and later downloads must equal it")
        if hasattr(os, "sync"):
            os.sync()  # after a power cut, too, a folder of this name is whole
        os.replace(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for file in files:
        file.unlink()


def _unpack(source: Source, files: list[Path], work: Path, progress: bool) -> None:
    try:
        for file in files:
            unpacking.unpack(file, work, progress)
        rows = [json.dumps(row | {"duration_s": _duration(work / row["file"])}, ensure_ascii=False)
                for row in source.rows(work)]
        if not rows:
            raise ValueError(f"expected recordings in {files[0].name}, found none in their place")
    except (ValueError, LookupError, FileNotFoundError) as error:
        for file in files:
            file.unlink()
        missing = Path(getattr(error, "filename", None) or "").name
        said = f"expected {missing} in {files[0].name}, found none" if missing else error
        raise ValueError(f"{said}; the archive was deleted: try again, and if it stays so, look "
                         f"at {source.page}") from error
    paths.write_whole(work / MANIFEST,
                      lambda file: Path(file).write_text("\n".join(rows) + "\n", "utf-8"))


def _duration(file: Path) -> float:
    """Seconds, from the file's header."""
    import soundfile

    try:
        return round(soundfile.info(file).duration, 3)
    except RuntimeError as error:
        raise ValueError(f"expected sound in the archive, but {file.name} is none") from error


def _check_room(source: Source, place: Path) -> None:
    size = sum(archive.size or 0 for archive in source.archives)
    there = sum(file.stat().st_size for archive in source.archives
                for file in place.glob(f"{archive.name}*"))
    free = shutil.disk_usage(place).free
    if free < ROOM * size - there:
        raise ValueError(f"expected {(ROOM * size - there) / 1e9:.1f} GB free for {place}, found "
                         f"{free / 1e9:.1f}: free some, or name a folder on another disk")


@contextlib.contextmanager
def _alone(lock: Path, name: str):
    """Keep a second process away; a killed process leaves no lock. Windows: no lock at all."""
    with open(lock, "w") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(f"{name} is being downloaded to {lock.parent} by another process: "
                                 "wait until it is done, then call again") from error
        yield
