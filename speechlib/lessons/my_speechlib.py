"""The learner's own package: every function that passed its check, in readable modules.

my_speechlib/lesson_03.py holds the functions of lesson 03, one marked section an exercise. When
two exercises need different things under one name, the later one gets a module of its own,
lesson_03_4.py, and lesson_03.py imports it. What the learner writes above the first section stays.
"""

import ast
import contextlib
import importlib
import re
import sys
from dataclasses import dataclass

from speechlib.lessons.exercises import exercise as exercise_of
from speechlib.lessons.exercises import lesson as lesson_of
from speechlib.lessons.phrases import say
from speechlib.lessons.running import describe
from speechlib.lessons.sourcecode import CannotSave, source_of, standalone
from speechlib.lessons.workfolder import locked, work_folder, write_atomically

PACKAGE = "my_speechlib"
_HEAD = re.compile(r"^# ---- exercise (\d\d\.\w+): (\w+) -+$", re.MULTILINE)
_DOC = re.compile(r'\A"""Lesson \d\d, .*?"""', re.DOTALL)
_OWN = ""  # in place of an exercise id: what the learner wrote above the first section
_INIT = '"""Your own speechlib: the functions you wrote, saved when their check passed."""\n'

__all__ = ["Saved", "is_library", "load", "save", "saved_file", "source_of"]


@dataclass(frozen=True)
class Saved:
    """file: where it was saved, relative to the work folder; why: why it was not."""

    file: str = ""
    why: str = ""


def is_library(fn):
    """True for the library's own function, as `part` gives it until the learner's has passed."""
    return str(getattr(fn, "__module__", "")).startswith("speechlib.")


def save(exercise, fn):
    """Write a passed function to the work folder. Never raises: says why it could not."""
    folder, lasting = work_folder()
    if is_library(fn):
        return Saved(why="library")
    try:
        section = _section(exercise, fn)
        with _importing_from(folder):
            exec(compile(section, "<saved>", "exec"), {"__name__": "saved"})  # stands on its own?
        with locked(folder):
            file = _write(folder, exercise, section)
    except CannotSave as error:
        return Saved(why=str(error))
    except OSError as error:
        return Saved(why=error.strerror or type(error).__name__)
    except Exception as error:  # whatever it is, a passed check stays passed
        return Saved(why=describe(error))
    return Saved(file=f"{PACKAGE}/{file}") if lasting else Saved()


def load(id):
    """The learner's saved function, freshly imported, or None. Import errors come through."""
    exercise, module = exercise_of(id), _module_of(id)
    if module is None:
        return None
    folder, _ = work_folder()
    with _importing_from(folder):
        loaded = importlib.import_module(f"{PACKAGE}.{module}")
    return getattr(loaded, _saved_name(folder, id) or exercise.name)


@contextlib.contextmanager
def _importing_from(folder):
    for name in [n for n in sys.modules if n == PACKAGE or n.startswith(f"{PACKAGE}.")]:
        del sys.modules[name]  # what is on disk counts, also when another kernel wrote it
    importlib.invalidate_caches()
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = writes  # a .pyc of the same second would hide a new text


def saved_file(id):
    """ "my_speechlib/lesson_03.py" when the exercise's function is saved there, else None."""
    module = _module_of(id)
    return module and f"{PACKAGE}/{module}.py"


def _module_of(id):
    folder, _ = work_folder()
    for module in (f"lesson_{id.replace('.', '_')}", f"lesson_{id[:2]}"):
        if id in _sections(folder / PACKAGE / f"{module}.py"):
            return module
    return None


def _saved_name(folder, id):
    text = (folder / PACKAGE / f"{_module_of(id)}.py").read_text(encoding="utf-8")
    return next((name for found, name in _HEAD.findall(text) if found == id), None)


def _section(exercise, fn):
    imports, definitions = standalone(fn, home=f"{PACKAGE}.lesson_{exercise.id[:2]}")
    head = f"# ---- exercise {exercise.id}: {fn.__name__} "
    parts = [head + "-" * max(4, 88 - len(head)), f"# {exercise.title}"]
    if imports:
        parts.append("\n".join(imports) + "\n")
    return "\n\n".join([parts[0] + "\n" + parts[1], *parts[2:], *definitions.values()])


def _write(folder, exercise, section):
    package = folder / PACKAGE
    if not (package / "__init__.py").exists():
        write_atomically(package / "__init__.py", _INIT)
    own = f"lesson_{exercise.id.replace('.', '_')}.py"
    shared = f"lesson_{exercise.id[:2]}.py"
    sections = _sections(package / shared)
    kept = {id: text for id, text in _sections(package / own).items() if id == _OWN}
    mine = (exercise.id, f"{exercise.id}: elsewhere")
    others = {id: text for id, text in sections.items() if id not in mine}
    broken = [id for id, text in others.items() if not _parses(text)]
    if broken:  # edited by hand: kept aside, so that the others can be imported again
        aside = package / f"{shared[:-3]}_unreadable.txt"
        before = aside.read_text(encoding="utf-8") if aside.exists() else ""
        write_atomically(aside, before + "\n\n".join(others.pop(id) for id in broken) + "\n")
    if _clash(section, others.values()):
        write_atomically(package / own, _module(exercise, {**kept, exercise.id: section}))
        name = _HEAD.search(section).group(2)
        link = f"from {PACKAGE}.{own[:-3]} import {name}"
        note = f"# exercise {exercise.id} has a file of its own"
        others[f"{exercise.id}: elsewhere"] = f"{note}\n{link}"
        write_atomically(package / shared, _module(exercise, others))
        return own
    others[exercise.id] = section
    write_atomically(package / shared, _module(exercise, others))
    if kept:
        write_atomically(package / own, _module(exercise, kept))
    else:
        (package / own).unlink(missing_ok=True)
    return shared


def _module(exercise, sections):
    lesson = lesson_of(exercise.id[:2])
    head = f'"""Lesson {lesson.number}, {lesson.title}: your functions, saved when they passed.'
    head += f'\n\n{say("my_speechlib.head")}\n"""'
    body = [sections[id].strip() for id in sorted(sections)]
    return "\n\n\n".join([head, *body]) + "\n"


def _sections(path):
    """Exercise id -> its section of the file; also the links to files of their own, and under
    _OWN what the learner wrote above the first section."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    marks = list(_HEAD.finditer(text))
    ends = [m.start() for m in marks[1:]] + [len(text)]
    sections = {m.group(1): text[m.start() : end] for m, end in zip(marks, ends, strict=False)}
    link = re.compile(r"^# exercise (\S+) has a file of its own\n.*$", re.MULTILINE)
    found = {f"{m.group(1)}: elsewhere": m.group(0) for m in link.finditer(text)}
    own = _DOC.sub("", text[: marks[0].start() if marks else len(text)])
    if link.sub("", own).strip():
        sections[_OWN] = own
    cleaned = {id: link.sub("", part).strip() for id, part in sections.items()}
    return {**cleaned, **found}


def _parses(text):
    try:
        ast.parse(text)
        return True
    except SyntaxError:
        return False


def _clash(section, others):
    mine = _bindings(section)
    return any(
        name in theirs and theirs[name] != mine[name]
        for theirs in map(_bindings, others)
        for name in mine
    )


def _bindings(section):
    """Name -> what it is bound to, as text that ignores formatting."""
    bound = {}
    for node in ast.parse(section).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                bound[name] = f"{getattr(node, 'module', '')}:{alias.name}"
        elif isinstance(node, ast.Assign):
            bound.update({t.id: ast.dump(node.value) for t in node.targets if hasattr(t, "id")})
        elif hasattr(node, "name"):
            bound[node.name] = ast.dump(node)
    return bound
