"""Pass all tests: ruff, unit, parity, every notebook under `pytest --nbval`, browser.

    python3 tests/run.py                       everything, as `make test` does
    python3 tests/run.py tests/test_audio.py   ruff and these, with any options of pytest
    python3 tests/run.py --bench               the measurements of tests/bench, as `make bench`
                                               does, into tests/bench/RESULTS.md

Sets up what it needs in `.venv` first. The last line printed is pytest's own.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from speechlib import setup_environment  # noqa: E402  (found through the line above)


def quiet_environment(folder):
    """Environment variables under which a test run depends on nothing of its user's settings."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),  # as many workers as cores
        "HF_HUB_OFFLINE": "1",  # nothing may need the network
        "TRANSFORMERS_VERBOSITY": "error",
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }


def run_tests(arguments, environment):
    """ruff, then pytest; returns the first exit code that is not 0."""
    ruff = subprocess.run([sys.executable, "-m", "ruff", "check", "--quiet", "."], cwd=ROOT)
    if ruff.returncode:
        return ruff.returncode
    targets = arguments or ["-n", str(min(2, os.cpu_count() or 1)), "tests", "notebooks"]
    command = [sys.executable, "-m", "pytest", "--nbval", *targets]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def run_benches(arguments, environment):
    """Each tests/bench/bench_*.py prints tables of what it measured, one after another, with
    nothing beside; if all went well they are kept in tests/bench/RESULTS.md."""
    environment = {**environment, "OMP_NUM_THREADS": str(min(2, os.cpu_count() or 1))}
    texts = []
    for file in sorted((ROOT / "tests" / "bench").glob("bench_*.py")):
        command = [sys.executable, str(file), *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE)
        print(done.stdout, flush=True)
        if done.returncode:
            return done.returncode
        title, _, tables = done.stdout.strip().partition("\n")
        texts.append(f"## {title}\n{tables}\n")
    where = f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores; made by `make bench`."
    results = "\n".join([f"# Measured speed\n\n{where}\n", *texts])
    (ROOT / "tests" / "bench" / "RESULTS.md").write_text(results, encoding="utf-8")
    return 0


def main():
    """Set up, then run; returns the exit code."""
    arguments = sys.argv[1:]
    bench = "--bench" in arguments
    try:
        setup_environment.check_python("tests/run.py")
        python = setup_environment.ensure("test")
    except setup_environment.SetupError as error:
        print(f"tests: {error}", file=sys.stderr)
        return 2
    if python != sys.executable:
        return setup_environment.run_inside(python, [str(Path(__file__).resolve()), *arguments])
    folder = Path(tempfile.mkdtemp(prefix="speechlib-tests-"))
    try:
        environment = quiet_environment(folder)
        if bench:
            return run_benches([a for a in arguments if a != "--bench"], environment)
        return run_tests(arguments, environment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
