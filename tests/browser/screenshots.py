"""Screenshots of a notebook as a learner sees it: `screenshots.py NOTEBOOK FOLDER [--no-run]`.

Opens a copy of the notebook in a real JupyterLab, runs all cells, and saves the whole length in
light and dark as PNG pieces. Prints errors of cells and pictures without alt text; exit code 1 if
there are any.
"""

import argparse
import pathlib
import shutil
import sys
import tempfile

import jupyter_lab


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--no-run", action="store_true", help="show the saved outputs instead")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for running all cells")
    parser.add_argument("--width", type=int, default=1280)
    chosen = parser.parse_args()
    if reason := jupyter_lab.missing():
        sys.exit(reason)
    stem = chosen.notebook.stem
    with tempfile.TemporaryDirectory() as folder, jupyter_lab.lab_server(folder) as lab, \
            jupyter_lab.chromium() as browser:
        shutil.copy(chosen.notebook, folder)
        page = browser.new_page(viewport={"width": chosen.width, "height": 900})
        problems = []
        page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
        jupyter_lab.open_notebook(page, lab, chosen.notebook.name, not chosen.no_run,
                                  chosen.timeout)
        page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
        page.wait_for_timeout(1000)
        problems += [f"cell error: {text.strip()[-400:]}" for text in jupyter_lab.errors(page)]
        without = page.locator(".jp-OutputArea img:not([alt]), .jp-OutputArea img[alt='']").count()
        problems += [f"{without} pictures without alt text"] if without else []
        for dark in (False, True):
            jupyter_lab.set_theme(page, dark)
            for path in jupyter_lab.screenshot_pieces(page, chosen.folder,
                                                      f"{stem}_{'dark' if dark else 'light'}"):
                print(path)
    print("\n".join(problems) or "no errors in cells, every picture has alt text")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
