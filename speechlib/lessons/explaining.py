"""Python's words for two errors that every beginner meets with arrays, said more plainly."""

import re

from speechlib.lessons.phrases import say

_INDEX = re.compile(r"index (-?\d+) is out of bounds for (?:axis|dimension) \d+ with size (\d+)")
_SHAPES = re.compile(
    r"could not be broadcast together|could not broadcast input array|shape mismatch: value array"
    r"|must match the (?:size of tensor b|existing size)"
)


def explain(error):
    """One or two sentences on an error of NumPy or PyTorch, or None: error -> words."""
    if isinstance(error, IndexError) and (found := _INDEX.search(str(error))):
        index, size = map(int, found.groups())
        key = "explain.index" if size else "explain.empty"
        return say(key, index=index, size=size, last=size - 1)
    if isinstance(error, ValueError | RuntimeError) and _SHAPES.search(str(error)):
        return say("explain.broadcast")
    return None
