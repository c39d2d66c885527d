"""Where the learner's own files are: the work folder, known by its marker file.

SPEECHLIB_WORK names it; otherwise it is the nearest folder upwards that holds the marker. A
complete lesson run from the repository has none: then a folder that lives as long as the kernel,
so that nothing is ever written into the repository.
"""

import atexit
import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path

from speechlib import paths
from speechlib.lessons.phrases import say

MARKER = ".speechlib-work.json"


def work_folder():
    """(folder, lasting): lasting is False for the folder that goes away with the kernel."""
    named = os.environ.get("SPEECHLIB_WORK")
    if named:
        folder = Path(named).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        return folder.resolve(), True
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / MARKER).is_file():
            return folder, True
    return _temporary(), False


@cache
def _temporary():
    folder = Path(tempfile.mkdtemp(prefix="speechlib-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def default_folder():
    """Where `lessons start` works: SPEECHLIB_WORK, the folder one is in, ~/speechlib-lessons."""
    if os.environ.get("SPEECHLIB_WORK"):
        return Path(os.environ["SPEECHLIB_WORK"]).expanduser().resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / MARKER).is_file():
            return folder
    return Path.home() / "speechlib-lessons"


def existing_folder(folder=None):
    """The named or default work folder; ValueError when there is none yet."""
    folder = Path(folder).expanduser().resolve() if folder else default_folder()
    if not (folder / MARKER).is_file():
        raise ValueError(say("workspace.no_folder", folder=folder))
    return folder


def mark(folder, **about):
    """Make folder a work folder."""
    write_atomically(folder / MARKER, json.dumps(about, indent=1) + "\n")


def write_atomically(path, content):
    """Write text or bytes so that a crash leaves either the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    paths.write_whole(path, lambda temporary: Path(temporary).write_bytes(data))


@contextlib.contextmanager
def locked(folder, seconds=5.0):
    """One writer at a time, also between kernels; goes on without the lock after `seconds`."""
    path = Path(folder) / ".speechlib-lock"
    try:
        file = open(path, "a+b")  # noqa: SIM115 (closed below)
    except OSError:
        yield
        return
    try:
        end = time.monotonic() + seconds
        while not _try_lock(file) and time.monotonic() < end:
            time.sleep(0.02)
        yield
    finally:
        file.close()  # closing gives the lock back


def _try_lock(file):
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # only these say that somebody else has it; some network folders know no locks at all
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True
