"""The learner's progress: one small file in the work folder, safe against crashes and two kernels.

Every change reads the file anew under a lock, changes only its own exercise and replaces the file
in one step; the last good content is kept beside it as progress.json.bak.
"""

import json

from speechlib.lessons.boxes import Box, show
from speechlib.lessons.phrases import say
from speechlib.lessons.workfolder import locked, work_folder, write_atomically

FILE = "progress.json"
_EMPTY = {"tried": False, "passed": False, "points": False, "hints": 0, "solution": False}
_session = {"lesson": None, "told": set()}


def current_lesson():
    """Number of the lesson whose exercise was last used in this kernel, or None."""
    return _session["lesson"]


def read():
    """Exercise id -> record (tried, passed, points, hints, solution, source); {} when new."""
    folder, _ = work_folder()
    with locked(folder):
        return _load(folder)


def record(id):
    """The record of one exercise, with defaults for what has not happened."""
    return {**_EMPTY, **read().get(id, {})}


def note(id, *, tried=False, passed=False, graded=False, source=None, hints=0, solution=False):
    """Add what happened. Nothing that was reached is ever taken away."""
    _session["lesson"] = id[:2]
    if not (tried or passed or graded or hints or solution):
        return
    folder, _ = work_folder()
    try:
        with locked(folder):
            every = _load(folder)
            one = {**_EMPTY, **every.get(id, {})}
            one["tried"] |= tried
            one["passed"] |= passed
            one["points"] |= graded
            one["solution"] |= solution
            one["hints"] = max(one["hints"], hints)
            if source:
                one["source"] = source[:20_000]
            if one != every.get(id):
                every[id] = one
                _store(folder, every)
    except OSError as error:
        _tell("progress.not_written", why=error.strerror or type(error).__name__)


def _store(folder, every):
    path = folder / FILE
    text = json.dumps({"version": 1, "exercises": dict(sorted(every.items()))}, indent=1) + "\n"
    if path.exists():
        write_atomically(folder / f"{FILE}.bak", path.read_bytes())
    write_atomically(path, text)


def _load(folder):
    path, spare = folder / FILE, folder / f"{FILE}.bak"
    if not path.exists() and not spare.exists():
        return {}
    found = _parse(path)
    if found is not None:
        return found
    copy = _parse(spare)
    if copy is not None and not path.exists():
        _tell("progress.missing")
    else:
        aside = _set_aside(path if path.exists() else spare)
        _tell("progress.lost" if copy is None else "progress.recovered", aside=aside)
    if copy is not None:
        write_atomically(path, spare.read_bytes())
    return copy or {}


def _parse(path):
    """The records in a file, or None when it cannot be read as such."""
    try:
        exercises = json.loads(path.read_text(encoding="utf-8"))["exercises"]
        return {str(id): {**_EMPTY, **one} for id, one in exercises.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _set_aside(path):
    number = 1
    while (aside := path.with_name(f"progress.unreadable-{number}.json")).exists():
        number += 1
    path.replace(aside)
    return aside.name


def _tell(key, **values):
    if key not in _session["told"]:
        _session["told"].add(key)
        show(Box(say(key, **values), "bad"))
