"""Python's words for the errors that every beginner meets with arrays, said more plainly."""

import difflib
import re
import sys

from speechlib.lessons.comparing import is_array, kind_of
from speechlib.lessons.phrases import say

_INDEX = re.compile(r"index (-?\d+) is out of bounds for (?:axis|dimension) \d+ with size (\d+)")
_PRODUCT = re.compile(
    r"mat1 and mat2 shapes cannot be multiplied|Expected size for first two dimensions of batch2"
    r"|matmul: |shapes \(.*\) and \(.*\) not aligned|inconsistent tensor size, expected"
    r"|size mismatch, got input"
)
_SHAPES = re.compile(
    r"could not be broadcast together|could not broadcast input array|shape mismatch: value array"
    r"|must match the (?:size of tensor b|existing size)|match the broadcast shape"
)
_VIEW = re.compile(r"view size is not compatible with input tensor's size and stride")
_RESHAPE = re.compile(r"shape '\[.*\]' is invalid for input of size|cannot reshape array of size")
_TRUTH = re.compile(r"truth value of an array|Boolean value of Tensor with more than one")
_WHOLE = re.compile(
    r"'(?:numpy\.)?float\d*' object cannot be interpreted as an integer|but got float"
    r"|must be tuple of ints, not float"
    r"|only integer.*(?:are valid indices|can be converted)|slice indices must be integers"
)
_TENSOR_MASK = re.compile(
    r"(?:masked_fill_?|where|logical_\w+)\(\) received an invalid combination.*numpy\.ndarray"
    r"|_any\(\) got an unexpected keyword argument 'dim'"
    r"|'attn_mask' must be Tensor, not (?:numpy\.ndarray|range|list)"
)
_TENSOR_PLACES = re.compile(r"embedding\(\): argument 'indices'.*must be Tensor")
_TABLE = re.compile(r"argument #1 'indices'.*but got torch\.\w*(?:Float|Double|Half)Tensor")
_TUPLE = re.compile(
    r"must be Tensor, not tuple|'tuple' object has no attribute"
    r"|unsupported operand type.*(?:'Tensor' and 'tuple'|'tuple' and 'Tensor')"
)
_TRANSPOSE = re.compile(
    r"transpose\(\) takes 2 positional arguments but [3-9]|transpose\(\): argument 'dim0'.*tuple"
    r"|transpose\(\) takes 3 positional arguments but"
)
_PATTERNS = {"view": _VIEW, "product": _PRODUCT, "broadcast": _SHAPES, "truth": _TRUTH,
             "whole": _WHOLE, "reshape": _RESHAPE,
             "tensor_mask": _TENSOR_MASK, "tensor_places": _TENSOR_PLACES, "table": _TABLE,
             "tuple": _TUPLE, "transpose": _TRANSPOSE}  # fmt: skip


def explain(error, line="", source=""):
    """One or two sentences on an error of Python, NumPy or PyTorch, or None: error -> words.

    line: the learner's line where it came up; source: the learner's whole function.
    """
    text = str(error)
    if type(error) is NameError:  # an UnboundLocalError is another story
        return _known_elsewhere(error.name)
    if isinstance(error, AttributeError) and not _TUPLE.search(text):
        return _nearly(error)
    if isinstance(error, IndexError) and (found := _INDEX.search(text)):
        index, size = map(int, found.groups())
        key = "explain.index" if size else "explain.empty"
        return say(key, index=index, size=size, last=size - 1)
    if turned := _turned_all_axes(error, line, source):
        return turned
    for key, pattern in _PATTERNS.items():
        if pattern.search(text):
            return say(f"explain.{key}")
    return None


def _turned_all_axes(error, line, source):
    """`.T` on more than two axes, which the product behind it cannot use; None: it is not that."""
    text = str(error)
    if not re.search(r"\.T\b", re.sub("#.*", "", source)):
        return None
    if "first two dimensions of batch2" in text or "remapped shapes" in text:
        return say("explain.all_axes")
    if not _sees_many_axes(error.__traceback__):
        return None
    if "core dimension" in text:  # NumPy says the same of two axes, where `.T` is right
        return say("explain.both_axes")
    product = "@" in line or "matmul(" in line
    return say("explain.all_axes") if product and _SHAPES.search(text) else None


def _sees_many_axes(trace):
    """Whether a function on the way to the error has an array of more than two axes at hand."""
    while trace is not None:
        if any(is_array(x) and len(x.shape) > 2 for x in trace.tb_frame.f_locals.values()):
            return True
        trace = trace.tb_next
    return False


def _known_elsewhere(name):
    """A name that Python does not know, but NumPy or PyTorch does: argmax -> np.argmax."""
    for short, module in {"np": "numpy", "torch": "torch", "F": "torch.nn.functional"}.items():
        if name and hasattr(sys.modules.get(module), name):
            return say("explain.name", name=f"{short}.{name}")
    return None


def _nearly(error):
    """A misspelled attribute: np.argmx -> argmax; else what kind of thing was asked."""
    if error.obj is None or not error.name:
        return None
    near = difflib.get_close_matches(error.name, dir(error.obj), n=1, cutoff=0.75)
    if near:
        return say("explain.name_of", name=near[0])
    return say("explain.needed", kind=kind_of(error.obj)) if is_array(error.obj) else None
