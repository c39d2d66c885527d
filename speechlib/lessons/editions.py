"""Make the student edition of a complete lesson: nbgrader's cut, without nbgrader.

The result equals that of nbgrader 0.9.6's LockCells, ClearSolutions, ClearOutput,
ComputeChecksums and ClearHiddenTests, cell for cell (a test compares them), so that a course
may also use nbgrader itself.
"""

import copy
import hashlib
import re

CODE_STUB = "# YOUR CODE HERE\nraise NotImplementedError()"
TEXT_STUB = "YOUR ANSWER HERE"
SOLUTION = "BEGIN SOLUTION", "END SOLUTION"
HIDDEN = "BEGIN HIDDEN TESTS", "END HIDDEN TESTS"


def student(notebook):
    """A new notebook without solutions, hidden tests and outputs; task and test cells locked.

    Raises ValueError for regions that are nested, left open, or in a cell of the wrong kind.
    """
    nb = copy.deepcopy(notebook)
    nb.metadata.pop("celltoolbar", None)
    seen = set()
    for cell in nb.cells:
        about = cell.metadata.get("nbgrader")
        if about is not None:
            _unique(about["grade_id"], seen)
        _lock(cell)
        _clear_solution(cell)
        _clear_output(cell)
        _clear_hidden(cell)
        if is_grade(cell) or is_solution(cell) or is_locked(cell):
            about["checksum"] = checksum(cell)
            about["cell_type"] = cell.cell_type
    return nb


def is_grade(cell):
    """Whether the cell gives points."""
    return cell.metadata.get("nbgrader", {}).get("grade", False)


def is_solution(cell):
    """Whether the learner writes in this cell."""
    return cell.metadata.get("nbgrader", {}).get("solution", False)


def is_locked(cell):
    """Whether the lesson's own text wins over changes in this cell."""
    about = cell.metadata.get("nbgrader", {})
    return not is_solution(cell) and bool(about.get("grade") or about.get("locked"))


def checksum(cell):
    """nbgrader's fingerprint of a cell: source, kind, id and points."""
    parts = [cell.source, cell.cell_type, str(is_grade(cell)), str(is_solution(cell))]
    parts += [str(is_locked(cell)), cell.metadata.nbgrader["grade_id"]]
    if is_grade(cell):
        parts.append(str(float(cell.metadata.nbgrader["points"])))
    return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()


def cut(source, markers, stub=None):
    """(source with each marked region replaced by the stub lines, whether there was one)."""
    begin, end = markers
    kept, inside, found = [], False, False
    for line in source.split("\n"):
        if begin in line:
            if inside:
                raise ValueError(f"{begin} inside {begin} in this cell:\n{source}")
            inside = found = True
            if stub:
                indent = re.match(r"\s*", line).group(0)
                kept += [indent + stub_line for stub_line in stub.split("\n")]
        elif end in line:
            inside = False
        elif not inside:
            kept.append(line)
    if inside:
        raise ValueError(f"{begin} without {end} in this cell:\n{source}")
    return "\n".join(kept), found


def _unique(grade_id, seen):
    if grade_id in seen:
        raise ValueError(f"two cells have the grade_id {grade_id!r}; it must be unique.")
    seen.add(grade_id)


def _lock(cell):
    if is_solution(cell):
        cell.metadata["deletable"] = False
    elif is_grade(cell) or is_locked(cell):
        cell.metadata["deletable"] = False
        cell.metadata["editable"] = False


def _clear_solution(cell):
    stub = CODE_STUB if cell.cell_type == "code" else TEXT_STUB
    source, found = cut(cell.source, SOLUTION, stub)
    if found and not is_solution(cell):
        raise ValueError(f"a solution region in a cell that is no solution cell:\n{cell.source}")
    if is_solution(cell) and not found:
        source = stub
    cell.source = source


def _clear_hidden(cell):
    cell.source, found = cut(cell.source, HIDDEN)
    if found and not is_grade(cell):
        raise ValueError(f"hidden tests in a cell that is no test cell:\n{cell.source}")


def _clear_output(cell):
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
        for field in ("collapsed", "scrolled"):
            cell.metadata.pop(field, None)
