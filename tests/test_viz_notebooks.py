"""Every picture in every notebook has alt text, and every notebook is small."""

import json
import pathlib
import re

NOTEBOOKS = sorted((pathlib.Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def text_of(value):
    return value if isinstance(value, str) else "".join(value)


def pictures_without_alt(notebook):
    """What lacks alt text, as (cell number, what it is)."""
    found = []
    for number, cell in enumerate(notebook["cells"]):
        pages = [text_of(cell["source"])] if cell["cell_type"] == "markdown" else []
        found += [(number, "![](…)") for page in pages if re.search(r"!\[\s*\]\(", page)]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            # JupyterLab shows these types without any alt text: pictures go out as <img alt="…">
            found += [(number, kind) for kind in data if kind.startswith("image/")]
            pages.append(text_of(data.get("text/html", "")))
        found += [(number, tag[:60]) for page in pages for tag in re.findall(r"<img\b[^>]*>", page)
                  if not re.search(r'\balt="[^"]*[^"\s][^"]*"', tag)]
        found += [(number, tag[:60]) for page in pages
                  for tag in re.findall(r"<(?:audio|canvas|svg)\b[^>]*>", page)
                  if not re.search(r'\b(aria-label|title)="[^"]*[^"\s][^"]*"', tag)]
    return found


def test_every_picture_and_player_has_a_text():
    missing = {path.name: found for path in NOTEBOOKS
               if (found := pictures_without_alt(json.loads(path.read_text("utf-8"))))}
    assert not missing, missing


def test_every_notebook_is_small():
    large = {path.name: path.stat().st_size for path in NOTEBOOKS
             if path.stat().st_size > 300_000}
    assert not large, large


def test_the_check_finds_what_it_is_for():
    def book(**output):
        return {"cells": [{"cell_type": "code", "source": "", "outputs": [{"data": output}]}]}

    assert pictures_without_alt(book(**{"image/png": "abc"}))
    assert pictures_without_alt(book(**{"text/html": '<img src="x">'}))
    assert pictures_without_alt(book(**{"text/html": '<img alt=" " src="x">'}))
    assert pictures_without_alt(book(**{"text/html": "<audio controls src='x'>"}))
    assert not pictures_without_alt(book(**{"text/html": '<img src="x" alt="a map">'}))
    page = {"cells": [{"cell_type": "markdown", "source": ["![", "](x.png)"]}]}
    assert pictures_without_alt(page)
