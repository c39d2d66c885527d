"""check("03.4", fn): is it right, and if not, which mistake is it?

A mistake is named only when the banked wrong implementation gives the learner's answer on all
cases and no other banked mistake does. (Where some cases stop with an error: on all others.)
"""

import contextlib
import functools
import sys
from dataclasses import dataclass

from speechlib.lessons import my_speechlib, progress
from speechlib.lessons.boxes import Box, show
from speechlib.lessons.comparing import difference, kind_of, number
from speechlib.lessons.exercises import checks as checks_of
from speechlib.lessons.exercises import exercise as exercise_of
from speechlib.lessons.explaining import explain
from speechlib.lessons.naming import (
    candidates,
    candidates_when_repeated,
    candidates_where_it_ran,
)
from speechlib.lessons.phrases import say
from speechlib.lessons.running import agrees, describe, expected, learner_line, run_all
from speechlib.lessons.showing import arguments, reading_order, show_case
from speechlib.lessons.using import resolve

_SHAPES_FIRST = {"none": 0, "type": 1, "shape": 2, "dtype": 3, "nan": 4, "value": 5}


@dataclass
class CheckResult:
    """Truthy when passed. status: passed, not_written, wrong, named, candidates, error, changed.

    mistakes: names of the banked mistakes that give the same answer.
    """

    id: str
    status: str
    box: Box
    mistakes: tuple = ()

    def __bool__(self):
        return self.status == "passed"

    def __repr__(self):
        return repr(self.box)

    def _repr_html_(self):
        return self.box._repr_html_()


class NotPassed(AssertionError):
    """Raised by a graded check that does not pass, so that its locked test cell fails."""

    def _render_traceback_(self):
        return [str(self)]  # one calm line instead of the library's own frames


def check(id, fn=None, *, graded=False):
    """Check a function (or class) against exercise id.

    Returns a CheckResult, which a notebook shows as a box. graded=True is for the locked test
    cells: it gives the points once the whole cell has passed, and raises NotPassed otherwise.
    """
    exercise, checks = exercise_of(id), checks_of(id)
    if my_speechlib.is_library(fn):
        box = _box(exercise, "not_written", "wait").words(say("check.library", id=id))
        result, source = CheckResult(id, "not_written", box), None
    else:
        result, source = examine(exercise, checks, fn), my_speechlib.source_of(fn)
    passed = bool(result)
    if result.status != "not_written":
        progress.note(id, tried=True, passed=passed, source=source)
    else:
        progress.note(id)
    if passed:
        _save(exercise, fn, result.box)
    if not graded:
        return result
    if not passed:
        title = say(f"title.{result.status}")
        key = "check.points_stay" if progress.record(id)["points"] else "check.no_points"
        raise NotPassed(say(key, id=id, title=title))
    _when_the_cell_has_passed(lambda: _give_points(exercise))
    return result


def _give_points(exercise):
    progress.note(exercise.id, graded=True)
    show(Box(say("check.points_saved", id=exercise.id, points=exercise.points), "good"))


def _when_the_cell_has_passed(act):
    """Act when the whole cell went well, further tests below the check included."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if not shell:
        act()
        return

    def once(result):
        shell.events.unregister("post_run_cell", once)
        if result.success:
            act()

    shell.events.register("post_run_cell", once)


def examine(exercise, checks, fn):
    """The CheckResult of a function, without noting or saving anything."""
    if not callable(fn):
        box = _box(exercise, "wrong", "bad")
        box.words(say("check.no_function", id=exercise.id, name=exercise.name, got=kind_of(fn)))
        return CheckResult(exercise.id, "wrong", box)
    right = expected(checks)
    with _watched(exercise.target, fn) as (watched, calls):
        outcomes = run_all(checks, watched)
    if any(_not_written(outcome, fn) for outcome in outcomes):
        box = _box(exercise, "not_written", "wait").words(say("check.not_written", id=exercise.id))
        return CheckResult(exercise.id, "not_written", box)
    good = [agrees(checks, outcome, value) for outcome, value in zip(outcomes, right, strict=True)]
    if all(good) and calls:
        box = _box(exercise, "wrong", "bad")
        place = exercise.target.partition(":")[2]
        box.words(say("check.own_target", target=place, id=exercise.id))
        box.words(say("check.hint", id=exercise.id))
        return CheckResult(exercise.id, "wrong", box)
    if all(good):
        box = _box(exercise, "passed", "good").words(say("check.passed", n=len(good)))
        if exercise.passed:
            box.words(exercise.passed)
        return CheckResult(exercise.id, "passed", box)
    names = candidates(checks, outcomes)
    if names:
        return _named(exercise, names, len(outcomes))
    names = candidates_when_repeated(checks, outcomes)
    if names:
        pairs = zip(outcomes, right, strict=True)
        found = [difference(outcome.value, value, axes=checks.axes) for outcome, value in pairs]
        shape = next(one for one in found if one and one.kind == "shape")
        return _named(exercise, names, len(found), shape)
    return _unnamed(exercise, checks, fn, outcomes, right, good)


@contextlib.contextmanager
def _watched(target, fn):
    """(fn, list with an entry for each call that fn makes of the part it is to replace).

    What `use` puts in the part's place would call itself for ever there.
    """
    calls, inside = [], [0]
    if target.partition(":")[0] not in sys.modules or isinstance(fn, type):
        yield fn, calls
        return
    holder, name = resolve(target)
    there = getattr(holder, name)

    @functools.wraps(there)
    def part(*args, **kwargs):
        if inside[0]:
            calls.append(target)
        return there(*args, **kwargs)

    def watched(*args, **kwargs):
        inside[0] += 1
        try:
            return fn(*args, **kwargs)
        finally:
            inside[0] -= 1

    setattr(holder, name, part)
    try:
        yield watched, [] if my_speechlib.is_library(fn) else calls
    finally:
        setattr(holder, name, there)


def _not_written(outcome, fn):
    if not isinstance(outcome.error, NotImplementedError):
        return False
    line = learner_line(outcome.error, fn)
    return line is None or "NotImplementedError" in line[1] or not line[1]


def _box(exercise, status, tone):
    return Box(f"{say(f'title.{status}')} · {exercise.id} {exercise.title}", tone)


def _named(exercise, names, n, shape=None):
    status = "named" if len(names) == 1 else "candidates"
    box = _box(exercise, status, "bad").words(say(f"check.{status}", n=n))
    texts = [exercise.mistakes.get(name, name) for name in names]
    if status == "named":
        box.words(texts[0])
    else:
        box.items(texts)
    if shape:
        box.words(say("check.shape_too", text=shape.text))
    box.words(say("check.hint", id=exercise.id))
    return CheckResult(exercise.id, status, box, tuple(names))


def _unnamed(exercise, checks, fn, outcomes, right, good):
    cases = checks.all_cases()
    errors = [i for i, outcome in enumerate(outcomes) if outcome.error is not None]
    if errors:
        i = min(errors, key=lambda i: reading_order(cases[i]))
        names = candidates_where_it_ran(checks, outcomes)
        return _error(exercise, checks, fn, cases[i], outcomes[i], names)
    found = {
        i: difference(outcomes[i].value, right[i], checks.rtol, checks.atol, checks.axes)
        for i in range(len(cases))
        if not good[i]
    }
    wrong = [i for i in found if found[i] is not None]
    changed = [i for i in found if outcomes[i].changed]
    if changed:
        box = _box(exercise, "changed", "bad").words(say("check.changed"))
        box.words(say("check.changed_wrong" if wrong else "check.changed_right"))
        show_case(box, checks, min((cases[i] for i in changed), key=reading_order))
        return CheckResult(exercise.id, "changed", box)
    first = min(_SHAPES_FIRST[found[i].kind] for i in wrong)  # shapes before values
    wrong = [i for i in wrong if _SHAPES_FIRST[found[i].kind] == first]
    i = min(wrong, key=lambda i: reading_order(cases[i]))
    box = _box(exercise, "wrong", "bad")
    box.words(say("check.wrong", failed=good.count(False), n=len(good)))
    show_case(box, checks, cases[i], outcomes[i], right[i])
    text = found[i].text
    if found[i].kind == "none" and any(value is None for value in right):
        text = say("difference.value", got="None", expected=number(right[i]))  # no return missing
    box.words(f"{say('check.first')}: {text}")
    box.words(say("check.hint", id=exercise.id))
    return CheckResult(exercise.id, "wrong", box)


def _error(exercise, checks, fn, case, outcome, names=()):
    box = _box(exercise, "error", "bad")
    line = learner_line(outcome.error, fn)
    if isinstance(outcome.error, RecursionError):
        box.words(say("check.recursion"))
    elif line is None:
        signature = ", ".join(label for label, _ in arguments(checks, case))
        box.words(say("check.error_call", signature=signature, error=describe(outcome.error)))
    else:
        box.words(say("check.error_at", error=describe(outcome.error), line=line[0]))
    if line is not None:
        box.codes((say("check.line", line=line[0]), line[1]))
        if explained := explain(outcome.error, line[1], my_speechlib.source_of(fn) or ""):
            box.words(explained)
    for name in names:
        box.words(say("check.where_it_ran")).words(exercise.mistakes.get(name, name))
    show_case(box, checks, case, printed=outcome.printed)
    box.words(say("check.hint", id=exercise.id))
    return CheckResult(exercise.id, "error", box, tuple(names))


def _save(exercise, fn, box):
    saved = my_speechlib.save(exercise, fn)
    if saved.file:
        key = "check.saved" if exercise.target else "check.saved_part"
        box.words(say(key, file=saved.file, id=exercise.id))
    elif saved.why:
        box.words(say("check.not_saved", why=saved.why))
