"""For authors: python -m speechlib.lessons.author execute|lint|student 03, or edition 03 FOLDER

execute  run the complete lesson and store its outputs
lint     say what a complete lesson does not keep to
student  run its student edition from top to bottom: only locked test cells may fail
edition  write its student edition into a folder
"""

import os
import re
import sys
from pathlib import Path

import nbformat

from speechlib.lessons import cells, editions, sources
from speechlib.lessons.exercises import lesson as lesson_of

MAX_BYTES = 300_000


def execute(notebook, folder=".", allow_errors=False):
    """Run all cells in place, without time stamps, so that the file is the same each time."""
    from nbclient import NotebookClient

    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", record_timing=False,
        allow_errors=allow_errors, coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    # the kernel finds the package that runs this, also where it is not installed
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    client.execute(env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths))))
    notebook.metadata.pop("widgets", None)  # state of live views: their saved picture is enough
    notebook.metadata.pop("language_info", None)  # carries the version of this Python
    notebook.metadata["language_info"] = {"name": "python", "file_extension": ".py"}
    return notebook


def lint(path):
    """What is wrong with a complete lesson, one line each."""
    nb = nbformat.read(path, as_version=4)
    lesson = lesson_of(path.name[:2])
    if path.stem != lesson.file:
        yield f"the text file is content/{lesson.file}.toml: the names must agree"
    if path.stat().st_size > MAX_BYTES:
        yield f"{path.stat().st_size / 1000:.0f} kB, the limit is {MAX_BYTES / 1000:.0f} kB"
    by_id = {c.metadata["nbgrader"]["grade_id"]: c for c in nb.cells if "nbgrader" in c.metadata}
    for exercise in lesson.exercises.values():
        yield from _exercise(exercise, by_id)
    for cell in nb.cells:
        if cell.cell_type == "code" and cell.source and cell.execution_count is None:
            yield f"cell {cell.id} has not been executed"
        for output in cell.get("outputs", ()):
            if output.output_type == "error" or output.get("name") == "stderr":
                yield f"cell {cell.id} has an error or writes to stderr"
        if editions.is_solution(cell) and not editions.cut(cell.source, editions.SOLUTION)[1]:
            yield f"cell {cell.id} is a solution cell without ### BEGIN SOLUTION"
    try:
        editions.student(nb)
    except ValueError as error:
        yield f"no student edition: {error}"


def _exercise(exercise, by_id):
    dashed, id = exercise.id.replace(".", "-"), exercise.id
    task, work = by_id.get(f"task-{dashed}"), by_id.get(sources.solution_id(id))
    test = by_id.get(sources.test_id(id))
    for cell, name in ((task, "task"), (work, "solution"), (test, "test")):
        if cell is None:
            yield f"{id}: no {name} cell (grade_id {name}-{dashed}; the solution's is ex-{dashed})"
    if task is not None and not task.source.startswith(cells.heading(exercise)):
        yield f"{id}: the task must begin with\n{cells.heading(exercise)}"
    if work is not None and not re.search(rf'^check\("{id}", \w+\)$', work.source, re.MULTILINE):
        yield f'{id}: the solution cell needs the line check("{id}", {exercise.name})'
    if test is not None:
        if not test.source.startswith(f'assert check("{id}", {exercise.name}, graded=True)'):
            yield f'{id}: the test begins with assert check("{id}", {exercise.name}, graded=True)'
        if "raises-exception" not in test.metadata.get("tags", []):
            yield f'{id}: the test cell needs the tag "raises-exception", so that Run All goes on'
        if test.metadata["nbgrader"].get("points") != exercise.points:
            yield f"{id}: the test cell's points differ from the toml's"


def student_problems(path, folder):
    """Run the student edition top to bottom; every error but that of a locked test cell."""
    nb = execute(editions.student(nbformat.read(path, as_version=4)), folder, allow_errors=True)
    for cell in nb.cells:
        for output in cell.get("outputs", ()):
            if output.output_type != "error":
                continue
            if not (editions.is_grade(cell) and output.ename in ("NotPassed", "AssertionError")):
                yield f"cell {cell.id}: {output.ename}: {output.evalue}"


def _write_edition(number, folder):
    for path in sources.complete_lessons():
        if path.name[:2] == number:
            nb = editions.student(nbformat.read(path, as_version=4))
            cells.write(nb, Path(folder) / path.name)
            return 0
    print(f"no complete lesson {number}")
    return 1


def main(arguments):
    """Exit code 1 when something is wrong, 2 for a wrong call."""
    if not arguments or arguments[0] not in ("execute", "lint", "student", "edition"):
        print(__doc__)
        return 2
    if arguments[0] == "edition":
        return _write_edition(*arguments[1:])
    bad = 0
    for path in sources.complete_lessons():
        if arguments[1:] and path.name[:2] not in arguments[1:]:
            continue
        if arguments[0] == "execute":
            cells.write(execute(nbformat.read(path, as_version=4), path.parent), path)
            found = []
        elif arguments[0] == "lint":
            found = list(lint(path))
        else:
            import tempfile

            with tempfile.TemporaryDirectory() as folder:
                found = list(student_problems(path, folder))
        print("ok " if not found else "BAD", path.name, *(f"\n    {line}" for line in found))
        bad += bool(found)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
