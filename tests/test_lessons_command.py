"""python -m speechlib lessons …: one line for what went wrong, JupyterLab on this computer only."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from speechlib.lessons import cells, command

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def lessons(tmp_path):
    (tmp_path / "lessons").mkdir()
    made = cells.notebook(
        *cells.exercise("99.1", task="t", source="def normalise(s):\n    return s")
    )
    made.cells[1].source = "### BEGIN SOLUTION\n### END SOLUTION\n" + made.cells[1].source
    cells.write(made, tmp_path / "lessons" / "99_demo.ipynb")
    return tmp_path


def run(tmp_path, *words):
    env = dict(
        os.environ, HOME=str(tmp_path), PYTHONPATH=str(ROOT), USERPROFILE=str(tmp_path),
        SPEECHLIB_NOTEBOOKS=str(tmp_path / "lessons"),
    )  # fmt: skip
    env.pop("SPEECHLIB_WORK", None)
    code = "import sys; from speechlib.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, "lessons", *words],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_start_update_reset_report_list(lessons):
    done = run(lessons, "start", "--no-lab")
    assert done.returncode == 0 and str(lessons / "speechlib-lessons") in done.stdout, done.stderr
    assert "up to date" in run(lessons, "update").stdout
    assert "the stub is back" in run(lessons, "reset", "99.1").stdout
    assert "Points come only" not in run(lessons, "report").stderr
    assert "total" in run(lessons, "report").stdout
    assert run(lessons, "list").returncode == 0


@pytest.mark.parametrize(
    "words, told",
    [
        (["update"], "lessons start"),
        (["reset", "03"], "expected one exercise, for example 03.2"),
        (["reset", "77.1"], "There is no lesson"),
        (["start", "--no-lab", "--folder", "lessons"], "solutions"),
        (["start", "--port", "99999"], "a port is a number from 1 to 65535"),
        (["start", "--port", "http"], "a port is a number from 1 to 65535"),
        (["dance"], "invalid choice"),
        ([], "required"),
    ],
)
def test_what_goes_wrong_is_one_line(lessons, words, told):
    done = run(lessons, *words)
    assert done.returncode == 2 and told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr


def test_a_number_may_come_without_its_zero():
    assert command._exercise("3.2") == command._exercise("03.2") == "03.2"
    assert command._lesson("3") == "03" and command._lesson("all") == "all"


def test_busy_port_is_one_line_with_another_port(lessons):
    pytest.importorskip("jupyterlab")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(lessons, "start", "--port", str(port))
    assert (
        done.returncode == 2 and f"port {port} is in use" in done.stderr and "--port" in done.stderr
    )


def test_jupyterlab_opens_on_the_work_folder_of_this_computer_only(
    lessons, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("jupyterlab")
    work = tmp_path / "work"
    work.mkdir()
    (work / "00_start_here.ipynb").touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = command.lab_command(work, port, browser=False)
    assert "--ServerApp.ip=127.0.0.1" in words and f"--ServerApp.root_dir={work}" in words
    assert "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in words
    env = dict(os.environ, JUPYTER_RUNTIME_DIR=str(tmp_path / "run"), HOME=str(tmp_path))
    words.append("--IdentityProvider.token=test")
    child = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/api/contents?token=test"
        answer, end = "", time.monotonic() + 180  # a busy machine takes its time
        while not answer:
            try:
                answer = urllib.request.urlopen(url, timeout=10).read().decode()
            except OSError:
                assert child.poll() is None and time.monotonic() < end, "JupyterLab stopped"
                time.sleep(0.1)
        assert "00_start_here.ipynb" in answer
        # `make lab` once more: the address, not an error
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "run"))
        again = SimpleNamespace(
            action="start", no_lab=False, no_browser=True, port=port, folder=str(work)
        )
        assert command.run(again) == 0
        told = capsys.readouterr().out
        assert "open already" in told and f":{port}/lab?token=test" in told
        again.folder = str(tmp_path / "other")
        with pytest.raises(ValueError, match="in use by another program"):
            command.run(again)
    finally:
        child.terminate()
        child.wait(20)
