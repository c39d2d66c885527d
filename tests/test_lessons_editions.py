"""The student edition equals nbgrader's own cut, and holds no answer."""

import copy

import nbformat
import pytest

from speechlib.lessons import cells, editions, sources

LESSONS = sources.complete_lessons()


def demonstration():
    source = "import math\n\n\ndef normalise(scores):\n    ### BEGIN SOLUTION\n    secret = 1\n"
    source += "    return secret\n    ### END SOLUTION\n\n\ndef given():\n    return 2"
    nb = cells.notebook(
        cells.text("top", "# Demonstration"),
        cells.code("start", "from speechlib.lessons import check", tags=["a"]),
        *cells.exercise("99.1", task="Write it.", source=source, hidden="hidden_line = 1"),
        cells.text("essay", "My answer, which nobody should see"),
    )
    about = dict(schema_version=3, grade_id="essay", grade=True, solution=True, locked=False)
    nb.cells[-1].metadata["nbgrader"] = dict(about, points=2, task=False, cell_type="markdown")
    nb.cells[1].outputs = [nbformat.v4.new_output("stream", text="seen")]
    nb.cells[1].execution_count = 3
    nb.cells[1].metadata["collapsed"] = True
    nb.metadata["celltoolbar"] = "Create Assignment"
    return nb


def by_nbgrader(nb):
    """The preprocessors of nbgrader's generate_assignment that work without its database."""
    preprocessors = pytest.importorskip("nbgrader.preprocessors")
    names = ("IncludeHeaderFooter LockCells ClearSolutions ClearOutput CheckCellMetadata "
             "ComputeChecksums ClearHiddenTests ClearMarkScheme ComputeChecksums "
             "CheckCellMetadata")  # fmt: skip
    nb, resources = copy.deepcopy(nb), {}
    for name in names.split():
        nb, resources = getattr(preprocessors, name)().preprocess(nb, resources)
    return nb


def test_equals_nbgrader_on_the_demonstration():
    nb = demonstration()
    before = copy.deepcopy(nb)
    assert editions.student(nb) == by_nbgrader(nb)
    assert nb == before  # the complete lesson is not touched


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_equals_nbgrader_on_every_lesson(path):
    nb = nbformat.read(path, as_version=4)
    assert editions.student(nb) == by_nbgrader(nb)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_no_answer_is_left_in_the_student_edition(path):
    nb = nbformat.read(path, as_version=4)
    made = nbformat.writes(editions.student(nb))
    for word in (*editions.SOLUTION, *editions.HIDDEN):
        assert word not in made
    for cell in nb.cells:
        inside = False
        for line in cell.source.split("\n"):
            if "BEGIN SOLUTION" in line or "BEGIN HIDDEN" in line:
                inside = True
            elif "END SOLUTION" in line or "END HIDDEN" in line:
                inside = False
            elif inside and len(line.strip()) > 25:
                assert line.strip() not in made, f"this line of the solution is given away: {line}"


def test_the_stub_stands_where_the_solution_stood():
    made = {cell.id: cell for cell in editions.student(demonstration()).cells}
    source = made["ex-99-1"].source
    assert "secret" not in source and "    raise NotImplementedError()\n" in source
    assert "def given" in source and 'check("99.1", normalise)' in source
    assert made["test-99-1"].source == 'assert check("99.1", normalise, graded=True)'
    assert made["test-99-1"].metadata["editable"] is False
    assert made["essay"].source == "YOUR ANSWER HERE"
    assert made["start"].outputs == [] and made["start"].execution_count is None


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda nb: nb.cells[1].update(source="### BEGIN SOLUTION\n### END SOLUTION"),
            "solution reg",
        ),
        (lambda nb: nb.cells[3].update(source="### BEGIN SOLUTION\nx"), "without END"),
        (lambda nb: nb.cells[3].update(source="### BEGIN SOLUTION\n### BEGIN SOLUTION"), "inside"),
        (
            lambda nb: nb.cells[1].update(source="### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS"),
            "hidden",
        ),
        (lambda nb: nb.cells.append(nb.cells[3]), "unique"),
    ],
)
def test_badly_marked_lessons_are_refused(change, words):
    nb = demonstration()
    change(nb)
    with pytest.raises(ValueError, match=words):
        editions.student(nb)


def test_solution_text_comes_from_the_complete_lesson(tmp_path, monkeypatch):
    cells.write(demonstration(), tmp_path / "99_demo.ipynb")
    monkeypatch.setenv("SPEECHLIB_NOTEBOOKS", str(tmp_path))
    text = sources.solution_text("99.1")
    assert "secret = 1" in text and "SOLUTION" not in text and "check(" not in text
    assert sources.solution_text("99.2") is None
