"""Reading sound files, and saying in one line what is wrong with one that cannot be read.

file -> (samples, channels) float32 and its sampling rate in Hz. Decoding is left to soundfile
(libsndfile), which is lenient: it returns what it finds of a damaged or cut file without a word,
and prints remarks of its own about an mp3. Here damage is looked for, and is an error.
"""

import contextlib
import os
import sys
import threading
import zlib
from pathlib import Path

READS = "wav, flac, ogg and mp3"
AGAIN = "copy, download or export it again"

_MIRRORED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_stderr_lock = threading.Lock()


def read(path):
    """A sound file's (samples, channels) float32 and its sampling rate (Hz).

    Raises ValueError for a file that is missing, a folder, empty (0 bytes), not audio, corrupt or
    truncated, and for what is no path. A file that holds no samples is read: (0, channels).
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"expected the path of a sound file, came {type(path).__name__}")
    if not str(path):
        raise ValueError("expected the name of a sound file, but it is empty")
    path = Path(path)
    try:
        if not path.exists():
            raise ValueError(f"expected a sound file, but {path} does not exist: check the name")
        if path.is_dir():
            raise ValueError(f"expected a sound file, but {path} is a folder: name a file in it")
        if not path.is_file():  # to read from a pipe could last for ever
            raise ValueError(f"expected a sound file, but {path} is a pipe or a device: save the "
                             "sound as a file first")  # fmt: skip
        with open(path, "rb") as file:
            return _decode(path, file)
    except OSError as error:
        raise ValueError(f"{path} cannot be opened: {error.strerror or error}") from error


def _decode(path, file):
    import soundfile

    start, size = file.read(4096), os.fstat(file.fileno()).st_size
    if not start:
        raise ValueError(f"expected a sound file, but {path} is empty (0 bytes): {AGAIN}")
    if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
        _check_wav(path, file, size)
    if start[:4] == b"OggS":
        _check_ogg(path, file)
    file.seek(0)
    might_be_mp3 = start[:3] == b"ID3" or start[0] == 0xFF or path.suffix.lower() == ".mp3"
    with _quiet_stderr() if might_be_mp3 else contextlib.nullcontext():
        try:
            sound = soundfile.SoundFile(file)
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"expected a sound file ({READS}), but {path} is of another kind or its header is "
                "damaged: try it in a player, convert it to wav"
            ) from error
        with sound:
            try:
                samples = sound.read(dtype="float32", always_2d=True)
            except RuntimeError as error:
                raise ValueError(
                    f"{path} is corrupt: it starts as a {sound.format} file, but its sound cannot "
                    f"be decoded: {AGAIN}"
                ) from error
    # an mp3 without the Xing/Info header does not say how long it is: libsndfile guesses
    guessed = sound.format == "MP3" and b"Xing" not in start and b"Info" not in start
    _check_length(path, len(samples), sound.frames, file.tell() / size, guessed)
    return samples, sound.samplerate


def _check_length(path, came, promised, read, guessed):
    """Raise if fewer samples came than promised, or if a guess left much of the file unread."""
    if guessed and read < 0.9:
        raise ValueError(
            f"{path} does not say how long it is, and only {read:.0%} of it could be decoded: "
            "convert it to wav"
        )
    if not guessed and came < promised:
        raise ValueError(
            f"{path} is corrupt or truncated: its header promises {promised} samples, only "
            f"{came} could be decoded: {AGAIN}"
        )


def _check_wav(path, file, size):
    """Raise for a wav file that ends before its header says."""
    file.seek(12)
    while len(chunk := file.read(8)) == 8:
        promised, came = int.from_bytes(chunk[4:], "little"), size - file.tell()
        if chunk[:4] != b"data":
            file.seek(promised + promised % 2, os.SEEK_CUR)  # chunks start at even places
            continue
        # a program that could not go back to fill in the size leaves the largest number
        if came < promised < 0x7FFFFF00:
            raise ValueError(
                f"{path} is truncated: its header promises {promised} bytes of sound, it holds "
                f"{came}: {AGAIN}"
            )
        return


def _check_ogg(path, file):
    """Raise for an ogg file with a damaged page, or without the page that is marked as the last.

    Pages and their checksum: RFC 3533, section 6.
    """
    file.seek(0)
    last, pages = False, 0
    while header := file.read(27):
        lengths = file.read(header[26]) if len(header) == 27 else b""
        page = header + lengths + file.read(sum(lengths))
        if header[:4] != b"OggS" or ogg_checksum(page) != page[22:26]:
            raise ValueError(f"{path} is corrupt or truncated behind its page {pages}: {AGAIN}")
        last, pages = bool(header[5] & 4), pages + 1
    if not last:
        raise ValueError(f"{path} is truncated: its last page is missing: {AGAIN}")


def ogg_checksum(page):
    """The 4 bytes that belong at place 22 of a page: a CRC-32 that sees each byte's bits mirrored,
    which zlib's does not, and starts from 0."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(_MIRRORED_BITS)
    crc = zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4, "big").translate(_MIRRORED_BITS)


@contextlib.contextmanager
def _quiet_stderr():
    """Send what C libraries write to standard error to nowhere: libmpg123 cannot be told to be
    silent. One thread at a time, else the second would save the first one's nowhere."""
    if sys.__stderr__ is None:  # a program without a console
        yield
        return
    with _stderr_lock, open(os.devnull, "wb") as nowhere:
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
