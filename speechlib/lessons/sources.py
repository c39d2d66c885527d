"""Find the complete lessons, and the solution text in them (its only source).

In a checkout they are in notebooks/; an installed package carries them beside this file, away
from the folder that JupyterLab shows.
"""

import json
import os
import textwrap
from pathlib import Path


def complete_folder():
    """The folder with the complete lessons, or None. SPEECHLIB_NOTEBOOKS, when set, names it."""
    named = os.environ.get("SPEECHLIB_NOTEBOOKS")
    here = Path(__file__).resolve().parent
    places = [Path(named)] if named else [here.parents[1] / "notebooks", here / "notebooks"]
    for folder in places:
        if folder.is_dir() and any(folder.glob("[0-9][0-9]_*.ipynb")):
            return folder
    return None


def complete_lessons():
    """Paths of the complete lessons, in order."""
    folder = complete_folder()
    return sorted(folder.glob("[0-9][0-9]_*.ipynb")) if folder else []


def solution_text(id):
    """The source of an exercise's solution cell, without markers and without its check line."""
    for path in complete_lessons():
        if path.name[:2] != id[:2]:
            continue
        # plain JSON: nbformat takes a second to import, and a learner asked for a text
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("grade_id") == solution_id(id):
                return clean("".join(cell["source"]))
    return None


def solution_id(id):
    """grade_id of the solution cell of an exercise: "03.4" -> "ex-03-4"."""
    return "ex-" + id.replace(".", "-")


def test_id(id):
    """grade_id of the locked test cell of an exercise: "03.4" -> "test-03-4"."""
    return "test-" + id.replace(".", "-")


def clean(source):
    """A solution cell as shown to a learner: no region markers, no check call."""
    lines = [
        line
        for line in source.split("\n")
        if "BEGIN SOLUTION" not in line
        and "END SOLUTION" not in line
        and not line.startswith("check(")
    ]
    return textwrap.dedent("\n".join(lines)).strip() + "\n"
