"""See or edit any value inside a model while it runs.

input -> output: a model and a pattern -> a dict of path -> value, filled during the `with` block.
Special: one line a value in the model (`weights = record(self, "weights", weights)`), no flags and
no hooks; works for any framework, costs a look-up when nobody traces.

Notebook: 09_whisper
"""

import contextlib
import contextvars
import sys
import warnings
from fnmatch import fnmatchcase

WEIGHTS = "*.weights"  # what is recorded unless somebody names another pattern
_ACTIVE = contextvars.ContextVar("speechlib_traces", default=())


class _Trace:
    def __init__(self, model, pattern, edit):
        self.paths = {id(module): path for path, module in _named_modules(model)}
        self.order = {path: place for place, path in enumerate(self.paths.values())}
        if not hasattr(model, "named_modules"):  # Flax sorts by name: the order of running it is
            self.order = dict.fromkeys(self.order, 0)
        self.pattern = pattern
        self.edit = edit or {}
        self.seen = {}
        self.runs = {}  # how often a path has been recorded
        self.offered = set()  # paths of all values that the model had to show

    def path(self, module, word):
        """The dotted path of a value, or None when the module is not in the traced model."""
        where = self.paths.get(id(module))
        return None if where is None else f"{where}.{word}" if where else word

    def wants(self, path):
        if path is None:
            return False
        self.offered.add(path)
        return any(fnmatchcase(path, p) for p in (self.pattern, *self.edit))

    def warn(self):
        """A pattern that fits nothing is a slip: an ablation, say, that ablates nothing."""
        meant = self.pattern != WEIGHTS or not self.edit  # who only edits leaves it as it is
        for pattern in (*self.edit, *([self.pattern] if meant else [])):
            if self.offered and not any(fnmatchcase(path, pattern) for path in self.offered):
                some = ", ".join(sorted(self.offered)[:3])
                warnings.warn(f"no value fits {pattern!r}; there are {some}, …", stacklevel=4)

    def store(self, module, path, value):
        for pattern, change in self.edit.items():
            if fnmatchcase(path, pattern):
                value = _checked(change(value), value, path)
        if fnmatchcase(path, self.pattern):
            self.runs[path] = self.runs.get(path, 0) + 1
            if self.runs[path] == 1:
                self.seen[path] = value
                self._in_layer_order()
            elif self.runs[path] == 2:
                self.seen[path] = [self.seen[path], value]
            else:
                self.seen[path].append(value)
        return value

    def _in_layer_order(self):
        def place(path):
            return self.order[path.rpartition(".")[0]]

        paths = list(self.seen)
        if len(paths) > 1 and place(paths[-1]) < place(paths[-2]):
            ordered = {path: self.seen[path] for path in sorted(paths, key=place)}
            self.seen.clear()
            self.seen.update(ordered)


def _checked(changed, original, path):
    """An edit keeps shape and number type: then the rest of the model can go on with it."""
    same = [getattr(changed, what, None) == getattr(original, what) for what in ("shape", "dtype")]
    if not all(same):
        came = type(changed).__name__
        if hasattr(changed, "dtype"):
            came = f"{tuple(changed.shape)} {changed.dtype}"
        raise ValueError(
            f"the edit of {path} must return a value of shape {tuple(original.shape)} and type "
            f"{original.dtype}, got {came}"
        )
    return changed


def _check_patterns(pattern, edit):
    if edit is not None and not (isinstance(edit, dict) and all(map(callable, edit.values()))):
        raise ValueError(
            'expected edit as {pattern: function}, for example {"*.weights": lambda w: w * 0}, got '
            f"{edit!r}"
        )
    for one in (pattern, *(edit or ())):
        if not isinstance(one, str):
            raise ValueError(f'expected a pattern such as "*.weights", got {one!r}')


def _named_modules(model):
    if hasattr(model, "named_modules") and not isinstance(model, type):  # torch.nn.Module
        return model.named_modules()
    nnx = sys.modules.get("flax.nnx")  # no Flax model can be there before its library is
    if nnx is not None and isinstance(model, nnx.Module):
        return [(".".join(map(str, path)), each) for path, each in nnx.iter_modules(model)]
    raise ValueError(f"trace needs a model of this package, got {type(model).__name__}")


@contextlib.contextmanager
def trace(model, pattern=WEIGHTS, edit=None):
    """Record every value whose path fits `pattern` while the block runs.

    pattern: as in file names, `*` for anything: "*.weights", "decoder.*.cross_attention.weights",
        "*.hidden".
    edit: {pattern: function(value) -> value of the same shape}: changes values on their way
        through the model. Head 2 switched off: {"*.weights": lambda w: w * keep} with
        `keep` (head, 1, 1) zero at head 2.
    Yields a dict in layer order: path -> value, or a list of values where a module ran more than
    once (decoding steps). Attention weights are (batch, head, query, key).
    A Flax model under `jit` is another object inside: open the trace in there and return the dict.
    Raises ValueError for something else than a model, a pattern or an edit, and for an edit that
    changes the shape or the number type; warns of a pattern that fitted nothing.
    """
    _check_patterns(pattern, edit)
    one = _Trace(model, pattern, edit)
    token = _ACTIVE.set((*_ACTIVE.get(), one))
    try:
        yield one.seen
        one.warn()
    finally:
        _ACTIVE.reset(token)


def record(module, word, value):
    """Called inside a model: offers a value to whoever traces; returns it, edited if asked."""
    for one in _ACTIVE.get():
        path = one.path(module, word)
        if one.wants(path):
            value = one.store(module, path, value)
    return value


def is_open():
    """True while anybody traces anything."""
    return bool(_ACTIVE.get())


def is_traced(module, word):
    """True when somebody wants this value: the layer then takes the path that computes it."""
    return any(one.wants(one.path(module, word)) for one in _ACTIVE.get())
