"""python -m speechlib lessons start|update|reset|report|list"""

import argparse
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import webbrowser
from pathlib import Path

from speechlib.lessons.phrases import say
from speechlib.lessons.workfolder import default_folder, existing_folder, write_atomically

FIRST = "00_start_here.ipynb"
_SETTINGS = {  # no pop-up that asks about news, and no look for updates: lessons work offline
    "@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"}
}


def add_arguments(parser):
    """Arguments of `lessons`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    start = actions.add_parser("start", help="make the work folder and open JupyterLab in it")
    start.add_argument("--port", type=_port, default=8888, help="port of JupyterLab (8888)")
    start.add_argument("--no-browser", action="store_true", help="only print the address")
    start.add_argument("--no-lab", action="store_true", help="make the work folder, open nothing")
    update = actions.add_parser("update", help="refresh the lessons; answers are kept")
    reset = actions.add_parser("reset", help="restore the stub of one exercise")
    reset.add_argument("exercise", type=_exercise, help="for example 03.2")
    report = actions.add_parser("report", help="what is passed, and the points")
    report.add_argument("lesson", nargs="?", default="all", type=_lesson, help="for example 03")
    for action in (start, update, reset, report):
        action.add_argument("--folder", help="the work folder (~/speechlib-lessons)")
    actions.add_parser("list", help="the lessons there are")


def _port(text):
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(say("workspace.bad_port", text=text))
    return int(text)


def _exercise(text):
    if not re.fullmatch(r"\d{1,2}\.\w+", text):
        raise argparse.ArgumentTypeError(say("workspace.bad_exercise", text=text))
    return text.zfill(2 + len(text) - text.index("."))  # 3.2 -> 03.2


def _lesson(text):
    return text.zfill(2) if text.isdigit() else text


def run(arguments):
    """Do it; 0 when done. ValueError and OSError are one-line errors of the command line."""
    if arguments.action == "list":
        return _list()
    if arguments.action == "start":
        return _start(arguments)
    if arguments.action == "report":
        os.environ["SPEECHLIB_WORK"] = str(existing_folder(arguments.folder))
        from speechlib.lessons.reporting import report

        print(report(arguments.lesson))
        return 0
    from speechlib.lessons import workspace

    if arguments.action == "reset":
        messages = workspace.reset(arguments.exercise, arguments.folder)
    else:
        messages = workspace.update(arguments.folder)
    print("\n".join(messages))
    return 0


def _list():
    from speechlib.lessons.boxes import Box
    from speechlib.lessons.exercises import lesson, lesson_numbers
    from speechlib.lessons.phrases import _phrases

    lessons = [lesson(number) for number in lesson_numbers()]
    rows = [[f"{one.file}", one.minutes, one.points] for one in lessons]
    print(Box(say("title.overall")).table(_phrases()["workspace"]["columns"], rows))
    return 0


def _start(arguments):
    from speechlib.lessons import workspace

    if not arguments.no_lab:
        if importlib.util.find_spec("jupyterlab") is None:
            raise ValueError(say("workspace.no_lab"))
        if _busy(arguments.port):
            if address := _already_open(arguments.folder, arguments.port):
                print(say("workspace.running", address=address))
                if not arguments.no_browser:
                    webbrowser.open(address)
                return 0
            other = min(arguments.port, 65000) + 1
            while _busy(other):
                other += 1
            raise ValueError(say("workspace.port", port=arguments.port, other=other))
    folder, messages = workspace.start(arguments.folder)
    print("\n".join([*messages, say("workspace.folder", folder=folder)]), flush=True)
    if arguments.no_lab:
        return 0
    print(say("workspace.starting" if arguments.no_browser else "workspace.opening"), flush=True)
    return _launch(lab_command(folder, arguments.port, not arguments.no_browser))


def lab_command(folder, port, browser=True):
    """The words that start JupyterLab: this Python, this folder, this computer only."""
    settings = folder / ".lab"
    write_atomically(settings / "overrides.json", json.dumps(_SETTINGS, indent=1) + "\n")
    first = f"/tree/{FIRST}" if (folder / FIRST).exists() else ""
    words = [
        sys.executable, "-m", "jupyterlab",
        f"--ServerApp.root_dir={folder}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--LabApp.app_settings_dir={settings}",
        f"--LabApp.default_url=/lab{first}",
        "--ServerApp.log_level=ERROR",
    ]  # fmt: skip
    if not browser:
        words.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("--allow-root")  # containers; the server listens to this computer only
    return words


def _launch(words):
    child = subprocess.Popen(words)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is JupyterLab's to answer
    try:
        return child.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _already_open(folder, port):
    """The address of the JupyterLab that shows this work folder at this port; None: it is not."""
    from jupyter_server.serverapp import list_running_servers

    folder = Path(folder).expanduser().resolve() if folder else default_folder()
    for server in list_running_servers():
        if server["port"] == port and Path(server["root_dir"]) == folder:
            return f"{server['url']}lab?token={server['token']}"
    return None


def _busy(port):
    with socket.socket() as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
