"""The command line: quick help, exit codes, one line for what a user can get wrong."""

import json
import os
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path

import pytest

from speechlib import cli

ROOT = Path(__file__).resolve().parent.parent


def command(*words):
    """Run `python -m speechlib …` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "speechlib", *words], cwd=ROOT, capture_output=True, text=True
    )


def test_help_lists_every_command():
    done = command("--help")
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name):
    done = command(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python3 -m speechlib {name}")


@pytest.mark.parametrize("words", [["--help"], ["transcribe", "--help"]])
def test_help_loads_nothing_heavy(words):
    code = (
        "import sys; from speechlib import cli\n"
        f"try: cli.main({words!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'matplotlib', 'IPython'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_a_console_without_our_signs_is_no_error():
    done = subprocess.run(
        [sys.executable, "-m", "speechlib", "--help"],
        cwd=ROOT,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert b"COMMAND ?" in done.stdout


def test_importing_speechlib_is_quick():
    start = time.perf_counter()
    code = "import sys, speechlib; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT).returncode == 0
    assert time.perf_counter() - start < 2  # 0.05 s on an idle machine


def test_no_command_shows_the_help_and_is_not_a_success():
    done = command()
    assert done.returncode == 2
    assert "COMMAND" in done.stdout


@pytest.mark.parametrize(
    "words, said",
    [
        (["transcibe"], "did you mean transcribe?"),
        (["sing"], "there is no command 'sing'; there are "),
        (["transcribe"], "see python3 -m speechlib transcribe --help"),
        (["transcribe", "--wrods", "x.wav"], "unrecognized arguments: --wrods"),
    ],
)
def test_a_wrong_command_is_one_line(words, said):
    done = command(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def pretend(monkeypatch, run):
    module = types.ModuleType("pretended")
    module.add_arguments, module.run = (lambda parser: None), run
    monkeypatch.setitem(sys.modules, "pretended", module)
    monkeypatch.setitem(cli.COMMANDS, "pretend", ("pretended", "for this test"))


def raising(error):
    def run(arguments):
        raise error

    return run


@pytest.mark.parametrize(
    "error, code, said",
    [
        (ValueError("expected 2 axes,\n  got 3"), 2, "expected 2 axes, got 3"),
        (FileNotFoundError(2, "No such file", "a.wav"), 2, "a.wav: No such file"),
        (ModuleNotFoundError("no", name="torch"), 2, "'torch' is not installed"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(monkeypatch, capsys, error, code, said):
    pretend(monkeypatch, raising(error))
    assert cli.main(["pretend"]) == code
    line = capsys.readouterr().err.strip()
    assert said in line and "\n" not in line and "Traceback" not in line


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    pretend(monkeypatch, raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["pretend"])


def test_the_traceback_can_be_asked_for(monkeypatch):
    pretend(monkeypatch, raising(ValueError("x")))
    monkeypatch.setenv("SPEECHLIB_DEBUG", "1")
    with pytest.raises(ValueError):
        cli.main(["pretend"])


def test_doctor_says_what_is_there_and_what_to_type():
    done = command("doctor")
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stdout and "lessons start" in done.stdout.splitlines()[-1]


def test_what_flax_needs_is_said_in_one_way_and_not_by_the_name_of_a_strangers_package(monkeypatch):
    """On PyPI `speechlib` is not this one."""
    from speechlib import doctor, frameworks, setup_environment

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    said = {doctor.COMMAND["flax"], setup_environment.FLAX_COMMAND}
    assert said == {f"{sys.executable} -m pip install jax flax"}  # of this Python, not of another
    assert "pip install jax flax" in readme
    monkeypatch.setattr(
        frameworks.importlib, "import_module", raising(ModuleNotFoundError(name="jax"))
    )
    with pytest.raises(ValueError, match="needs jax, .* type: .* -m pip install jax flax$"):
        frameworks.load("anything", framework="flax")


def test_a_package_that_is_no_part_of_flax_is_not_blamed_on_it():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import speechlib as sl\n"
        "try: sl.load('whisper-digits')\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "speechlib needs torch, which is not installed" in done.stdout, done.stderr
    assert "python -m speechlib doctor" in done.stdout and "flax" not in done.stdout


def test_doctor_counts_missing_data(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "speechlib", "doctor"], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"SPEECHLIB_DATA": str(tmp_path / "none")},
    )  # fmt: skip
    assert done.returncode == 1 and "without the data" in done.stdout.splitlines()[-1]


def test_doctor_runs_on_a_bare_python():
    """-S: without site-packages, as on a computer where nothing is installed."""
    code = "import sys; from speechlib import doctor; sys.exit(doctor.run(None))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert "MISSING" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1].endswith("lessons start")


# -- transcribe: the files, whatever the model


@pytest.fixture
def ears(monkeypatch):
    """A library that hears the name of the file; "long" warns, "bad" is not audio, "doubt" is
    heard without conviction."""
    import speechlib as sl

    asked = {}

    def load(file):
        if "bad" in file:
            raise ValueError(f"{file} is not audio")
        return file

    def transcribe(samples, model, words=False, **more):
        asked.update(more)
        if "long" in samples:
            warnings.warn("longer than the 6 s window: cut in 2", stacklevel=2)
        heard = Path(samples).stem
        timed = [(heard, 0.5, 0.75, 0.9)] if words else []
        sure = 0.42 if "doubt" in samples else 0.9
        segment = {"start_s": 0.0, "end_s": 1.0, "text": heard, "probability": sure}
        return types.SimpleNamespace(text=heard, words=timed, segments=[segment], language="en")

    monkeypatch.setitem(vars(sl), "audio", types.SimpleNamespace(load=load))
    monkeypatch.setitem(vars(sl), "load", lambda name: name)
    monkeypatch.setitem(vars(sl), "transcribe", transcribe)
    return asked


def test_one_file_is_its_text(ears, capsys):
    assert cli.main(["transcribe", "seven.wav"]) == 0
    assert capsys.readouterr().out == "seven\n"


def test_a_bad_file_costs_one_line_and_the_others_are_done(ears, capsys):
    assert cli.main(["transcribe", "one.wav", "bad.wav", "two.wav"]) == 2
    said = capsys.readouterr()
    assert said.out == "one.wav: one\ntwo.wav: two\n"
    assert said.err == "speechlib transcribe: bad.wav is not audio\n"


def test_words_are_shown_with_their_times(ears, capsys):
    assert cli.main(["transcribe", "--words", "six.wav"]) == 0
    assert capsys.readouterr().out == "six\n     0.50 s to   0.75 s   90%  six\n"


def test_options_reach_the_library_and_segments_are_shown(ears, capsys):
    line = ["transcribe", "--timestamps", "--beams", "4", "--language", "de", "six.wav"]
    assert cli.main([*line, "--task", "translate"]) == 0
    assert ears == {"timestamps": True, "beams": 4, "language": "de", "task": "translate"}
    assert capsys.readouterr().out == "six\n     0.00 s to   1.00 s  six\n"


@pytest.mark.parametrize("wrong", [["--beams", "0"], ["--beams", "x"], ["--task", "sing"]])
def test_a_wrong_option_is_one_line(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["transcribe", *wrong, "one.wav"])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_hub_name_without_a_network_is_one_line(monkeypatch, capsys):
    """The published model is fetched where there is a network; here nothing can be reached."""
    from huggingface_hub import errors

    def offline(*given, **named):
        raise errors.LocalEntryNotFoundError("no network")

    import speechlib as sl

    monkeypatch.setitem(vars(sl), "audio", types.SimpleNamespace(load=lambda file: file))
    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    assert cli.main(["transcribe", "--model", "openai/whisper-tiny", "one.wav"]) == 2
    said = capsys.readouterr().err.strip()
    assert "huggingface.co cannot be reached" in said and len(said.splitlines()) == 1


def test_json_is_one_object_a_line(ears, capsys):
    assert cli.main(["transcribe", "--json", "--words", "one.wav", "two.wav"]) == 0
    one, two = map(json.loads, capsys.readouterr().out.splitlines())
    assert one["words"] == [{"word": "one", "start_s": 0.5, "end_s": 0.75, "probability": 0.9}]
    assert (two["file"], two["text"]) == ("two.wav", "two")
    assert two["segments"][0]["probability"] == 0.9


def test_what_the_model_does_not_believe_itself_is_said(ears, capsys):
    assert cli.main(["transcribe", "doubt.wav"]) == 0
    said = capsys.readouterr()
    assert said.out == "doubt\n" and "only 42% sure of 'doubt'" in said.err


def test_a_long_file_is_said_to_be_cut(ears, capsys):
    assert cli.main(["transcribe", "long.wav"]) == 0
    assert "note: long.wav: longer than the 6 s window" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_said_once(ears, monkeypatch, capsys):
    import speechlib as sl

    monkeypatch.setitem(vars(sl), "load", raising(ValueError("no such checkpoint")))
    assert cli.main(["transcribe", "--model", "nope", "one.wav", "two.wav"]) == 2
    assert capsys.readouterr().err == "speechlib transcribe: model nope: no such checkpoint\n"
