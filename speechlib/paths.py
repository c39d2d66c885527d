"""Where the bundled data lies, and how a file is written so that nothing is lost.

input -> output: nothing -> the folder with the toy corpus and the teaching checkpoints (beside the
package in a checkout, else where SPEECHLIB_DATA says).
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path


def data_folder() -> Path:
    """The folder `data/` with the corpus and the checkpoints.

    $SPEECHLIB_DATA, when set, wins. Raises ValueError when there is no such folder.
    """
    named = os.environ.get("SPEECHLIB_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parent.parent / "data"
    if not folder.is_dir():
        why = "SPEECHLIB_DATA names it" if named else "it is looked for beside the package"
        raise ValueError(
            f"no data folder at {folder} ({why}); set SPEECHLIB_DATA to the folder `data` of a "
            "speechlib checkout"
        )
    return folder


def write_whole(path, write):
    """Calls write(temporary path), makes sure it is on the disk, and moves it into place.

    A crash or a full disk leaves either the old file or the new one. The folder must be there.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        else:
            os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        _replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # still there only when something went wrong


def write_json(path, content, sort_keys=False):
    """A JSON file whole, in lines that can be read."""
    text = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=sort_keys) + "\n"
    write_whole(path, lambda part: Path(part).write_text(text, encoding="utf-8"))


def _replace(source, target):
    for wait in (0.02, 0.1, 0.5, None):  # Windows refuses while another process reads the file
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if wait is None:
                raise
            time.sleep(wait)
