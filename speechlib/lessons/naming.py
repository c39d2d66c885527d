"""Which known mistake is it: the banked wrong implementations beside what the learner's did."""

from dataclasses import replace

import numpy as np

from speechlib.lessons.comparing import is_array, is_tensor
from speechlib.lessons.running import agrees, expected, run

_ENOUGH = 4  # so many wrong numbers may speak for a mistake when other cases stop with an error


def candidates(checks, outcomes):
    """Names of the banked mistakes that give these outcomes on all cases."""
    if all(outcome.error is not None for outcome in outcomes):
        return []  # an error on every case says nothing about which mistake it is
    # where all that ran is right, the errors alone tell: then their words must agree, too
    pairs = zip(outcomes, expected(checks), strict=True)
    words = all(o.error is not None or agrees(checks, o, value) for o, value in pairs)
    pairs = list(zip(checks.all_cases(), outcomes, strict=True))
    return [
        name for name, wrong in checks.mistakes.items()
        if all(_same(checks, case, mine, wrong, words) for case, mine in pairs)
    ]  # fmt: skip


def _same(checks, case, mine, wrong, words=False):
    other = run(checks, wrong, case)
    if mine.error is not None or other.error is not None:
        alike = type(mine.error) is type(other.error)
        return alike and (not words or str(mine.error) == str(other.error))
    return agrees(checks, mine, other.value, other.changed, precision=False)


def candidates_when_repeated(checks, outcomes):
    """The same for answers that are too narrow, (1, 1) for (2, 1): repeated to the right shape."""
    pairs = zip(outcomes, expected(checks), strict=True)
    wide = [replace(o, value=_repeated(o.value, right)) for o, right in pairs]
    narrow = any(a.value is not b.value for a, b in zip(wide, outcomes, strict=True))
    return candidates(checks, wide) if narrow else []


def _repeated(value, right):
    if not is_array(value) or not is_array(right) or not value.shape:
        return value
    if tuple(value.shape) == tuple(right.shape):
        return value
    try:
        size = tuple(right.shape)
        return value.expand(size) if is_tensor(value) else np.broadcast_to(value, size)
    except (ValueError, RuntimeError):
        return value


def candidates_where_it_ran(checks, outcomes):
    """The one banked mistake that agrees in all cases without an error, in a list; or []."""
    cases, right = checks.all_cases(), expected(checks)
    ran = [i for i, outcome in enumerate(outcomes) if outcome.error is None]
    wrong = [i for i in ran if not agrees(checks, outcomes[i], right[i])]
    if sum(_count(outcomes[i].value) for i in wrong) < _ENOUGH:
        return []
    names = [
        name for name, mistake in checks.mistakes.items()
        if all(_same(checks, cases[i], outcomes[i], mistake) for i in ran)
    ]  # fmt: skip
    return names if len(names) == 1 else []


def _count(value):
    return int(np.prod(value.shape)) if is_array(value) else 1
