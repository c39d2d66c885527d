"""What is declared, pinned and set up: pyproject.toml, the pins, environment.yml, the launcher."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from speechlib import installing, setup_environment
from speechlib.installing import SetupError

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA_NAMES = {
    **{"pytorch": "torch", "matplotlib-base": "matplotlib"},
    **{"pysoundfile": "soundfile", "soxr-python": "soxr"},
}


def bounds(requirements):
    """Package -> its version bounds, under the names of PyPI."""
    parsed = map(Requirement, requirements)
    return {
        canonicalize_name(CONDA_NAMES.get(r.name, r.name)): {str(s) for s in r.specifier}
        for r in parsed
    }


def pins():
    lines = setup_environment.CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    parsed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in parsed}


# -- what is declared agrees with itself


def test_conda_environment_says_what_pyproject_says():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    packages = [d for d in environment["dependencies"] if isinstance(d, str) and d != "pip"]
    by_pip = [each["pip"] for each in environment["dependencies"] if isinstance(each, dict)]
    python = f"python{PROJECT['requires-python']}"
    assert bounds(packages) == bounds([python, *PROJECT["dependencies"], *EXTRAS["lab"]])
    assert by_pip == [["-e . --no-deps"]], "or pip would put its own torch over conda's"


def test_every_requirement_has_a_pin_inside_its_bounds():
    pinned = pins()
    for text in [*PROJECT["dependencies"], *sum(EXTRAS.values(), [])]:
        requirement = Requirement(text)
        pin = pinned.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{text} has no line in constraints.txt"
        assert requirement.specifier.contains(pin), f"{text}, but constraints.txt has {pin}"


def test_pins_are_exact_and_for_every_system():
    for name, version in pins().items():
        assert re.fullmatch(r"[\w.!]+", version), f"{name}: {version}; one exact version, no +cpu"


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0"])
def test_pinned_versions_allow_every_python_that_we_allow(python):
    """Debian 12 has Python 3.11.2: a package that wants 3.11.5 would keep it out."""
    pinned, unfit = pins(), []
    for distribution in importlib.metadata.distributions():
        wanted = distribution.metadata["Requires-Python"]
        if canonicalize_name(distribution.name) in pinned and wanted:
            if not SpecifierSet(wanted).contains(python):
                unfit.append(f"{distribution.name} {distribution.version} wants {wanted}")
    assert unfit == []


def test_learners_get_no_test_tools_and_no_nbgrader():
    learner = bounds([*PROJECT["dependencies"], *EXTRAS["lab"]])
    assert not learner.keys() & {*bounds(EXTRAS["test"]), "nbconvert", "notebook"}


def test_setup_knows_every_extra_and_its_size():
    assert set(EXTRAS) | {"base"} == set(setup_environment.INCLUDES)
    assert set(EXTRAS) == set(setup_environment.SIZES)
    assert setup_environment.requirements("test") == PROJECT["dependencies"] + sum(
        EXTRAS.values(), []
    )


def third_party_imports(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        yield from (name.split(".")[0] for name in names)


def test_a_package_outside_its_checkout_asks_for_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(setup_environment, "ROOT", tmp_path)
    assert setup_environment.missing("lab") == []


def test_a_package_that_pip_installed_asks_for_what_pip_noted(monkeypatch, tmp_path):
    noted = SimpleNamespace(
        requires=["torch>=2", 'jupyterlab>=4; extra == "lab"', "nbval; (extra == 'test')"],
        locate_file=lambda name: setup_environment.CONSTRAINTS.parent,
    )
    monkeypatch.setattr(setup_environment, "ROOT", tmp_path)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: noted)
    assert setup_environment.requirements("base") == ["torch>=2"]
    assert setup_environment.requirements("lab") == ["torch>=2", "jupyterlab>=4"]
    assert setup_environment.requirements("test")[-1] == "nbval"
    noted.locate_file = lambda name: tmp_path / name  # somebody else's package of that name
    assert setup_environment.requirements("lab") == []


def test_every_import_of_the_package_is_declared():
    """A package that only happens to be there, through another one, may be gone tomorrow."""
    of_pypi = {canonicalize_name(n): m for n, m in setup_environment.IMPORT_NAMES.items()}
    declared = {
        of_pypi.get(name, name.replace("-", "_"))
        for name in bounds([*PROJECT["dependencies"], *EXTRAS["lab"], *EXTRAS["flax"]])
    }
    known = declared | set(sys.stdlib_module_names) | {"speechlib"}
    brought = {"IPython", "ipywidgets", "traitlets", "PIL", "cycler", "jupyter_client",
               "jupyter_server"}
    found = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in (ROOT / "speechlib").rglob("*.py")
        for name in third_party_imports(file)
        if name not in known | brought
    }
    assert sorted(found) == []


@pytest.mark.skipif(
    not (ROOT / ".git").exists() or shutil.which("git") is None, reason="not a git checkout"
)
@pytest.mark.parametrize("path", ["data/digits/x.ogg", "data/model.safetensors", "tests/golden/x"])
def test_data_files_stay_byte_exact(path):
    command = ["git", "check-attr", "text", "--", path]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.strip().endswith("text: unset")


def test_make_only_calls_python():
    recipes = [
        line.strip("@\t ")
        for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
        if line.startswith("\t")
    ]
    assert recipes
    assert all(line.startswith(("$(PYTHON) ", "rm -rf .venv")) for line in recipes)


# -- setting up: each thing that can go wrong is one line that says what to do


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of which nothing is installed; pip and venv only leave traces."""
    monkeypatch.setattr(setup_environment, "ROOT", tmp_path)
    monkeypatch.delenv("SPEECHLIB_VENV", raising=False)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    monkeypatch.setattr(setup_environment, "missing", lambda extra: ["torch"])
    monkeypatch.setattr(installing, "pip_settings", lambda: ["find-links='/wheels'"])
    monkeypatch.setattr(installing, "usable", lambda folder: (folder / "bin").exists())
    made, ran = [], []

    def make_venv(folder):
        made.append(folder)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        python = setup_environment.venv_python(folder)
        python.parent.mkdir(parents=True)
        python.touch()

    monkeypatch.setattr(installing, "make_venv", make_venv)
    monkeypatch.setattr(installing, "run_pip", lambda python, given: ran.append(given))
    return tmp_path, made, ran


def test_first_start_installs_with_pins_and_second_does_nothing(checkout, capsys):
    folder, made, ran = checkout
    python = setup_environment.ensure("lab")
    assert Path(python).parent.parent == folder / ".venv"
    assert ran == [["-c", str(setup_environment.CONSTRAINTS), "-e", f"{folder}[lab]"]]
    assert "GB to download" in capsys.readouterr().out
    assert setup_environment.ensure("lab") == python
    assert (len(made), len(ran), capsys.readouterr().out) == (1, 1, "")


def test_tests_add_to_the_learners_environment(checkout):
    folder, made, ran = checkout
    setup_environment.ensure("lab")
    setup_environment.ensure("test")
    assert ran[-1][-1] == f"{folder}[lab,flax,test]"
    assert len(made) == 1
    assert setup_environment.is_ready(folder / ".venv", "lab")


def test_changed_requirements_are_installed(checkout, capsys):
    folder, made, ran = checkout
    setup_environment.ensure("lab")
    (folder / "pyproject.toml").write_text((folder / "pyproject.toml").read_text() + "# new\n")
    setup_environment.ensure("lab")
    assert (len(made), len(ran)) == (1, 2)
    assert "up to date" in capsys.readouterr().out


def test_an_interrupted_installation_is_made_anew(checkout, monkeypatch):
    folder, made, ran = checkout

    def interrupted(python, given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(installing, "run_pip", interrupted)
        with pytest.raises(KeyboardInterrupt):
            setup_environment.ensure("lab")
    assert not setup_environment.is_ready(folder / ".venv", "lab")
    setup_environment.ensure("lab")
    assert len(made) == 2
    assert setup_environment.is_ready(folder / ".venv", "lab")


def test_a_failed_installation_leaves_no_stamp(checkout, monkeypatch):
    folder, made, ran = checkout

    def failing(python, given):
        raise SetupError("no network")

    monkeypatch.setattr(installing, "run_pip", failing)
    with pytest.raises(SetupError, match="no network"):
        setup_environment.ensure("lab")
    assert not setup_environment.stamp(folder / ".venv", "lab").exists()


def test_other_commands_install_nothing_and_say_what_to_type(checkout):
    with pytest.raises(SetupError, match="torch.*lessons start"):
        setup_environment.find("base")


def test_a_python_that_has_everything_is_used_as_it_is(checkout, monkeypatch):
    monkeypatch.setattr(setup_environment, "missing", lambda extra: [])
    assert setup_environment.ensure("lab") == sys.executable


def test_low_disk_is_said_before_anything_is_downloaded(checkout, monkeypatch):
    usage = shutil._ntuple_diskusage(10**10, 9 * 10**9, 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SetupError, match=r"\d\.\d GB of disk are needed and 1\.0 GB are free"):
        setup_environment.ensure("lab")
    assert checkout[2] == []


def test_a_disk_that_cannot_be_written_is_one_line(checkout, monkeypatch):
    def refused(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(installing, "make_venv", refused)
    with pytest.raises(SetupError, match="Permission denied; .*SPEECHLIB_VENV"):
        setup_environment.ensure("lab")


def test_a_folder_that_is_no_environment_is_not_deleted(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SetupError, match="not a virtual environment; move it away"):
        installing.make_venv(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_an_environment_that_somebody_else_made_is_not_deleted(tmp_path):
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin")  # as uv makes them: without pip
    with pytest.raises(SetupError, match="without pip that something else has made; move it away"):
        installing.make_venv(tmp_path)
    assert (tmp_path / "pyvenv.cfg").exists()


def test_an_environment_of_ours_that_broke_is_made_anew(checkout, monkeypatch):
    folder, made, _ = checkout
    setup_environment.ensure("lab")
    shutil.rmtree(folder / ".venv" / "bin")
    marked, make = [], installing.make_venv

    def make_venv(folder):  # the real one deletes only what has this mark
        marked.append(installing.unfinished(folder).exists())
        make(folder)

    monkeypatch.setattr(installing, "make_venv", make_venv)
    setup_environment.ensure("test")
    assert marked == [True] and len(made) == 2


def test_an_old_python_is_told_what_to_type(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "python3.12" else None)
    with pytest.raises(SetupError) as caught:
        setup_environment.check_python("-m speechlib lessons start")
    assert str(caught.value) == (
        "this is Python 3.9 and speechlib needs 3.11 or newer; "
        "type: python3.12 -m speechlib lessons start"
    )


@pytest.mark.parametrize(
    "output, advice",
    [
        ("ERROR: No matching distribution found for torch==2.13.0", "no torch for Python"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        (
            "WARNING: Retrying after connection broken by NewConnectionError: Name or service not "
            "known\nERROR: No matching distribution found for torch==2.13.0",
            "check the network",
        ),
        ("ERROR: ResolutionImpossible: for help", "tested versions do not fit Python"),
        ("ERROR: something rare", "pip failed: something rare"),
        ("", "pip failed"),
    ],
)
def test_what_pip_says_becomes_one_line(output, advice):
    line = installing.explain(output)
    assert advice in line
    assert "\n" not in line


def test_pip_options_of_the_user_are_left_alone(monkeypatch):
    monkeypatch.setattr(installing, "pip_settings", lambda: ["global.index-url='…'"])
    assert installing.torch_source() == ([], False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has CUDA on PyPI")
def test_linux_takes_the_cpu_wheels_where_they_can_be_reached(monkeypatch):
    import io

    asked = []

    def answer(url, timeout):
        asked.append((url, timeout))
        return io.BytesIO(b"")

    monkeypatch.setattr(installing, "pip_settings", lambda: [])
    monkeypatch.setattr(urllib.request, "urlopen", answer)
    options, cuda = installing.torch_source()
    assert options[0] == "--extra-index-url" and asked[0][0].startswith(options[1])
    assert asked[0][1] <= 3 and not cuda

    def no_answer(url, timeout):
        raise OSError("unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", no_answer)
    monkeypatch.setattr(installing.platform, "machine", lambda: "x86_64")
    assert installing.torch_source() == ([], True)
