"""A learner's session from end to end: real kernels in a work folder, one after the other."""

import json

import nbformat
import pytest

from speechlib.lessons import author, cells, workspace

SOURCE = '''def normalise(scores):
    """scores (query, key) -> shares (query, key)."""
    ### BEGIN SOLUTION
    return scores / scores.sum(axis=-1, keepdims=True)
    ### END SOLUTION'''
LATER = 'import numpy as np\nnormalise = part("99.1")\nprint(normalise(np.ones((1, 2))))'


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "lessons").mkdir()
    monkeypatch.setenv("SPEECHLIB_NOTEBOOKS", str(tmp_path / "lessons"))
    monkeypatch.delenv("SPEECHLIB_WORK", raising=False)
    lesson = cells.notebook(
        cells.code("start", "from speechlib.lessons import check, hint, part, report, solution"),
        *cells.exercise("99.1", task="Write it.", source=SOURCE, hidden="assert True"),
        cells.code("later", LATER),
        cells.code("report", "report()"),
    )
    cells.write(lesson, tmp_path / "lessons" / "99_demo.ipynb")
    folder, _ = workspace.start(tmp_path / "work")
    return folder


def run_with(work, answer=None):
    """Answer the exercise, run the whole lesson in a new kernel, save it; its cells by id."""
    path = work / "99_demo.ipynb"
    nb = nbformat.read(path, as_version=4)
    by_id = {cell.id: cell for cell in nb.cells}
    if answer:
        by_id["ex-99-1"].source = f"{answer}\n\ncheck('99.1', normalise)"
    author.execute(nb, work, allow_errors=True)
    cells.write(nb, path)
    return by_id


def said(cell):
    return "\n".join(
        output.get("text") or output.get("evalue") or output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    )


def test_stub_then_mistake_then_right_then_a_fresh_kernel(work):
    first = run_with(work)
    assert "Not written yet" in said(first["ex-99-1"])
    assert "gives no points yet" in said(first["test-99-1"])
    assert "using the library's" in said(first["later"]) and "[[0.5 0.5]]" in said(first["later"])
    assert "0 / 1" in said(first["report"]) and not (work / "my_speechlib").exists()

    wrong = run_with(work, "def normalise(scores):\n    return scores / scores.sum(axis=0)")
    assert "a known mistake" in said(wrong["ex-99-1"])
    assert "using the library's" in said(wrong["later"])

    right = run_with(work, "def normalise(x):\n    return x / x.sum(-1, keepdims=True)")
    assert "Passed" in said(right["ex-99-1"]) and "my_speechlib" in said(right["ex-99-1"])
    assert "1 of 1 points" in said(right["test-99-1"])
    assert "using yours" in said(right["later"]) and "1 / 1" in said(right["report"])
    records = json.loads((work / "progress.json").read_text())["exercises"]
    assert records["99.1"]["points"] and records["99.1"]["tried"]

    workspace.update(work)  # refreshes nothing that would cost an answer or an output
    after = run_with(work, "def normalise(x):\n    return x")
    assert "using yours" in said(after["later"])  # the one that passed, from the file
    assert "1 / 1" in said(after["report"])


def test_nbgrader_gives_the_same_points(work):
    utils = pytest.importorskip("nbgrader.utils")
    for answer, points in (
        (None, 0),
        ("def normalise(x):\n    return x", 0),
        ("def normalise(x):\n    return x / x.sum(-1, keepdims=True)", 1),
    ):
        assert utils.determine_grade(run_with(work, answer)["test-99-1"]) == (points, 1)
