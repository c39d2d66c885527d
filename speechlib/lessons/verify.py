"""The check of the checks: python -m speechlib.lessons.verify 03 (or no number: all lessons).

For every exercise: the stub is told to be not written; the reference and every honest variant
pass; every banked mistake is rejected and named as itself; every mutant of the reference is
rejected or listed as equivalent; the input is not changed; all texts are there.
"""

import contextlib
import inspect
import signal
import sys

import numpy as np

from speechlib.lessons.checking import examine
from speechlib.lessons.comparing import is_array, is_tensor
from speechlib.lessons.exercises import checks as checks_of
from speechlib.lessons.exercises import content_files, lesson
from speechlib.lessons.exercises import exercise as exercise_of
from speechlib.lessons.mutants import mutants
from speechlib.lessons.running import passes, run_all


def problems(id):
    """What is wrong with an exercise, one line each; [] when all is proved."""
    exercise, checks = exercise_of(id), checks_of(id)
    steps = (_texts, _stub, _reference, _variants, _mistakes, _mutants)
    return [f"{id}: {line}" for step in steps for line in step(exercise, checks)]


def _texts(exercise, checks):
    if exercise.level not in ("L1", "L2", "L3", "L4"):
        yield f"level {exercise.level!r} is not one of L1, L2, L3, L4"
    if len(exercise.hints) != 2:
        yield f"needs two hints, has {len(exercise.hints)}"
    for name in sorted(set(checks.mistakes) ^ set(exercise.mistakes)):
        yield f"mistake {name!r} is only in the {'bank' if name in checks.mistakes else 'toml'}"
    if not checks.mistakes:
        yield "no banked mistake"
    if not checks.variants:
        yield "no honest variant (another style of writing it)"
    if exercise.target:
        from speechlib.lessons.using import resolve

        try:
            resolve(exercise.target)
        except (ImportError, AttributeError) as error:
            yield f"target {exercise.target!r} is not there: {error}"


def stub_of(function):
    """A function with the same parameters that says it is not written."""
    if isinstance(function, type):

        def __init__(self, *args, **kwargs):
            raise NotImplementedError()

        return type(function.__name__, (function,), {"__init__": __init__})

    def stub(*args, **kwargs):
        raise NotImplementedError()

    return stub


def _stub(exercise, checks):
    status = examine(exercise, checks, stub_of(checks.correct)).status
    if status != "not_written":
        yield f"the stub is {status!r}, not 'not_written'"


def _reference(exercise, checks):
    for outcome, case in zip(run_all(checks, checks.correct), checks.all_cases(), strict=True):
        if outcome.error is not None:
            yield f"the reference fails on {case.note or case.args}: {outcome.error!r}"
            return
        if outcome.changed:
            yield f"the reference changes its input on {case.note or case.args}"
    if len(checks.all_cases()) < 2:
        yield "one case is not enough: add seeded random ones"
    if not examine(exercise, checks, checks.correct):
        yield "the reference does not pass"


def _variants(exercise, checks):
    for name, variant in {**checks.variants, **_automatic(checks)}.items():
        result = examine(exercise, checks, variant)
        if not result:
            yield f"honest variant {name!r} is rejected: {result.status}\n{result}"


def _automatic(checks):
    """The reference with arrays in double precision, and answers that are not contiguous."""
    if isinstance(checks.correct, type) or checks.in_place:
        return {}

    def wrap(change):
        def variant(*args, **kwargs):
            return _map(change, checks.correct(*args, **kwargs))

        return variant

    return {
        "double precision answer": wrap(_double),
        "non-contiguous answer": wrap(_strided),
        "non-contiguous input": lambda *args, **kwargs: checks.correct(
            *_map(_strided, args), **_map(_strided, kwargs)
        ),
    }


def _map(change, value):
    if isinstance(value, dict):
        return {key: _map(change, item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_map(change, item) for item in value)
    if is_tensor(value) or isinstance(value, np.ndarray):
        return change(value)
    return value


def _double(x):
    if is_tensor(x):
        return x  # a tensor of another type would not go on through the model
    return x.astype("float64") if x.dtype.kind == "f" else x


def _strided(x):
    """The same values in memory that is not contiguous (every second place of a larger array)."""
    if x.ndim == 0 or not is_array(x):
        return x
    if is_tensor(x):
        return x.repeat_interleave(2, dim=-1)[..., ::2]
    return np.repeat(x, 2, axis=-1)[..., ::2]


def _mistakes(exercise, checks):
    for name, wrong in checks.mistakes.items():
        result = examine(exercise, checks, wrong)
        if result.status != "named" or result.mistakes != (name,):
            told = ", ".join(result.mistakes) or result.status
            yield f"mistake {name!r} is not named as itself, but: {told}"


def _mutants(exercise, checks):
    try:
        made = [] if isinstance(checks.correct, type) else mutants(checks.correct)
    except (OSError, TypeError):
        made = []
    listed = set(checks.equivalents)
    for name, mutant in made:
        survives = _survives(checks, mutant)
        if survives and name not in listed:
            yield f"mutant {name!r} passes: add a case that tells, or list it as equivalent"
        if not survives and name in listed:
            yield f"mutant {name!r} is listed as equivalent, but the check rejects it"
        listed.discard(name)
    for name in listed:
        yield f"listed as equivalent, but there is no such mutant: {name!r}"


def _survives(checks, mutant, seconds=10):
    with _limit(seconds):
        return passes(checks, mutant)
    return False  # it never ends: nobody takes it for right


@contextlib.contextmanager
def _limit(seconds):
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_):
        raise KeyboardInterrupt  # the one exception that the checks let through

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def all_exercises():
    """Ids of all exercises of all content files."""
    return [id for path in content_files() for id in lesson(path.name[:2]).exercises]


def main(numbers):
    """Print what is proved and what is not; exit code 1 when something is not."""
    bad = 0
    for id in all_exercises():
        if numbers and id[:2] not in numbers:
            continue
        found = problems(id)
        checks = checks_of(id)
        with contextlib.suppress(OSError, TypeError):
            inspect.getsource(checks.correct)
        n = 0 if isinstance(checks.correct, type) else len(mutants(checks.correct))
        print(
            f"{'ok ' if not found else 'BAD'} {id}  {len(checks.all_cases())} cases, "
            f"{len(checks.mistakes)} mistakes, {len(checks.variants)} variants, {n} mutants "
            f"({len(checks.equivalents)} equivalent)"
        )
        for line in found:
            print("   ", line)
        bad += bool(found)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
