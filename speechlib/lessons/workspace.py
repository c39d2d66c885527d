"""The work folder: made, refreshed without losing an answer, one stub restored.

input -> output: complete lessons -> student editions in a folder outside version control, which
JupyterLab shows; solutions are not in it. Everything that changes a file makes a backup first.
"""

import shutil
import time
from pathlib import Path

import nbformat

from speechlib import __version__
from speechlib.lessons.editions import is_solution, student
from speechlib.lessons.exercises import exercise as exercise_of
from speechlib.lessons.merging import merge, stamped
from speechlib.lessons.phrases import say
from speechlib.lessons.sources import complete_folder, complete_lessons, solution_id
from speechlib.lessons.workfolder import (
    MARKER,
    default_folder,
    existing_folder,
    mark,
    write_atomically,
)

BACKUPS = "backups"


def start(folder=None):
    """Make the work folder, or refresh it. Returns (folder, messages)."""
    folder = Path(folder).expanduser().resolve() if folder else default_folder()
    _refuse(folder)
    if not complete_lessons():
        raise ValueError(say("workspace.no_lessons"))
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / MARKER).exists():
        mark(folder, speechlib=__version__)
    if not (folder / ".gitignore").exists():
        write_atomically(folder / ".gitignore", "*\n")  # answers never enter version control
    return folder, update(folder)


def update(folder=None):
    """Refresh text, checks and views of every lesson; answers and added cells stay. Messages."""
    folder = existing_folder(folder)
    changes, messages = {}, []
    for path in complete_lessons():
        edition = student(nbformat.read(path, as_version=4))
        target = folder / path.name
        mine, reason = _read(target)
        if reason:
            messages.append(say("workspace.unreadable", name=target.name, reason=reason))
        made = merge(mine, edition) if mine is not None else stamped(edition)
        if mine is None or nbformat.writes(made) != nbformat.writes(mine):
            changes[target] = made, mine is None
    if any(target.exists() for target in changes):
        where = backup(folder)
        messages.append(say("workspace.backup", where=f"{BACKUPS}/{where.name}"))
    for target, (made, new) in changes.items():
        write_notebook(target, made)
        messages.append(say("workspace.new" if new else "workspace.refreshed", name=target.name))
    return messages or [say("workspace.nothing")]


def reset(id, folder=None):
    """Restore the stub of one exercise; the rest of the lesson stays as it is. Messages."""
    exercise_of(id)
    folder = existing_folder(folder)
    source = next((p for p in complete_lessons() if p.name[:2] == id[:2]), None)
    if source is None:
        raise ValueError(say("workspace.no_lesson", number=id[:2]))
    target = folder / source.name
    mine, _ = _read(target)
    if mine is None:
        return update(folder)  # the whole lesson is missing or unreadable: it comes back new
    where = backup(folder)
    edition = student(nbformat.read(source, as_version=4))
    _restore(mine, edition, solution_id(id), target)
    return [
        say("workspace.backup", where=f"{BACKUPS}/{where.name}"),
        say("workspace.reset", id=id, name=target.name),
    ]


def backup(folder):
    """Copy the lessons, my_speechlib and the progress into a new folder named by the time."""
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    number = 1
    while True:
        where = folder / BACKUPS / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            where.mkdir(parents=True)
            break
        except FileExistsError:
            number += 1
    for path in [*folder.glob("*.ipynb"), *folder.glob("progress*.json*")]:
        shutil.copy2(path, where / path.name)
    if (folder / "my_speechlib").is_dir():
        shutil.copytree(
            folder / "my_speechlib",
            where / "my_speechlib",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    return where


def write_notebook(path, nb):
    """Write a notebook in one step."""
    write_atomically(path, nbformat.writes(nb) + "\n")


def _restore(mine, edition, grade_id, target):
    fresh = next((c for c in edition.cells if _grade_id(c) == grade_id), None)
    if fresh is None:
        raise ValueError(say("workspace.no_exercise", name=target.name))
    twins = [c for c in mine.cells if _grade_id(c) == grade_id and is_solution(c)]
    twin = next((c for c in twins if c.id == fresh.id), twins[0] if twins else None)
    if twin is None:
        mine = merge(mine, edition, forget={grade_id})
    else:
        twin.update(cell_type="code", source=fresh.source, outputs=[], execution_count=None)
    write_notebook(target, mine)


def _read(path):
    """(notebook, None), (None, None) when there is none, (None, reason) when unreadable."""
    if not path.exists():
        return None, None
    try:
        text = path.read_text(encoding="utf-8")
        nb = nbformat.reads(text, as_version=4)
        for cell in nb.cells:  # touches what the merge relies on
            cell.source, cell.metadata, cell.cell_type  # noqa: B018
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count  # noqa: B018
        return nb, None
    except (ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError) as error:
        empty = path.stat().st_size == 0
        return None, say("workspace.empty") if empty else type(error).__name__


def _refuse(folder):
    """No work folder where the solutions are, or among somebody's other files."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(say("workspace.not_folder", folder=folder))
    complete = complete_folder()
    if complete and folder in (complete.resolve(), complete.resolve().parent):
        raise ValueError(say("workspace.solutions_here", folder=folder))
    if folder.is_dir() and not (folder / MARKER).exists() and any(folder.iterdir()):
        raise ValueError(say("workspace.not_empty", folder=folder))


def _grade_id(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id")
