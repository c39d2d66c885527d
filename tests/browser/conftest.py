"""Fixtures for tests in a browser: a lab server, a browser, `open_notebook(name)`.

Without a browser these tests skip with one line; where CI=true that skip fails (../conftest.py).
"""

import pathlib
import shutil
import sys

import nbformat
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import jupyter_lab  # noqa: E402


@pytest.fixture(scope="session")
def browser_or_skip():
    reason = jupyter_lab.missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def lab(browser_or_skip, tmp_path_factory):
    with jupyter_lab.lab_server(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def fake_microphone_file():
    """A WAV for the browser's fake microphone, or None; test modules override this."""
    return None


@pytest.fixture(scope="session")
def driver(browser_or_skip):
    """Playwright: one a process, every browser is started from it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(driver, fake_microphone_file):
    flags = jupyter_lab.fake_microphone(fake_microphone_file) if fake_microphone_file else []
    with jupyter_lab.chromium(flags, driver) as one:
        yield one


@pytest.fixture
def open_notebook(lab, browser):
    """open_notebook(notebook path or list of cell sources, run=True) -> page, run without error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    outside = []
    page.on("request", lambda r: outside.append(r.url) if "://127.0.0.1" not in r.url
            and r.url.startswith(("http", "ws")) else None)

    def go(notebook, run=True, name="test.ipynb"):
        if isinstance(notebook, list):
            nbformat.write(jupyter_lab.new_notebook(notebook), lab[2] / name)
        else:
            name = pathlib.Path(notebook).name
            shutil.copy(notebook, lab[2] / name)
        jupyter_lab.open_notebook(page, lab, name, run)
        assert not jupyter_lab.errors(page), jupyter_lab.errors(page)
        return page

    yield go
    context.close()
    assert not outside, f"the page asked for something outside this machine: {outside[:5]}"
