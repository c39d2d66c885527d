"""Run a function on the cases of an exercise and note what happened: value, error, changes."""

import contextlib
import copy
import io
import linecache
import random
import re
import sys
import warnings
from dataclasses import dataclass

import numpy as np

from speechlib.lessons.comparing import difference, is_array, is_tensor, to_numpy


@dataclass
class Outcome:
    """What one call did. changed: the input is not what it was."""

    value: object = None
    error: BaseException = None
    changed: bool = False
    printed: str = ""


def run_all(checks, fn):
    """An Outcome for each case of the exercise."""
    return [run(checks, fn, case) for case in checks.all_cases()]


def expected(checks):
    """The reference's values, computed once; the reference itself must not fail."""
    if checks._expected is None:
        outcomes = run_all(checks, checks.correct)
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
        checks._expected = [outcome.value for outcome in outcomes]
    return checks._expected


def run(checks, fn, case):
    """One call on a fresh copy of the case, with fixed seeds, its prints caught."""
    args, kwargs = case.fresh()
    before = copy.deepcopy((args, kwargs))
    prints = io.StringIO()
    outcome = Outcome()
    with _fixed_seeds(), warnings.catch_warnings(), contextlib.redirect_stdout(prints):
        warnings.simplefilter("ignore")
        try:
            outcome.value = checks.call(fn, args, kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit: a lesson must not end the kernel
            outcome.error = error
    if not checks.in_place:
        outcome.changed = not unchanged((args, kwargs), before)
    outcome.printed = prints.getvalue()
    return outcome


@contextlib.contextmanager
def _fixed_seeds():
    """Same random numbers in every check, and none taken from the learner's own stream."""
    torch = sys.modules.get("torch")
    states = random.getstate(), np.random.get_state(), torch and torch.get_rng_state()
    random.seed(0)
    np.random.seed(0)
    if torch:
        torch.manual_seed(0)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        if torch:
            torch.set_rng_state(states[2])


def unchanged(now, before):
    """Whether arrays (also inside lists, tuples and dicts) are bit for bit what they were."""
    if isinstance(before, dict):
        return list(now) == list(before) and all(unchanged(now[k], before[k]) for k in before)
    if isinstance(before, list | tuple):
        return len(now) == len(before) and all(map(unchanged, now, before))
    if is_tensor(before) or (is_array(before) and isinstance(before, np.ndarray)):
        a, b = to_numpy(now), to_numpy(before)
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
    return True


def agrees(checks, outcome, value, changed=False, precision=True):
    """Whether an outcome is this value, with the input left alone (or changed) alike.

    precision=False: in whatever type of floats, which is allowed, too, where an honest variant
    of the bank answers in another one.
    """
    if outcome.error is not None or outcome.changed != changed:
        return False
    found = difference(outcome.value, value, checks.rtol, checks.atol)
    return found is None or (found.precision and (not precision or _in_any_precision(checks)))


def _in_any_precision(checks):
    if checks._any_precision is None:
        case, right = checks.all_cases()[0], expected(checks)[0]
        answers = [run(checks, variant, case).value for variant in checks.variants.values()]
        found = [difference(answer, right, checks.rtol, checks.atol) for answer in answers]
        checks._any_precision = any(one is not None and one.precision for one in found)
    return checks._any_precision


def passes(checks, fn):
    """Whether fn is right on all cases; stops at the first one that is not."""
    pairs = zip(checks.all_cases(), expected(checks), strict=True)
    return all(agrees(checks, run(checks, fn, case), value) for case, value in pairs)


def learner_line(error, fn):
    """(line number, source line) of the learner's own code where the error came from, or None."""
    files = _files_of(fn)
    found, trace = None, error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename in files or trace.tb_frame.f_globals.get("__name__") == "__main__":
            found = trace.tb_lineno, linecache.getline(code.co_filename, trace.tb_lineno).strip()
        trace = trace.tb_next
    return found


def _files_of(fn):
    code = getattr(fn, "__code__", None)
    if code is not None:
        return {code.co_filename}
    members = vars(fn).values() if isinstance(fn, type) else ()
    return {m.__code__.co_filename for m in members if hasattr(m, "__code__")}


def describe(error):
    """'ValueError: …' in one line, without memory addresses and paths."""
    text = re.sub(r"0x[0-9a-fA-F]{6,}", "0x…", " ".join(str(error).split()))
    text = re.sub(r"(?<![\w.])(/[\w.\-]+){2,}", "…", text)
    text = re.sub(r", but expected one of:.*", "", text)  # PyTorch's list of all its signatures
    name = type(error).__name__
    return f"{name}: {text[:300]}" if text else name
