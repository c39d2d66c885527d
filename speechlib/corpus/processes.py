"""What the drivers of the synthesisers that are programs share: run one, read what it wrote."""

import os
import subprocess
from pathlib import Path

from speechlib.corpus.speech import Span


def read(path: Path, **how):
    """(samples,) float32 and the sampling rate in Hz. how: of a file without a header."""
    import soundfile

    return soundfile.read(path, dtype="float32", **how)


def run(command: list[str], text: str | None = None) -> str:
    """What the command prints; text: what it is told on its standard input.

    LC_ALL=C: else decimal points follow the user's language."""
    done = subprocess.run(command, input=text, capture_output=True, check=False,
                          encoding="utf-8", env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[:200]}")
    return done.stdout


def spans(marks: list[tuple[str, float]], pauses: tuple[str, ...] = ("pau",)) -> list[Span]:
    """(label, end_s) -> spans; each begins where the one before ends, pauses are left out."""
    starts = [0.0] + [end for _, end in marks]
    return [(label, start, end)
            for (label, end), start in zip(marks, starts, strict=False) if label not in pauses]
