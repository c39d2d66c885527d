"""`python -m speechlib doctor`: what is installed, what is missing, and what to type.

input -> output: this computer -> lines of text; exit code 0 when the lessons can start, else 1.
Special: needs nothing but the standard library, so that it also runs where nothing is installed.
"""

import importlib.metadata
import os
import platform
import re
import shutil
import sys

from speechlib import setup_environment

PURPOSE = {"lab": "the lessons", "flax": "the Flax models", "test": "make test"}
COMMAND = {"flax": setup_environment.FLAX_COMMAND, "test": "make test"}


def add_arguments(parser):
    """No options: it only looks."""


def tested_versions():
    """Package -> the version that the tests are run with (constraints.txt)."""
    lines = setup_environment.CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if "==" in line)
    return {_same_name(name): version for name, version in pins}


def _same_name(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package_line(requirement, lacking, tested):
    name = re.match(r"[\w.-]+", requirement)[0]
    pin = tested.get(_same_name(name), "?")
    if name in lacking:
        return f"  {name:<16} MISSING           (needs {requirement}; tested with {pin})"
    version = _installed(name) or "?"
    same = version.split("+")[0] == pin
    return f"  {name:<16} {version:<17} {'as tested' if same else f'tested with {pin}'}"


def _extra_lines():
    """One line a package, and the extras that lack something."""
    tested, shown, incomplete = tested_versions(), set(), []
    for extra, purpose in PURPOSE.items():
        lacking = setup_environment.missing(extra)
        if lacking:
            incomplete.append(extra)
        if extra != "lab" and lacking:
            print(f"for {purpose}: {len(lacking)} more packages; `{COMMAND[extra]}` installs them")
            continue
        print(f"for {purpose}:")
        for requirement in setup_environment.requirements(extra):
            if requirement not in shown:
                print(_package_line(requirement, lacking, tested))
                shown.add(requirement)
    return incomplete


def _data_line():
    from speechlib import paths

    try:
        folder = paths.data_folder()
    except ValueError as error:
        return False, f"data      {error}"
    names = sorted(p.name for p in (folder / "checkpoints").glob("*") if p.is_dir())
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
    return True, f"data      {folder}: {size:.1f} MB; models: {', '.join(names) or 'none'}"


def _browser_line():
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    return f"browser   {found or 'no Chromium found: make test skips the browser tests'}"


def run(arguments):
    """Print what there is; returns 0 when the lessons can start, else 1."""
    folder = setup_environment.venv_folder()
    ready = setup_environment.is_ready(folder, "lab")
    free = shutil.disk_usage(setup_environment.existing_parent(folder)).free / 1e9
    print(f"Python    {platform.python_version()} ({sys.executable})")
    print(f"computer  {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    print(f"disk      {free:.0f} GB free")
    print(f"folder    {setup_environment.ROOT}")
    print(f".venv     {folder}: {'complete' if ready else 'not set up'}")
    data, line = _data_line()
    print(line)
    print(_browser_line())
    incomplete = _extra_lines()
    start = f"{'py' if os.name == 'nt' else 'python3'} -m speechlib lessons start"
    if not data:
        print("The lessons cannot start without the data: see above")
        return 1
    if "lab" not in incomplete:
        print(f"This Python has all that the lessons need. Type: {start}")
        return 0
    if ready:
        print(f"This Python lacks packages, and .venv has them. Type: {start}")
        return 0
    print(f"The lessons cannot start yet. To install what is missing, type: {start}")
    return 1
