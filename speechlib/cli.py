"""The command line: `python -m speechlib COMMAND …`.

input -> output: the words typed -> an exit code (0 done, 1 no, 2 bad input, 130 interrupted).
Special: each command is a module with `add_arguments(parser)` and `run(arguments) -> int`, imported
only when it is asked for, so that `--help` is quick. What a user can get wrong is one line on
stderr; SPEECHLIB_DEBUG=1 shows the traceback instead.
"""

import argparse
import difflib
import importlib
import os
import sys

# as README types it; inside an activated environment `python` does as well
PROGRAM = ("py" if os.name == "nt" else "python3") + " -m speechlib"
# command -> (module, what it does)
COMMANDS = {
    "lessons": ("speechlib.lessons.command", "start the lessons; update, reset or report them"),
    "transcribe": ("speechlib.transcribe_command", "write down what is said in sound files"),
    "train": ("speechlib.recipes.command", "train a bundled model again, from the corpus"),
    "evaluate": (
        "speechlib.recipes.evaluating",
        "measure trained models, and write it down",
    ),
    "corpus": ("speechlib.corpus.command", "download real recordings; make the bundled set again"),
    "doctor": ("speechlib.doctor", "say what is installed, what is missing and what to type"),
}


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _help():
    width = max(map(len, COMMANDS)) + 2
    rows = [f"  {name:<{width}}{what}" for name, (_, what) in COMMANDS.items()]
    usage = f"usage: {PROGRAM} COMMAND …"
    return "\n".join([usage, "", *rows, "", f"{PROGRAM} COMMAND --help says more."])


def _run(name, arguments):
    module = importlib.import_module(COMMANDS[name][0])
    parser = OneLineParser(prog=f"{PROGRAM} {name}", description=COMMANDS[name][1])
    module.add_arguments(parser)
    return module.run(parser.parse_args(arguments)) or 0


def _explain(error):
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name!r} is not installed; {PROGRAM} doctor says more"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def main(arguments=None):
    """Run one command line; `arguments` are the words after `python -m speechlib`."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # an old console lacks some signs: show ? for them
            stream.reconfigure(errors="replace")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from speechlib import __version__

        print(f"speechlib {__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        print(f"speechlib: there is no command {name!r}; {advice}", file=sys.stderr)
        return 2
    try:
        return _run(name, arguments[1:])
    except KeyboardInterrupt:
        print(f"\nspeechlib {name}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("SPEECHLIB_DEBUG"):
            raise
        print(f"speechlib {name}: {_explain(error)}", file=sys.stderr)
        return 2
