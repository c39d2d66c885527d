"""What a lesson says: its titles, levels, hints and messages, read from content/NN_name.toml."""

import importlib
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

CONTENT = Path(__file__).parent / "content"


@dataclass(frozen=True)
class Exercise:
    """One exercise as its lesson's text file describes it."""

    id: str
    title: str
    level: str
    minutes: int
    points: int
    name: str
    target: str = ""
    passed: str = ""
    hints: tuple = ()
    mistakes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Lesson:
    """One lesson: number "03", file "03_positions", title, minutes, exercises by id, questions."""

    number: str
    file: str
    title: str
    minutes: int
    exercises: dict
    questions: tuple = ()

    @property
    def points(self):
        return sum(exercise.points for exercise in self.exercises.values())


def content_files():
    """All text files of lessons, in the order of the lessons."""
    return sorted(CONTENT.glob("[0-9][0-9]_*.toml"))


def lesson_numbers():
    """Numbers of the lessons there are: ["00", "03", …], without the demonstration (99)."""
    return [path.name[:2] for path in content_files() if path.name[0] != "9"]


@cache
def lesson(number):
    """The Lesson with this number ("03"); ValueError when there is none."""
    for path in content_files():
        if path.name[:2] == number:
            return _read(path)
    have = ", ".join(lesson_numbers())
    raise ValueError(f"There is no lesson {number!r}. There are: {have}.")


def exercise(id):
    """The Exercise with this id ("03.4"); ValueError with the ids there are otherwise."""
    if not isinstance(id, str) or not re.fullmatch(r"\d\d\.\w+", id):
        raise ValueError(f'An exercise id looks like "03.4" (with the quotes), not {id!r}.')
    found = lesson(id[:2])
    if id not in found.exercises:
        have = ", ".join(found.exercises)
        raise ValueError(f"Lesson {id[:2]} has no exercise {id!r}. It has: {have}.")
    return found.exercises[id]


@cache
def checks(id):
    """The banking.Checks of an exercise: its cases, its reference and its banked mistakes."""
    module = importlib.import_module(f"speechlib.lessons.bank.lesson_{id[:2]}")
    if id not in module.bank.exercises:
        raise ValueError(f"bank/lesson_{id[:2]}.py has no exercise {id!r}: add it there.")
    return module.bank.exercises[id]


def _read(path):
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name} is not valid TOML: {error}.") from None
    number = path.name[:2]
    exercises = {}
    for id, told in raw.get("exercise", {}).items():
        if not id.startswith(f"{number}."):
            raise ValueError(f"{path.name}: exercise ids start with {number}., not {id!r}.")
        told = dict(told, hints=tuple(told.get("hints", ())))
        try:
            exercises[id] = Exercise(id=id, **told)
        except TypeError as error:
            raise ValueError(f"{path.name}, exercise {id}: {error}.") from None
    return Lesson(
        number=number,
        file=path.stem,
        title=raw["title"],
        minutes=raw["minutes"],
        exercises=exercises,
        questions=tuple(raw.get("question", ())),
    )
