"""How a lesson's bank is written: cases, a reference, mistakes, honest variants.

bank = Bank("03")
double = bank.exercise("03.1", axes=("position",))

@double.cases
def double_cases():
    yield case(np.array([1.0, 2.0]), note="two numbers")

@double.reference
def reference(x):
    return 2 * x

@double.mistake("square")          # its text: [exercise."03.1".mistakes] square = "…"
def square(x):
    return x * x
"""

import copy
from dataclasses import dataclass, field


@dataclass
class Case:
    """One call of the learner's function: arguments by place and by name, a note for a human."""

    args: tuple
    kwargs: dict
    note: str = ""

    def fresh(self):
        """A deep copy of the arguments, so that no call can spoil the next."""
        return copy.deepcopy((self.args, self.kwargs))


def case(*args, note="", **kwargs):
    """A Case of the arguments as the learner's function gets them."""
    return Case(args, kwargs, note)


@dataclass
class Checks:
    """All that checks one exercise. Made by Bank.exercise, filled by the decorators below.

    axes: words for the axes of the answer, ("query", "key"); for a tuple or dict answer a
    tuple or dict of such. rtol, atol: tolerance of floats. in_place: the function is meant to
    change its input.
    """

    id: str
    axes: object = None
    rtol: float = 1e-4
    atol: float = 1e-5
    in_place: bool = False
    correct: object = None
    mistakes: dict = field(default_factory=dict)
    variants: dict = field(default_factory=dict)
    equivalents: dict = field(default_factory=dict)
    runner: object = None
    adapter: object = None
    _make_cases: object = None
    _cases: list = None
    _expected: list = None
    _any_precision: bool = None

    def cases(self, function):
        """Decorator: a generator of Case, the smallest first; seed random ones yourself."""
        self._make_cases = function
        return function

    def reference(self, function):
        """Decorator: the right answer (mutants are made of its source)."""
        self.correct = function
        return function

    def mistake(self, name):
        """Decorator: a wrong implementation; its text is in the lesson's toml under this name."""
        return self._put(self.mistakes, name, "mistake")

    def variant(self, name):
        """Decorator: an honest other way to write it, which must pass."""
        return self._put(self.variants, name, "variant")

    def equivalent(self, mutation, because):
        """A mutant ("a < b -> a <= b") that no case can tell from the reference, and why."""
        self.equivalents[mutation] = because

    def run(self, function):
        """Decorator: how to call, when it is not simply fn(*args): function(fn, *args)."""
        self.runner = function
        return function

    def adapt(self, function):
        """Decorator: adapt(fn) -> a function with the library target's own signature."""
        self.adapter = function
        return function

    def all_cases(self):
        """The cases, made once."""
        if self._cases is None:
            self._cases = list(self._make_cases())
        return self._cases

    def call(self, fn, args, kwargs):
        """Call fn on one case's arguments, through the exercise's own runner if it has one."""
        if self.runner is not None:
            return self.runner(fn, *args, **kwargs)
        return fn(*args, **kwargs)

    def _put(self, where, name, kind):
        if name in where:
            raise ValueError(f"Exercise {self.id} has two {kind}s named {name!r}.")

        def put(function):
            where[name] = function
            return function

        return put


class Bank:
    """The checks of one lesson, by exercise id."""

    def __init__(self, number):
        self.number = number
        self.exercises = {}

    def exercise(self, id, **options):
        """New Checks for exercise id; options as in Checks."""
        if not id.startswith(f"{self.number}.") or id in self.exercises:
            raise ValueError(f"{id!r} is not of lesson {self.number}, or is there twice.")
        self.exercises[id] = Checks(id, **options)
        return self.exercises[id]
