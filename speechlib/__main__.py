"""`python -m speechlib …`: find a Python that has the packages, then hand over to `cli`.

Special: imports nothing but the standard library, and its syntax is that of Python 3.7, so that
`lessons start` works, or says in one line what is missing, on a computer that has only Python.
"""

import os
import sys

from speechlib import setup_environment
from speechlib.installing import SetupError


def python_for(arguments):
    """The Python that can run these arguments. Raises SetupError with the line to show."""
    setup_environment.check_python(" ".join(["-m speechlib", *arguments]))
    from speechlib import cli

    asks_only = not arguments or {"-h", "--help", "--version"} & set(arguments)
    if asks_only or arguments[0] not in cli.COMMANDS:
        return sys.executable
    if arguments[0] == "doctor":  # best from inside; it also says what is missing outside
        try:
            return setup_environment.find("base")
        except SetupError:
            return sys.executable
    if arguments[:2] == ["lessons", "start"]:
        return setup_environment.ensure("lab")
    return setup_environment.find("lab" if arguments[0] == "lessons" else "base")


def main():
    """Run the command line; returns the exit code."""
    arguments = sys.argv[1:]
    try:
        python = python_for(arguments)
        if python != sys.executable:
            return setup_environment.run_inside(python, ["-m", "speechlib", *arguments])
    except SetupError as error:
        print(f"speechlib: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nspeechlib: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    # kernels that a command starts elsewhere must find this checkout too
    paths = [str(setup_environment.ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    from speechlib import cli

    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
