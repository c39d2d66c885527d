"""What every lesson file in notebooks/ promises, read without running it.

That it runs, and still says what it said, is `pytest --nbval`: python3 tests/run.py has it on.
"""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 300_000  # bytes, sound and pictures included
HOME = re.compile(r"(?<![\w.])/(?:home|root|Users|work|tmp|opt)/\w")
OUTSIDE = re.compile(r"""<(?:script|link|img|audio|iframe)[^>]*(?:src|href)\s*=\s*["']?https?://""")
NO_ALT = re.compile(r"<img(?![^>]*\balt\s*=\s*[\"'][^\"']{10})[^>]*>")


def texts(output):
    """(mime type, text) of everything that an output shows."""
    if output.output_type == "stream":
        yield "text/plain", output.text
    for mime, value in output.get("data", {}).items():
        if isinstance(value, str):
            yield mime, value


def faults(notebook):
    """What in this notebook breaks a promise, one line each."""
    found, ran = [], 0
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        ran += 1
        where = f"cell {number} ({cell.id})"
        if cell.execution_count != ran:
            found.append(f"{where}: not executed from the top (execution {cell.execution_count})")
        for output in cell.outputs:
            found += [f"{where}: {fault}" for fault in output_faults(output, cell)]
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel is not python3")
    return found


def output_faults(output, cell):
    """What in one output breaks a promise."""
    # the test cells of exercises carry the tag so that a learner's Run All goes on below them
    is_test = cell.metadata.get("nbgrader", {}).get("grade", False)
    meant = "raises-exception" in cell.metadata.get("tags", []) and not is_test
    if output.output_type == "error" and not meant:
        yield f"stored an error, {output.ename}"
    if output.output_type == "stream" and output.name == "stderr":
        yield "stored a warning"
    for mime, text in texts(output):
        if mime in ("image/png", "image/jpeg"):
            yield "a picture without alt text: show it with sl.viz.show"
        if HOME.search(re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)):
            yield f"a path of the author's computer: {HOME.search(text)[0]}…"
        if mime == "text/html" and OUTSIDE.search(text):
            yield "loads something from the network"
        if mime == "text/html" and NO_ALT.search(re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)):
            yield "a picture without alt text"


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda f: f.stem)
def test_lesson_keeps_its_promises(file):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", file.stem)
    assert file.stat().st_size <= LARGEST, f"{file.stat().st_size:,} bytes"
    assert faults(notebook) == []


def lesson(outputs, count=1):
    cell = nbformat.v4.new_code_cell("1 + 1", execution_count=count, outputs=outputs)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})


def html(text):
    return [nbformat.v4.new_output("display_data", {"text/html": text})]


@pytest.mark.parametrize(
    "notebook, fault",
    [
        (lesson([], count=3), "not executed from the top"),
        (lesson([], count=None), "not executed from the top"),
        (lesson([nbformat.v4.new_output("error", ename="ValueError")]), "stored an error"),
        (lesson([nbformat.v4.new_output("stream", name="stderr", text="old")]), "warning"),
        (lesson([nbformat.v4.new_output("stream", text="in /home/ada/x")]), "author's computer"),
        (lesson(html('<script src="https://example.org/a.js"></script>')), "network"),
        (lesson(html('<img src="data:image/png;base64,AAAA">')), "without alt"),
        (lesson(html('<img alt="" src="data:image/png;base64,AAAA">')), "without alt"),
    ],
)
def test_a_broken_promise_is_found(notebook, fault):
    assert [line for line in faults(notebook) if fault in line]


def test_a_good_lesson_has_no_fault():
    picture = '<img alt="A wave of one second" src="data:image/png;base64,AA/root/xx">'
    assert faults(lesson(html(picture))) == []
