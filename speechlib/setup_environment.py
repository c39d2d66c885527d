"""Make an environment that has what speechlib needs, from nothing but Python itself.

input -> output: the name of an extra ("lab", "test") -> the Python that has it installed.
Special: only the standard library is imported, and the syntax is that of Python 3.7, so that a
Python that is too old reaches the line that says so.

`python3 -m speechlib lessons start` comes here first. When the running Python has everything
(an activated environment, conda, Colab), that Python is used and nothing is installed. Otherwise
`.venv` in the checkout is made, once, with the versions of constraints.txt.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from speechlib import installing
from speechlib.installing import SetupError, unfinished, venv_python

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = Path(__file__).resolve().parent / "constraints.txt"
OLDEST = (3, 11)
# extra -> (download, disk) in GB with PyTorch's CPU build, Linux x86-64, Python 3.11, as measured;
# the CUDA build that PyPI has for Linux adds about (3, 7) to it
SIZES = {"lab": (0.35, 1.6), "flax": (0.4, 1.5), "test": (0.95, 3.9)}
CUDA_EXTRA = (3.0, 7.0)
INCLUDES = {"base": (), "lab": ("lab",), "flax": ("flax",), "test": ("lab", "flax", "test")}
# the two packages by name: on PyPI "speechlib" is somebody else's
FLAX_COMMAND = f"{Path(sys.executable)} -m pip install jax flax"
# where a distribution's import name is not its own name with "-" for "_"
IMPORT_NAMES = {"pyyaml": "yaml", "pytest-xdist": "xdist", "openai-whisper": "whisper"}


def requirements(extra):
    """The requirement strings of pyproject.toml for `extra` and all that it includes; outside a
    checkout, those that pip noted when it installed the package (none where it did not)."""
    import tomllib

    file = ROOT / "pyproject.toml"
    if not file.is_file():
        return _noted_by_pip(("", *INCLUDES[extra]))
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for name in INCLUDES[extra]:
        wanted += project["optional-dependencies"][name]
    return wanted


def _noted_by_pip(extras):
    from importlib import metadata

    try:
        found = metadata.distribution("speechlib")
    except metadata.PackageNotFoundError:
        return []
    if Path(found.locate_file("speechlib")).resolve() != CONSTRAINTS.parent:
        return []  # somebody else's: the name is not ours alone
    listed = [row.replace("'", '"').partition(";") for row in found.requires or ()]
    return [
        name.strip()
        for name, _, marker in listed
        if (marker.partition('extra == "')[2].partition('"')[0]) in extras
    ]


def missing(extra):
    """Names of the packages of `extra` that the running Python cannot import."""
    names = [requirement.split(">")[0].split("=")[0].strip() for requirement in requirements(extra)]
    modules = {name: IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}
    return [name for name, module in modules.items() if importlib.util.find_spec(module) is None]


def check_python(command):
    """Raise SetupError for a Python that is too old; names a newer one when there is one.

    command: what the user typed after `python3 -m` or `python3`, for the advice.
    """
    if sys.version_info >= OLDEST:
        return
    names = ("python3.14", "python3.13", "python3.12", "python3.11")
    newer = [name for name in names if shutil.which(name)]
    advice = f"type: {newer[0]} {command}" if newer else "get one from python.org/downloads"
    here, oldest = (".".join(map(str, version[:2])) for version in (sys.version_info, OLDEST))
    raise SetupError(f"this is Python {here} and speechlib needs {oldest} or newer; {advice}")


def venv_folder():
    """`.venv` in the checkout, or where $SPEECHLIB_VENV says."""
    return Path(os.environ.get("SPEECHLIB_VENV", ROOT / ".venv"))


def stamp(folder, extra):
    """The file that is written last, so that its presence means: installed completely."""
    return folder / f"speechlib-{extra}.stamp"


def stamp_text():
    """What an installation depends on; another text means that it is out of date."""
    import hashlib

    digest = hashlib.sha256()
    for file in (ROOT / "pyproject.toml", CONSTRAINTS):
        digest.update(file.read_bytes())
    return f"{digest.hexdigest()}\n{ROOT}\n"


def is_ready(folder, extra):
    """True when `extra` was installed completely into `folder`, for this checkout as it is now."""
    file = stamp(folder, extra)
    if not (file.is_file() and venv_python(folder).exists()):
        return False
    return file.read_text(encoding="utf-8") == stamp_text()


def existing_parent(folder):
    """The nearest folder above that exists already: the disk that will hold `folder`."""
    return next(parent for parent in [folder, *folder.parents] if parent.exists())


def announce(folder, extra, cuda):
    """Say what is going to be downloaded; raise SetupError when the disk is too small for it."""
    there = [SIZES[name] for name in SIZES if stamp(folder, name).exists()]
    whole = SIZES[extra]
    if cuda:
        whole = [a + b for a, b in zip(whole, CUDA_EXTRA, strict=True)]
    have = max(there, default=(0, 0))
    download, disk = (max(0.0, new - old) for new, old in zip(whole, have, strict=True))
    if cuda:
        print("PyTorch's CPU wheels cannot be reached; the larger CUDA build is taken instead.")
    free = shutil.disk_usage(existing_parent(folder)).free / 1e9
    size = f"{download:.2g} GB to download, {disk:.1f} GB on disk ({free:.0f} GB free)"
    if there and not cuda and disk == 0:
        print(f"Bringing {folder} up to date.", flush=True)
    else:
        print(f"Setting up {folder}: {size}. Once only; it takes minutes.", flush=True)
    if free < disk + 0.5:
        raise SetupError(
            f"{disk + 0.5:.1f} GB of disk are needed and {free:.1f} GB are free; free some, or "
            "name a folder on another disk with SPEECHLIB_VENV"
        )


def install(folder, extra):
    """Install `extra` into `folder`, saying first what it will cost. Raises SetupError."""
    options, cuda = installing.torch_source()
    if unfinished(folder).exists() or not installing.usable(folder):
        for file in folder.glob("*.stamp"):
            unfinished(folder).touch()  # a stamp says that it is ours, to be made anew
            file.unlink()
    announce(folder, extra, cuda)
    try:
        if unfinished(folder).exists() or not installing.usable(folder):
            installing.make_venv(folder)
        unfinished(folder).touch()
        wanted = ["-c", str(CONSTRAINTS), "-e", f"{ROOT}[{','.join(INCLUDES[extra])}]"]
        installing.run_pip(venv_python(folder), [*options, *wanted])
        for name in ("base", *INCLUDES[extra]):
            stamp(folder, name).write_text(stamp_text(), encoding="utf-8")
        unfinished(folder).unlink()
    except OSError as error:
        raise SetupError(
            f"{error.filename or folder}: {error.strerror}; a folder that can be written to can be "
            "named with SPEECHLIB_VENV"
        ) from error


def ensure(extra):
    """The Python that has `extra`: the running one, or that of `.venv`, which is made if need be.

    Raises SetupError with the line that says what to do.
    """
    if not missing(extra):
        return sys.executable
    folder = venv_folder()
    inside = Path(sys.prefix).resolve() == folder.resolve()
    if inside or not is_ready(folder, extra):
        install(folder, extra)
    return sys.executable if inside else str(venv_python(folder))


def find(extra):
    """As `ensure`, but installs nothing: raises SetupError that says what to type instead."""
    lacking = missing(extra)
    if not lacking:
        return sys.executable
    folder = venv_folder()
    if Path(sys.prefix).resolve() != folder.resolve() and is_ready(folder, extra):
        return str(venv_python(folder))
    start = f"{'py' if os.name == 'nt' else 'python3'} -m speechlib lessons start"
    raise SetupError(
        f"not installed for this Python: {', '.join(lacking)}; `{start}` sets everything up"
    )


def run_inside(python, arguments):
    """Run `python` with `arguments` in place of this process; on Windows return its exit code."""
    sys.stdout.flush()
    if os.name == "nt":  # there is no true exec on Windows: the console would return too early
        return subprocess.call([python, *arguments])
    os.execv(python, [python, *arguments])
