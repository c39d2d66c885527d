"""Virtual environments and pip, with one line for whatever goes wrong.

input -> output: a folder and pip options -> an environment in which the packages are.
Special: imports nothing but the standard library; see `setup_environment`.
"""

import os
import platform
import re
import shutil
import subprocess
import sys

SOURCE_ONLY = ["openai-whisper"]  # pure Python, published without a wheel
TORCH_CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


class SetupError(Exception):
    """Something the user can mend; its text is the one line that says how."""


def venv_python(folder):
    """The Python inside a virtual environment."""
    inside = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return folder.joinpath(*inside)


def unfinished(folder):
    """The file that is there while an installation runs, and stays when it is interrupted."""
    return folder / "speechlib-unfinished"


def usable(folder):
    """True when the Python in `folder` starts and has pip."""
    command = [str(venv_python(folder)), "-c", "import pip"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def make_venv(folder):
    """Create the virtual environment; one left by an interrupted installation is made anew.

    It is marked as unfinished from the first moment on; `install` takes the mark away.
    """
    if folder.exists():
        if any(folder.iterdir()) and not unfinished(folder).exists():
            what = "not a virtual environment"
            if (folder / "pyvenv.cfg").exists():
                what = "a virtual environment without pip that something else has made"
            raise SetupError(
                f"{folder} is {what}; move it away, or name another folder with SPEECHLIB_VENV"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    unfinished(folder).touch()
    made = subprocess.run(
        [sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True
    )
    if made.returncode:
        if "ensurepip" in made.stdout + made.stderr:
            raise SetupError(
                "this Python cannot make a virtual environment; on Debian and Ubuntu type: "
                f"sudo apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv"
            )
        reason = (made.stderr or made.stdout).strip().splitlines() or ["no reason given"]
        raise SetupError(f"no virtual environment could be made in {folder}: {reason[-1]}")


def pip_settings():
    """The package sources that the user has configured for pip (a mirror, a folder of wheels)."""
    sources = ("index-url", "extra-index-url", "find-links", "no-index")
    by_variable = [f"PIP_{name.upper().replace('-', '_')}" for name in sources]
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    ).stdout
    by_file = [row for row in listed.splitlines() if row.split("=")[0].split(".")[-1] in sources]
    return [name for name in by_variable if os.environ.get(name)] + by_file


def torch_source():
    """(pip options, has CUDA): where this computer gets PyTorch without gigabytes of CUDA.

    Only Linux needs it: elsewhere PyPI's own wheels are CPU wheels. A user's own package source
    is left alone, and three seconds without an answer count as no.
    """
    import urllib.request  # slow to load, and hardly ever needed

    if not sys.platform.startswith("linux") or pip_settings():
        return [], False
    try:
        urllib.request.urlopen(TORCH_CPU_WHEELS + "/torch/", timeout=3).close()
    except (OSError, ValueError):
        return [], platform.machine() == "x86_64"
    return ["--extra-index-url", TORCH_CPU_WHEELS], False


def run_pip(python, arguments):
    """`pip install`, showing what is large; raises SetupError with one line when it fails.

    Wheels only: on a Python that is too new, building from source would take hours to fail.
    """
    wheels = ["--only-binary=:all:", *(f"--no-binary={name}" for name in SOURCE_ONLY)]
    process = subprocess.Popen(
        [str(python), "-m", "pip", "--disable-pip-version-check", "install", *wheels, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    output = []
    for line in process.stdout:
        output.append(line)
        words = line.split()
        if words[:1] == ["Downloading"] and words[-1] == "MB)":  # the many small ones: not shown
            name = words[1].split("/")[-1].split("-")[0]
            print(f"  downloading {name} {words[-2]} {words[-1]}", flush=True)
        elif words[:1] == ["Installing"] and "packages:" in words:
            print(f"  installing {len(words) - 3} packages", flush=True)
    if process.wait():
        raise SetupError(explain("".join(output)))


def explain(output):
    """One line for what pip's output says went wrong."""
    where = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if "No space left on device" in output:
        return "the disk is full; free some space and start again"
    if any(sign in output for sign in ("ConnectionError", "connection broken", "timed out")):
        return "the packages could not be downloaded; check the network (or proxy) and start again"
    lacking = re.search(r"No matching distribution found for ([\w.-]+)", output)
    if lacking:
        return (
            f"there is no {lacking[1]} for Python {where}; Python 3.12 or 3.13 on a 64-bit "
            "computer has one, and so has Colab (README)"
        )
    if "ResolutionImpossible" in output:
        return f"the tested versions do not fit Python {where}; Python 3.12 or 3.13 may do"
    errors = [line for line in output.splitlines() if line.startswith("ERROR")]
    last = errors[-1][6:].strip() if errors else (output.strip().splitlines() or ["no reason"])[-1]
    return f"pip failed: {last}"
