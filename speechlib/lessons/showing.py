"""How a case is shown to a learner: its input, their answer, the expected one."""

import inspect

import numpy as np

from speechlib.lessons.comparing import is_array, is_tensor, number, shape_words, to_numpy
from speechlib.lessons.phrases import say


def show_case(box, checks, case, outcome=None, right=None, printed=""):
    """Add to the box: the input, with an outcome also yours and expected, and what was printed."""
    if case.note:
        box.words(f"{say('check.input')}: {case.note}")
    box.codes(*((name, text(value)) for name, value in arguments(checks, case)))
    if outcome is not None:
        box.codes(
            (say("check.yours"), text(outcome.value)), (say("check.expected"), text(right))
        )  # fmt: skip
        printed = outcome.printed
    if printed:
        box.codes((say("check.printed"), "\n".join(printed.splitlines()[:12])[:1500]))


def arguments(checks, case):
    """(name, value) pairs of a case, named as the reference names its parameters."""
    try:
        bound = inspect.signature(checks.correct).bind(*case.args, **case.kwargs)
        return list(bound.arguments.items())
    except (TypeError, ValueError):
        numbered = [(f"{i + 1}", value) for i, value in enumerate(case.args)]
        return numbered + list(case.kwargs.items())


def reading_order(case):
    """Cases with a note are made by hand to be read: they come first, then the smallest."""
    return not case.note, _size((case.args, case.kwargs))


def _size(value):
    """Number of values inside, to tell which case is the smallest."""
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return to_numpy(value).size if is_array(value) else 1


def text(value, limit=14):
    """A value as a learner reads it: arrays rounded, with their shape, at most limit lines."""
    try:
        return _text(value, limit)
    except (TypeError, ValueError, RuntimeError):  # an array without numbers, of another library…
        return f"({type(value).__name__})"


def _text(value, limit):
    if isinstance(value, tuple | list):
        if not _holds_axes(value):
            return _plain(_bare(value))[:400]
        if any(map(is_array, value)):
            return "\n".join(map(text, value))
        return "\n".join(f"[{i}] {_in_short(item)}" for i, item in enumerate(value[:6]))
    if isinstance(value, dict):
        return "\n".join(f"{key}: {text(item)}" for key, item in value.items())
    if not is_array(value) or np.ndim(to_numpy(value)) == 0:
        if is_array(value):
            value = to_numpy(value).item()
        plain = isinstance(value, int | float | str | bool | None)
        return _plain(value)[:400] if plain else f"({type(value).__name__})"
    array = to_numpy(value)
    body = np.array2string(
        array, precision=4, suppress_small=True, threshold=80, edgeitems=3, max_line_width=88
    ).splitlines()
    if len(body) > limit:
        body = [*body[: limit - 1], " …"]
    kind = "tensor " if is_tensor(value) else ""
    return "\n".join([f"{kind}{shape_words(array.shape)} {array.dtype}", *body])


def _holds_axes(value):
    """Whether an array with axes is inside, however deep."""
    if isinstance(value, tuple | list):
        return any(map(_holds_axes, value))
    return is_array(value) and np.ndim(to_numpy(value)) > 0


def _in_short(value):
    """Arrays inside a list inside a list, by their shapes alone: pairs of keys and values."""
    if is_array(value):
        return ("tensor " if is_tensor(value) else "") + shape_words(to_numpy(value).shape)
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_in_short, value))})"
    return _plain(value)


def _bare(value):
    """Arrays and tensors of a single number as that number; a named tuple is shown as a tuple."""
    if isinstance(value, tuple | list):
        return (list if isinstance(value, list) else tuple)(map(_bare, value))
    return to_numpy(value).item() if is_array(value) else value


def _plain(value):
    """A number, text, list or tuple, its numbers rounded: (1.0, 6.1e-17) -> (1, 0)."""
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        items = ", ".join(_plain(item) for item in value)
        if isinstance(value, list):
            return f"[{items}]"
        return f"({items},)" if len(value) == 1 else f"({items})"
    return number(value)
