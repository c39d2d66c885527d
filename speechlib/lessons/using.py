"""use, part, compare: the learner's own functions inside the library's models."""

import importlib

import numpy as np

from speechlib.lessons import my_speechlib, progress
from speechlib.lessons.boxes import Box, show
from speechlib.lessons.comparing import is_array, shape_words, to_numpy
from speechlib.lessons.exercises import checks as checks_of
from speechlib.lessons.exercises import exercise as exercise_of
from speechlib.lessons.exercises import lesson, lesson_numbers
from speechlib.lessons.phrases import _phrases, say
from speechlib.lessons.running import describe, run

_SAVED = object()
_original = {}  # target -> the library's own attribute
_in_use = {}  # target -> id of the exercise whose function is in there


class Use:
    """A replacement that can be undone: use(...).undo(), or `with use(...):`."""

    def __init__(self, target, before, box):
        self._target, self._before, self.box = target, before, box

    def undo(self):
        """Put back what was there before this use."""
        if self._target is None:
            return
        holder, name = resolve(self._target)
        function, id = self._before
        setattr(holder, name, function)
        _remember(self._target, id)
        self._target = None

    def __enter__(self):
        show(self.box)
        return self

    def __exit__(self, *error):
        self.undo()

    def __repr__(self):
        return repr(self.box)

    def _repr_html_(self):
        return self.box._repr_html_()


def use(id=None, fn=_SAVED):
    """Put the learner's saved function of an exercise into the library, wherever it is called.

    use("03.4") saved function · use("03.4", fn) this one · use("03.4", None) the library's own
    again · use() which parts are whose. Works in later lessons and in a fresh kernel.
    """
    if id is None:
        return _overview()
    exercise = exercise_of(id)
    words = {"id": id, "name": exercise.name, "target": exercise.target}
    if not exercise.target:
        return Use(None, None, Box(say("use.no_target", id=id)))
    holder, name = resolve(exercise.target)
    before = getattr(holder, name), _in_use.get(exercise.target)
    _original.setdefault(exercise.target, before[0])
    if fn is None:
        setattr(holder, name, _original[exercise.target])
        _remember(exercise.target, None)
        return Use(exercise.target, before, Box(say("use.restored", **words)))
    given = fn is not _SAVED
    if not given:
        fn, box = _saved(exercise)
        if fn is None:
            return Use(None, None, box)
    adapter = checks_of(id).adapter
    setattr(holder, name, adapter(fn) if adapter else fn)
    _remember(exercise.target, id)
    return Use(exercise.target, before, Box(say("use.put_given" if given else "use.put", **words)))


def part(id):
    """The learner's passed function, else the library's (or the reference); says which."""
    exercise = exercise_of(id)
    progress.note(id)
    fn, box = _saved(exercise)
    if fn is not None:
        show(Box(say("use.part_yours", id=id, name=exercise.name), "good"))
        return fn
    if my_speechlib.saved_file(id):
        show(box)
    show(Box(say("use.part_library", id=id, name=exercise.name)))
    return checks_of(id).correct


def compare(id, fn=_SAVED):
    """Yours beside the library's on the cases of an exercise: shapes and largest difference."""
    exercise, checks = exercise_of(id), checks_of(id)
    if fn is _SAVED:
        fn, box = _saved(exercise)
        if fn is None:
            return box
    rows = []
    for number, case in enumerate(checks.all_cases(), start=1):
        mine, theirs = run(checks, fn, case), run(checks, checks.correct, case)
        label = case.note or str(number)
        if mine.error is not None:
            rows.append([label, describe(mine.error), _shape(theirs.value), "-"])
        else:
            gap = _gap(mine.value, theirs.value)
            rows.append([label, _shape(mine.value), _shape(theirs.value), gap])
    title = f"{say('title.compare')} · {id} {exercise.title}"
    return Box(title).table(_phrases()["use"]["compare_columns"], rows)


def _saved(exercise):
    """(function, None), or (None, the box that says why there is none)."""
    words = {"id": exercise.id, "name": exercise.name}
    try:
        fn = my_speechlib.load(exercise.id)
    except Exception as error:  # the file is the learner's: anything may be in it
        file = my_speechlib.saved_file(exercise.id)
        return None, Box(say("use.broken", error=describe(error), file=file, **words), "bad")
    return fn, (None if fn is not None else Box(say("use.missing", **words), "wait"))


def resolve(target):
    """ "speechlib.module:Class.method" -> (the object that has the attribute, its name)."""
    module, _, path = target.partition(":")
    holder = importlib.import_module(module)
    *outer, name = path.split(".")
    for step in outer:
        holder = getattr(holder, step)
    getattr(holder, name)  # an AttributeError here names what is missing
    return holder, name


def _remember(target, id):
    if id is None:
        _in_use.pop(target, None)
    else:
        _in_use[target] = id


def _overview():
    rows = []
    for number in lesson_numbers():
        for exercise in lesson(number).exercises.values():
            if exercise.target:
                mine = _in_use.get(exercise.target) == exercise.id
                ready = my_speechlib.saved_file(exercise.id)
                whose = "from_you" if mine else "from_library_saved" if ready else "from_library"
                rows.append([exercise.id, exercise.name, say(f"use.{whose}"), exercise.target])
    return Box(say("title.in_use")).table(_phrases()["use"]["columns"], rows)


def _shape(value):
    if is_array(value):
        return shape_words(tuple(value.shape))
    if isinstance(value, list | tuple):
        return ", ".join(_shape(item) for item in value)
    return type(value).__name__


def _gap(mine, theirs):
    """Largest absolute difference, over all parts of the answer, as text."""
    try:
        return f"{_largest(mine, theirs):.2g}"
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return say("use.other_kind")


def _largest(mine, theirs):
    if isinstance(theirs, dict):
        theirs, mine = list(theirs.values()), list(mine.values())
    if isinstance(theirs, list | tuple):
        parts = [_largest(a, b) for a, b in zip(mine, theirs, strict=False)]
        return np.max(parts) if parts else 0.0
    a, b = to_numpy(mine).astype("float64"), to_numpy(theirs).astype("float64")
    return np.max(np.abs(a - b)) if a.size else 0.0
