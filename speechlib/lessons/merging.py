"""Merge a learner's notebook with a newer student edition: pure functions, no files.

input -> output: (learner's notebook, edition) -> the edition's cells in the edition's order, with
every answer and every added cell of the learner. Cells are known by their nbformat id, answers by
their grade_id; the last edition's fingerprints are kept in the notebook's own metadata.
"""

import copy
import hashlib
from uuid import uuid4

from speechlib.lessons.editions import is_locked, is_solution

_START = -1  # the place before the first cell of the edition
_VIEW = ("collapsed", "scrolled", "execution", "jupyter", "trusted")  # JupyterLab's own notes


def stamped(edition):
    """The edition with a fingerprint of each cell, so that a later merge sees what was changed."""
    nb = copy.deepcopy(edition)
    nb.metadata["speechlib"] = {"cells": {cell.id: _print(cell.source) for cell in nb.cells}}
    return nb


def merge(mine, edition, forget=()):
    """A new stamped notebook. forget: grade_ids of answers to drop (their stubs come back)."""
    known = mine.metadata.get("speechlib", {}).get("cells", {})
    places = _match(mine.cells, edition.cells)
    taken = {i: cell for cell, i in zip(mine.cells, places, strict=True) if i is not None}
    added, anchor = {}, _START
    for cell, i in zip(mine.cells, places, strict=True):
        if i is not None:
            anchor = i
        elif known.get(cell.id) != _print(cell.source) or is_solution(cell):
            added.setdefault(anchor, []).append(cell)  # else: left the lesson, never changed
    out = stamped(edition)
    out.metadata = type(out.metadata)({**mine.metadata, "speechlib": out.metadata.speechlib})
    fresh_cells, out.cells = out.cells, []
    used = {cell.id for cell in fresh_cells}
    out.cells += [_freed(cell, used) for cell in added.get(_START, [])]
    for i, fresh in enumerate(fresh_cells):
        aside = None
        if i in taken and fresh.metadata.get("nbgrader", {}).get("grade_id") not in forget:
            aside = _keep(fresh, taken[i], known.get(fresh.id))
        out.cells.append(fresh)
        extra = ([aside] if aside else []) + added.get(i, [])
        out.cells += [_freed(cell, used) for cell in extra]
    return out


def _match(mine, fresh):
    """For each of the learner's cells the place of its twin in the edition, or None."""
    by_id = {cell.id: i for i, cell in enumerate(fresh)}
    by_grade = {_grade_id(cell): i for i, cell in enumerate(fresh) if _grade_id(cell)}
    by_source = {cell.source.strip(): i for i, cell in enumerate(fresh) if cell.source.strip()}
    found = [None] * len(mine)
    taken = set()
    looks = (  # the surest sign first: a copied cell has the same grade_id but another id
        lambda cell: by_id.get(cell.get("id")),
        lambda cell: by_grade.get(_grade_id(cell)),
        lambda cell: by_source.get(cell.source.strip()),
    )
    for look in looks:
        for n, cell in enumerate(mine):
            i = look(cell) if found[n] is None else None
            if i is not None and i not in taken:
                found[n] = i
                taken.add(i)
    return found


def _keep(fresh, mine, last_print):
    """Put what is the learner's into the fresh cell; returns a cell to be kept beside it."""
    fresh.metadata.update({key: mine.metadata[key] for key in _VIEW if key in mine.metadata})
    if is_solution(fresh):
        _keep_all(fresh, mine)
        return None
    if mine.source == fresh.source:
        _keep_outputs(fresh, mine)
        return None
    if _print(mine.source) == last_print:  # not changed by the learner: the new text replaces it
        return None
    if is_locked(fresh):
        return mine if mine.cell_type == "markdown" else None  # tests come back as they were
    if _print(fresh.source) == last_print:  # the lesson did not change here: the change stays
        _keep_all(fresh, mine)
        return None
    return mine


def _keep_all(fresh, mine):
    fresh.source = mine.source
    _keep_outputs(fresh, mine)
    if fresh.cell_type != "code" and "attachments" in mine:  # pictures pasted into a text
        fresh.attachments = copy.deepcopy(mine.attachments)


def _keep_outputs(fresh, mine):
    if fresh.cell_type == mine.cell_type == "code":
        fresh.outputs = copy.deepcopy(mine.outputs)
        fresh.execution_count = mine.execution_count


def _freed(cell, used):
    """A copy that is the learner's alone: no lesson id, not locked."""
    cell = copy.deepcopy(cell)
    for field in ("nbgrader", "deletable", "editable"):
        cell.metadata.pop(field, None)
    if cell.get("id") is None or cell.id in used:
        cell["id"] = uuid4().hex[:8]
    used.add(cell.id)
    return cell


def _grade_id(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def _print(source):
    return hashlib.sha256(source.encode()).hexdigest()[:12]
