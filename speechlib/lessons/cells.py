"""Cells of a complete lesson in nbgrader's format, for whoever writes a lesson.

nb = notebook(text("top", "# Positions"), code("start", "import speechlib as sl"),
              *exercise("03.1", task="…", source="def …", hidden="assert …"))
write(nb, "notebooks/03_positions.ipynb")
"""

from pathlib import Path

import nbformat
from nbformat import v4

from speechlib.lessons.exercises import exercise as exercise_of
from speechlib.lessons.sources import solution_id, test_id

_HELP = """\
# Stuck? Take away the # in front of a line and run this cell. hint gives one hint at a time.
# hint("{id}")
# solution("{id}")"""


def notebook(*cells):
    """A notebook of these cells, with a plain Python kernel."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    language = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}
    return v4.new_notebook(
        cells=list(cells), metadata={"kernelspec": kernel, "language_info": language}
    )


def text(id, source):
    """A markdown cell. The id stays for ever: `lessons update` knows the cell by it."""
    return v4.new_markdown_cell(source, id=id)


def code(id, source, tags=()):
    """A code cell; tags such as "nbval-ignore-output" for outputs that cannot be compared."""
    cell = v4.new_code_cell(source, id=id)
    if tags:
        cell.metadata["tags"] = list(tags)
    return cell


def exercise(id, task, source, hidden="", visible="", help=True):
    """The cells of one exercise: locked task, solution cell with its check, help, locked test.

    source holds the def with ### BEGIN SOLUTION … ### END SOLUTION; the check line is added.
    visible, hidden: further lines of the test cell (asserts), after the graded check.
    """
    told = exercise_of(id)
    dashed = id.replace(".", "-")
    cells = [
        _graded(
            text(f"task-{dashed}", f"{heading(told)}\n\n{task}"), f"task-{dashed}", locked=True
        ),
        _graded(
            code(solution_id(id), f'{source.strip()}\n\ncheck("{id}", {told.name})'),
            solution_id(id),
            solution=True,
        ),
    ]
    if help:
        cells.append(code(f"help-{dashed}", _HELP.format(id=id)))
    lines = [f'assert check("{id}", {told.name}, graded=True)']
    lines += [visible.strip()] if visible else []
    if hidden:
        lines += ["### BEGIN HIDDEN TESTS", hidden.strip(), "### END HIDDEN TESTS"]
    # the tag lets "Run All" go on below a test that has not passed yet
    test = code(test_id(id), "\n".join(lines), tags=["raises-exception"])
    cells.append(_graded(test, test_id(id), grade=True, locked=True, points=told.points))
    return cells


def heading(told):
    """The first lines of an exercise's task, from its toml: title and rating."""
    minutes = f"{told.minutes} minute" + ("s" if told.minutes != 1 else "")
    points = f"{told.points} point" + ("s" if told.points != 1 else "")
    return f"### Exercise {told.id} · {told.title}\n\n{told.level} · {minutes} · {points}"


def write(nb, path):
    """Validate and write."""
    nbformat.validate(nb)
    Path(path).write_text(nbformat.writes(nb) + "\n", encoding="utf-8")


def _graded(cell, grade_id, grade=False, solution=False, locked=False, points=None):
    about = {
        "schema_version": 3,
        "grade_id": grade_id,
        "grade": grade,
        "solution": solution,
        "locked": locked,
        "task": False,
        "cell_type": cell.cell_type,
    }
    if points is not None:
        about["points"] = points
    cell.metadata["nbgrader"] = about
    return cell
