"""Compare two answers: kind, then shape, then values; say the first difference in words."""

import itertools
import sys
from dataclasses import dataclass

import numpy as np

from speechlib.lessons.phrases import say


@dataclass(frozen=True)
class Difference:
    """The first difference: kind ("none", "type", "shape", "dtype", "nan", "value"…), words.

    precision: the numbers are right, and nothing but the type of the floats differs.
    """

    kind: str
    text: str
    precision: bool = False


_KINDS = {list: "list", tuple: "tuple", str: "text", dict: "dict", (bool, np.bool_): "truth",
          (int, float, np.number): "number"}  # fmt: skip


def is_tensor(value):
    """True for a torch tensor; never imports torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_array(value):
    """True for NumPy, torch and JAX arrays (anything with shape and dtype).

    A module or a class is none: `np` has np.shape and np.dtype, too.
    """
    return isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "dtype")


def to_numpy(value):
    """A NumPy array of an array, tensor or number; bfloat16 becomes float32.

    A tensor without numbers (on the device "meta") is a RuntimeError.
    """
    if is_tensor(value):
        value = value.detach().cpu().resolve_conj().resolve_neg().to_dense()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        return value.numpy()
    return np.asarray(value)


def kind_of(value):
    """In words: what came back."""
    if value is None:
        return "None"
    if is_tensor(value):
        return say("kind.tensor")
    if isinstance(value, np.ndarray):
        return say("kind.array")
    if is_array(value) and not isinstance(value, np.generic):
        return say("kind.other_array", name=type(value).__name__)
    for types, key in _KINDS.items():
        if isinstance(value, types):
            return say(f"kind.{key}", n=len(value) if types in (list, tuple) else 1)
    return say("kind.other", name=type(value).__name__)


def difference(got, expected, rtol=1e-4, atol=1e-5, axes=None, place=""):
    """The first Difference of got from expected, or None when they agree.

    NumPy arrays of the same values in another float precision agree, tensors do not (PyTorch
    refuses to mix them); a mask must be boolean.
    """
    if isinstance(expected, dict):
        return _dicts(got, expected, rtol, atol, axes, place)
    if isinstance(expected, list | tuple):
        return _sequences(got, expected, rtol, atol, axes, place)
    if got is None and expected is not None:
        return Difference("none", say("difference.none", place=place))
    if expected is None or isinstance(expected, str | bytes):
        if type(got) is type(expected) and got == expected:
            return None
        return Difference("value", _yours(got, expected, place))
    return _numbers(got, expected, rtol, atol, axes, place)


def _dicts(got, expected, rtol, atol, axes, place):
    if not isinstance(got, dict):
        if got is None:
            return Difference("none", say("difference.none", place=place))
        return Difference("type", say("difference.not_dict", got=kind_of(got), place=place))
    missing = [key for key in expected if key not in got]
    extra = [key for key in got if key not in expected]
    if missing or extra:
        text = say("difference.keys", missing=_list(missing), extra=_list(extra), place=place)
        return Difference("shape", text)

    def of(key):
        words = axes.get(key) if isinstance(axes, dict) else axes
        where = say("place.key", key=key) + (f" {place}" if place else "")
        return difference(got[key], expected[key], rtol, atol, words, where)

    return _first(map(of, expected))


def _sequences(got, expected, rtol, atol, axes, place):
    if not isinstance(got, list | tuple):
        mine = _read(got) if is_array(got) else None
        if mine is not None and mine.ndim > 0 and _flat(expected):
            return _numbers(mine, np.asarray(expected), rtol, atol, axes, place)
        if got is None:
            return Difference("none", say("difference.none", place=place))
        text = say("difference.not_sequence", got=kind_of(got), n=len(expected), place=place)
        return Difference("type", text)
    if len(got) != len(expected):
        text = say("difference.length", got=len(got), expected=len(expected), place=place)
        return Difference("shape", text)
    per_item = isinstance(axes, tuple | list) and len(axes) == len(expected)
    per_item = per_item and not any(isinstance(words, str) for words in axes)

    def of(index):
        where = say("place.item", number=index + 1) + (f" {place}" if place else "")
        words = axes[index] if per_item else axes
        return difference(got[index], expected[index], rtol, atol, words, where)

    return _first(map(of, range(len(expected))))


def _first(found):
    """The first of the differences (None: there is none) that is more than one of precision; if
    there is no such, the first."""
    slight = None
    for one in found:
        if one and not one.precision:
            return one
        slight = slight or one
    return slight


def _read(value):
    """to_numpy, or None where nothing can be read from the value."""
    try:
        return to_numpy(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _flat(values):
    return all(isinstance(value, int | float | bool | np.generic) for value in values)


def _numbers(got, expected, rtol, atol, axes, place):
    wants_array = is_array(expected) and np.ndim(to_numpy(expected)) > 0
    wrong = wants_array and (not is_array(got) or is_tensor(got) != is_tensor(expected))
    if wrong or (not wants_array and isinstance(got, str | dict | list | tuple)):
        text = say("difference.type", got=kind_of(got), expected=kind_of(expected), place=place)
        return Difference("type", text + _only_the_kind(got, expected, rtol, atol))
    mine, theirs = _read(got), to_numpy(expected)
    if mine is None or mine.dtype.kind not in "biufc":
        text = say("difference.type", got=kind_of(got), expected=kind_of(expected), place=place)
        return Difference("type", text)
    if mine.shape != theirs.shape:
        return Difference("shape", _shape_text(mine, theirs, rtol, atol, axes, place))
    if theirs.dtype.kind == "b" and mine.dtype.kind != "b":
        return Difference("dtype", say("difference.bool", got=str(mine.dtype), place=place))
    if theirs.dtype.kind in "iu" and mine.dtype.kind not in "iu":
        text = say("difference.integer", got=str(mine.dtype), place=place)
        return Difference("dtype", text)
    if theirs.dtype.kind == "f" and mine.dtype.kind == "b":
        return Difference("dtype", say("difference.float", got=str(mine.dtype), place=place))
    return _values(mine, theirs, rtol, atol, axes, place) or _precision(got, expected, place)


def _precision(got, expected, place):
    """Tensors whose floats have another type: a Difference, or None."""
    if not (is_tensor(got) and is_tensor(expected)) or got.dtype == expected.dtype:
        return None
    if not (got.is_floating_point() and expected.is_floating_point()):
        return None
    names = [str(one.dtype).removeprefix("torch.") for one in (got, expected)]
    text = say("difference.precision", got=names[0], expected=names[1], place=place)
    if names == ["float64", "float32"]:
        text += " " + say("difference.from_double")
    return Difference("dtype", text, precision=True)


def _only_the_kind(got, expected, rtol, atol):
    """How to make the right values, handed over in another kind, into the kind expected, or ""."""
    try:
        mine, theirs = to_numpy(got), to_numpy(expected)
        alike = mine.shape == theirs.shape and np.allclose(mine, theirs, rtol, atol, True)
    except (TypeError, ValueError, RuntimeError):
        return ""
    if not alike:
        return ""
    return " " + say("difference.make_tensor" if is_tensor(expected) else "difference.make_array")


def _values(mine, theirs, rtol, atol, axes, place):
    same = np.isclose(mine, theirs, rtol=rtol, atol=atol, equal_nan=True)
    if same.all():
        return None
    bad = ~same
    nans = np.isnan(mine) & ~np.isnan(theirs) if mine.dtype.kind in "fc" else np.zeros_like(bad)
    if nans.any():
        where = where_words(np.argwhere(nans)[0], axes)
        text = say("difference.nan", n=int(nans.sum()), size=nans.size, where=where, place=place)
        return Difference("nan", text)
    first = tuple(np.argwhere(bad)[0])
    text = _yours(mine[first], theirs[first], place, where_words(first, axes))
    if mine.size > 1:
        text += " " + say("difference.count", n=int(bad.sum()), size=mine.size)
    return Difference("value", text)


def _shape_text(mine, theirs, rtol, atol, axes, place):
    text = say(
        "difference.shape", got=shape_words(mine.shape), expected=shape_words(theirs.shape, axes),
        place=place,
    )  # fmt: skip
    if mine.ndim == theirs.ndim and 1 < mine.ndim <= 5:
        for order in itertools.permutations(range(mine.ndim)):
            turned = mine.transpose(order)
            if turned.shape == theirs.shape and np.allclose(turned, theirs, rtol, atol, True):
                return text + " " + say("difference.turned")
    if mine.size == theirs.size and np.allclose(mine.ravel(), theirs.ravel(), rtol, atol, True):
        return text + " " + say("difference.only_shape")
    return text


def _yours(got, expected, place, where=""):
    yours, theirs = number(got), number(expected)
    if where:
        where = f"{where} {place}".strip()
        return say("difference.value_at", where=where, got=yours, expected=theirs)
    if place:
        return say("difference.value_in", place=place, got=yours, expected=theirs)
    return say("difference.value", got=yours, expected=theirs)


def where_words(index, axes=None):
    """(2, 0) with ("query", "key") -> "query 2, key 0"; words are optional."""
    words = axes if isinstance(axes, tuple | list) and len(axes) == len(index) else None
    if words is None:
        words = [say("place.axis", number=i) for i in range(len(index))]
    return ", ".join(f"{word} {int(i)}" for word, i in zip(words, index, strict=True))


def shape_words(shape, axes=None):
    """(2, 3) with ("query", "key") -> "(2, 3) = (query, key)"; () -> "() = a single number"."""
    if not shape:
        return say("kind.single")
    text = "(" + ", ".join(str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
    if isinstance(axes, tuple | list) and len(axes) == len(shape):
        text += " = (" + ", ".join(str(word) for word in axes) + ")"
    return text


def number(value):
    """A single value, short: 0.3333, True, 'three'; what only rounding keeps from 0 is 0."""
    if isinstance(value, float | np.floating):
        if abs(value) < 1e-15:
            return "0"
        return f"{float(value):.6g}"
    if isinstance(value, np.generic):
        return str(value.item())
    return repr(value)


def _list(items):
    return ", ".join(str(item) for item in items) or "-"
