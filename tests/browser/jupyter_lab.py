"""A real JupyterLab in a real Chromium, with every host but this machine out of reach.

Nothing here takes a time for granted: every wait is for a condition, and PATIENCE_S is only the
time after which a busy machine is taken for a broken one.

Shared by the browser tests and by screenshots.py. The runs are by `jupyterapp.commands`, whose
promise resolves when every cell has its reply; clicking the menu loses runs while the kernel
connects.
"""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHROMIUM = next(filter(None, map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)
FLAGS = ["--autoplay-policy=no-user-gesture-required", "--mute-audio", "--no-sandbox",
         "--disable-quic", "--disable-background-networking", "--disable-component-update",
         "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run", "--disable-sync",
         "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
SETTINGS = {
    "apputils-extension/notification":
        {"checkForUpdates": False, "fetchNews": "false", "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page
}
ERROR = ("[data-mime-type='application/vnd.jupyter.error'], "
         "[data-mime-type='application/vnd.jupyter.stderr']")


PATIENCE_S = 240

# of a text and what lies behind it, as WCAG counts it
CONTRAST = """element => {
    const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
            .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
    };
    let behind = element;
    while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') {
        behind = behind.parentElement;
    }
    const [a, b] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor]
        .map(light).sort((x, y) => y - x);
    return (a + .05) / (b + .05);
}"""


def missing():
    """One line that says why there can be no browser test here, or None."""
    if CHROMIUM is None:
        return "no Chromium found: browser tests need one (apt-get install chromium)"
    try:
        import jupyterlab  # noqa: F401
        import playwright.sync_api  # noqa: F401
    except ImportError as error:
        return f"browser tests need {error.name} (pip install -e '.[test]')"
    return None


def fake_microphone(path):
    """Chromium flags: a microphone that hears this WAV file again and again, and may be used."""
    return ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={path}"]


@contextlib.contextmanager
def lab_server(folder):
    """JupyterLab serving a folder, in a configuration of its own: yields (url, token, folder)."""
    folder = pathlib.Path(folder)
    own = folder / ".jupyter"
    for name, values in SETTINGS.items():
        file = own / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    environment = dict(
        os.environ, JUPYTER_CONFIG_DIR=str(own), JUPYTERLAB_SETTINGS_DIR=str(own / "settings"),
        JUPYTERLAB_WORKSPACES_DIR=str(own / "workspaces"), JUPYTER_RUNTIME_DIR=str(own / "run"),
        IPYTHONDIR=str(own / "ipython"),
        PYTHONPATH=os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    log = own / "lab.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.port={port}",
             "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
             f"--ServerApp.root_dir={folder}", "--ServerApp.allow_root=True",
             "--LabApp.expose_app_in_browser=True"],
            env=environment, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/api?token={token}", server, log)
        yield url, token, folder
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()


@contextlib.contextmanager
def chromium(extra_flags=(), driver=None):
    """A headless Chromium (a Playwright browser). driver: Playwright, where it runs already."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() if driver is None else contextlib.nullcontext(driver) as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, headless=True,
                                          args=[*FLAGS, *extra_flags])
        try:
            yield browser
        finally:
            browser.close()


def new_notebook(sources):
    """A notebook of these code cells; it names its kernel, else JupyterLab asks for one."""
    import nbformat

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def open_notebook(page, lab, name, run=True, timeout_s=600):
    """Open a notebook of the lab's folder, wait for its kernel, run all cells if asked."""
    url, token, _ = lab
    page.set_default_timeout(PATIENCE_S * 1000)
    workspace = "".join(c if c.isalnum() else "-" for c in name)  # a dot in it never opens
    page.goto(f"{url}/lab/workspaces/{workspace}/tree/{name}?token={token}")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    page.evaluate("() => window.jupyterapp.shell.currentWidget.context.ready")
    if run:
        _within(page, PATIENCE_S, "no kernel (does the notebook name its kernel?)", """
            const context = window.jupyterapp.shell.currentWidget.sessionContext;
            await context.ready; await context.session.kernel.info;""")
        run_all(page, timeout_s)
    return page


def run_all(page, timeout_s=600):
    """Run every cell and wait for the last reply; AssertionError when that takes too long.

    The command's promise ends at the first cell that fails, while the others go on.
    """
    _within(page, timeout_s, "the notebook still ran", """
        await window.jupyterapp.commands.execute('notebook:run-all-cells');
        const prompts = '.jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell .jp-InputPrompt';
        const runs = () => [...document.querySelectorAll(prompts)]
            .some(prompt => prompt.innerText.includes('*'));
        while (runs()) await new Promise(later => setTimeout(later, 50));""")


def errors(page):
    """Texts of error and stderr outputs on the page."""
    return page.locator(ERROR).all_inner_texts()


def set_theme(page, dark):
    """JupyterLab Dark or JupyterLab Light, as the Settings menu does it."""
    theme = "JupyterLab Dark" if dark else "JupyterLab Light"
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
                  theme)
    page.wait_for_function("want => document.body.dataset.jpThemeLight === want",
                           arg="false" if dark else "true")
    page.wait_for_function(  # style sheets are swapped after the attribute
        """dark => {
            const probe = document.body.appendChild(document.createElement('div'));
            probe.style.background = 'var(--jp-layout-color0)';
            const [r, g, b] = getComputedStyle(probe).backgroundColor.match(/[\\d.]+/g);
            probe.remove();
            return (Number(r) + Number(g) + Number(b) < 384) === dark; }""", arg=dark)


def screenshot_pieces(page, folder, stem):
    """The whole notebook as PNG files of one screen each, in reading order: list of paths."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer")
    size = panel.evaluate("""e => { const last = [...e.querySelectorAll('.jp-Cell')].at(-1);
        const end = last.getBoundingClientRect().bottom - e.getBoundingClientRect().top;
        return {whole: e.scrollTop + end + 30, screen: e.clientHeight}; }""")
    paths, top = [], 0
    while top < size["whole"]:
        panel.evaluate("(e, top) => { e.scrollTop = top }", top)
        page.wait_for_timeout(150)
        paths.append(folder / f"{stem}_{len(paths) + 1:02d}.png")
        panel.screenshot(path=paths[-1])
        top += size["screen"] - 40
    return paths


def _within(page, seconds, otherwise, script):
    """Run JavaScript in the page; AssertionError when it has not ended after so many seconds."""
    done = page.evaluate(f"""limit => Promise.race([(async () => {{ {script} return true; }})(),
        new Promise(late => setTimeout(() => late(false), limit))])""", seconds * 1000)
    assert done, f"{otherwise} after {seconds} s"


def _wait_for(url, server, log):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(url, timeout=10)
            return
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
