"""my_speechlib and use: what a learner wrote, saved and put into the library."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from speechlib.lessons import banking, check, compare, exercises, my_speechlib, part, use, using
from speechlib.lessons.sourcecode import CannotSave, standalone

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHLIB_WORK", str(tmp_path))
    yield tmp_path
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.clear_instance()


@pytest.fixture
def lesson(monkeypatch):
    """Lesson 90 with three exercises; 90.1 stands for the causal mask of the library."""
    bank = banking.Bank("90")
    about = {}
    for k, target in ((1, "speechlib.attention_masks:causal_mask"), (2, ""), (3, "")):
        checks = bank.exercise(f"90.{k}")
        checks.cases(lambda: [banking.case(np.arange(2), np.arange(3))])
        checks.reference(lambda q, k: k[None, :] <= q[:, None])
        about[f"90.{k}"] = exercises.Exercise(
            f"90.{k}", "who may look", "L1", 1, 1, "causal_mask", target=target
        )
    made = exercises.Lesson("90", "90_test", "Test", 1, about)
    for module in (exercises, my_speechlib, using):
        for name, value in (
            ("lesson", lambda number: made),
            ("lesson_of", lambda number: made),
            ("exercise", lambda id: about[id]),
            ("exercise_of", lambda id: about[id]),
            ("checks_of", lambda id: bank.exercises[id]),
        ):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    return about


def notebook(code):
    """Run cells (separated by #--) in one IPython shell, as a notebook does; its namespace."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.reset(new_session=False)
    for cell in textwrap.dedent(code).split("#--\n"):
        shell.run_cell(cell, store_history=False).raise_error()
    return shell.user_ns


def saved(id, fn):
    return my_speechlib.save(exercises.exercise(id), fn)


def test_function_with_imports_helpers_and_constants(lesson, work):
    space = notebook(
        """
        import numpy as np
        from math import floor as down
        import os.path as files
        LIMIT = 3
        TABLE = np.array([1.0, 2.0])
        #--
        def turned(x):
            return np.asarray(x)[:, None]
        #--
        def causal_mask(q, k, unused=LIMIT):
            "True = may look"
            inner = lambda a: a + down(TABLE[0]) - 1
            return np.array([[kk <= qq for kk in k] for qq in turned(inner(q))[:, 0]])
        """
    )
    done = saved("90.1", space["causal_mask"])
    assert done.file == "my_speechlib/lesson_90.py" and not done.why
    text = (work / done.file).read_text()
    for line in ("import numpy as np", "from math import floor as down", "LIMIT = 3", "def turned"):
        assert line in text
    assert "os.path" not in text  # only what the function needs
    loaded = my_speechlib.load("90.1")
    assert loaded(np.arange(2), np.arange(3)).tolist() == [
        [True, False, False],
        [True, True, False],
    ]
    code = "from my_speechlib.lesson_90 import *; print(causal_mask(np.ones(1), [0, 2]))"
    alone = subprocess.run(
        [sys.executable, "-c", code],
        cwd=work, capture_output=True, text=True,
    )  # fmt: skip
    assert "[[ True False]]" in alone.stdout, alone.stderr


def test_class_defined_in_a_cell(lesson, work):
    space = notebook(
        """
        from collections import OrderedDict
        class Base:
            def size(self):
                return 3
        #--
        class Mask(Base):
            def __init__(self):
                self.parts = OrderedDict(a=1)
            def __call__(self, q, k):
                return k[None, :] <= q[:, None]
        """
    )
    assert saved("90.1", space["Mask"]).file
    assert my_speechlib.load("90.1")().size() == 3


def test_function_under_a_decorator_of_another_module(lesson, work):
    pytest.importorskip("torch")
    code = "import torch\nHALF = 0.5\n@torch.no_grad()\n"
    code += "def one(q, k):\n    return torch.ones(1) * HALF\n"
    done = saved("90.1", notebook(code)["one"])
    assert done.file, done.why
    assert my_speechlib.load("90.1")(0, 0).item() == 0.5


def test_saving_again_replaces_only_its_own_section(lesson, work):
    space = notebook("def one(q, k):\n    return 1\n#--\ndef two(q, k):\n    return 2\n")
    saved("90.1", space["one"])
    saved("90.2", space["two"])
    saved("90.1", notebook("def one(q, k):\n    return 11\n")["one"])
    assert my_speechlib.load("90.1")(0, 0) == 11 and my_speechlib.load("90.2")(0, 0) == 2
    assert (work / "my_speechlib/lesson_90.py").read_text().count("# ---- exercise") == 2


def test_text_of_ones_own_above_the_first_exercise_stays(lesson, work):
    path, own = work / "my_speechlib/lesson_90.py", "# mine\nHALF = 0.5\n"
    saved("90.2", notebook("def two(q, k):\n    return 2\n")["two"])
    head, section = path.read_text().split("# ----", 1)
    assert "stays" in head and "Change it in the lesson" in head
    path.write_text(f"{head}{own}\n# ----{section}")
    saved("90.2", notebook("def h():\n    return 1\n#--\ndef two(q, k):\n    return h()\n")["two"])
    saved("90.1", notebook("def h():\n    return 3\n#--\ndef one(q, k):\n    return h()\n")["one"])
    saved("90.3", notebook("def three(q, k):\n    return 3\n")["three"])
    text = path.read_text()
    for once in (own, "has a file of its own", "your functions"):
        assert text.count(once) == 1
    assert own not in (work / "my_speechlib/lesson_90_1.py").read_text()
    assert my_speechlib.load("90.2")(0, 0) == 1 and my_speechlib.load("90.3")(0, 0) == 3


def test_text_of_ones_own_stays_in_an_exercises_own_file(lesson, work):
    path = work / "my_speechlib/lesson_90_2.py"
    clash = "def h():\n    return {}\n#--\ndef {}(q, k):\n    return h()\n"
    saved("90.1", notebook(clash.format(1, "one"))["one"])
    saved("90.2", notebook(clash.format(2, "two"))["two"])
    path.write_text(path.read_text().replace("# ----", "HALF = 0.5\n\n# ----", 1))
    saved("90.2", notebook(clash.format(3, "two"))["two"])
    assert "HALF = 0.5" in path.read_text() and my_speechlib.load("90.2")(0, 0) == 3
    saved("90.2", notebook("def two(q, k):\n    return 4\n")["two"])  # no clash any more
    assert "HALF = 0.5" in path.read_text() and my_speechlib.load("90.2")(0, 0) == 4


def test_a_file_of_ones_own_stays_whole(lesson, work):
    path, own = work / "my_speechlib/lesson_90.py", '"""My notes."""\n\nHALF = 0.5\n'
    path.parent.mkdir()
    path.write_text(own)
    saved("90.1", notebook("def one(q, k):\n    return 1\n")["one"])
    assert own in path.read_text() and my_speechlib.load("90.1")(0, 0) == 1


def test_two_helpers_of_one_name_do_not_disturb_each_other(lesson, work):
    first = notebook("def h():\n    return 1\n#--\ndef one(q, k):\n    return h()\n")["one"]
    saved("90.1", first)
    second = notebook("def h():\n    return 2\n#--\ndef two(q, k):\n    return h()\n")["two"]
    assert saved("90.2", second).file == "my_speechlib/lesson_90_2.py"
    assert my_speechlib.load("90.1")(0, 0) == 1 and my_speechlib.load("90.2")(0, 0) == 2
    code = "from my_speechlib.lesson_90 import one, two; print(one(0, 0), two(0, 0))"
    done = subprocess.run([sys.executable, "-c", code], cwd=work, capture_output=True, text=True)
    assert done.stdout == "1 2\n", done.stderr
    again = notebook("def three(q, k):\n    return 3\n")["three"]
    saved("90.3", again)
    done = subprocess.run([sys.executable, "-c", code], cwd=work, capture_output=True, text=True)
    assert done.stdout == "1 2\n", done.stderr
    saved("90.2", notebook("def two(q, k):\n    return 22\n")["two"])  # no clash any more
    assert my_speechlib.load("90.2")(0, 0) == 22
    assert not (work / "my_speechlib/lesson_90_2.py").exists()


def test_function_that_calls_an_earlier_saved_one(lesson, work):
    saved("90.1", notebook("def one(q, k):\n    return 5\n")["one"])
    space = notebook("def two(q, k):\n    return one(q, k) + 1\n")
    space["one"] = my_speechlib.load("90.1")
    done = saved("90.2", space["two"])
    assert "def one" in (work / done.file).read_text()  # the same lesson's: copied
    assert my_speechlib.load("90.2")(0, 0) == 6


def test_function_of_another_lesson_is_imported(lesson, work):
    (work / "my_speechlib").mkdir()
    (work / "my_speechlib/__init__.py").touch()
    (work / "my_speechlib/lesson_88.py").write_text("def one(q, k):\n    return 5\n")
    with my_speechlib._importing_from(work):
        from my_speechlib.lesson_88 import one
    space = notebook("def two(q, k):\n    return one(q, k) + 1\n")
    space["one"] = one
    done = saved("90.2", space["two"])
    assert "from my_speechlib.lesson_88 import one" in (work / done.file).read_text(), done
    assert my_speechlib.load("90.2")(0, 0) == 6


@pytest.mark.parametrize(
    "code, words",
    [
        ("big = object()\n#--\ndef f(q, k):\n    return big\n", "uses `big`"),
        ("def f(q, k):\n    return missing\n", "`missing`, which is not defined"),
        ("f = lambda q, k: 1\n", "write it with `def`"),
        (
            "def outer():\n    y = 1\n    def f():\n        return y\n    return f\nf = outer()\n",
            "inside",
        ),
    ],
)
def test_what_cannot_be_saved_is_said(lesson, work, code, words):
    done = saved("90.1", notebook(code)["f"])
    assert not done.file and words in done.why
    assert not (work / "my_speechlib").exists()


def test_helpers_that_call_each_other(lesson):
    space = notebook(
        """
        def even(n):
            return n == 0 or odd(n - 1)
        def odd(n):
            return n != 0 and even(n - 1)
        """
    )
    imports, definitions = standalone(space["odd"])
    assert imports == [] and set(definitions) == {"even", "odd"}


def test_partial_objects_are_refused():
    import functools

    with pytest.raises(CannotSave):
        standalone(functools.partial(print, 1))


def test_the_librarys_own_function_is_not_saved_as_the_learners(lesson, work):
    from speechlib import attention_masks

    assert saved("90.1", attention_masks.causal_mask).why == "library"


# --- use ------------------------------------------------------------------------------------------

MINE = "import numpy as np\ndef causal_mask(q, k):\n    return np.ones((len(q), len(k)), bool)\n"


@pytest.fixture
def masks():
    attention_masks = pytest.importorskip("speechlib.attention_masks")
    before = attention_masks.causal_mask
    yield attention_masks
    assert attention_masks.causal_mask is before, "use() was not undone"


def test_use_puts_the_saved_function_into_the_library_and_back(lesson, masks):
    saved("90.1", notebook(MINE)["causal_mask"])
    library = masks.causal_mask
    put = use("90.1")
    assert "now works inside speechlib" in repr(put) and masks.causal_mask is not library
    assert masks.causal_mask(np.arange(2), np.arange(2)).all()
    using.lesson_numbers, before = (lambda: ["90"]), using.lesson_numbers
    try:
        assert " yours " in repr(use())
        use("90.1", None)
        assert "yours is ready" in repr(use())
    finally:
        using.lesson_numbers = before
    assert masks.causal_mask is library


def test_use_replaces_a_method_of_a_model(lesson):
    torch = pytest.importorskip("torch")
    from speechlib.torch_models import whisper

    target = "speechlib.torch_models.whisper:AudioEncoder.forward"
    lesson["90.2"].__dict__["target"] = target
    library = whisper.AudioEncoder.forward
    encoder = whisper.AudioEncoder.__new__(whisper.AudioEncoder)
    torch.nn.Module.__init__(encoder)
    with use("90.2", lambda self, mel: mel + 1):
        assert encoder(torch.zeros(1)).item() == 1
    assert whisper.AudioEncoder.forward is library


def test_use_as_a_context_and_undo(lesson, masks):
    library = masks.causal_mask

    def mine(q, k):
        return "mine"

    with use("90.1", mine):
        assert masks.causal_mask(0, 0) == "mine"
    assert masks.causal_mask is library
    first = use("90.1", mine)
    second = use("90.1", lambda q, k: "other")
    second.undo()
    assert masks.causal_mask is mine
    first.undo()
    first.undo()  # twice does no harm


def test_nothing_passed_yet_leaves_the_library_in(lesson, masks):
    library = masks.causal_mask
    assert "no passed function saved yet" in repr(use("90.1"))
    assert masks.causal_mask is library
    assert part("90.1")(np.arange(1), np.arange(1)).all()  # the library's
    assert "practice on its own" in repr(use("90.2"))


def test_use_in_a_fresh_kernel(work):
    """The saved function of an earlier session goes into the library of a new process."""
    (work / "my_speechlib").mkdir()
    code = "from speechlib.lessons import check\nfrom lesson import normalise\n"
    code += "print(bool(check('99.1', normalise)))"
    (work / "lesson.py").write_text(
        "def normalise(scores):\n    return scores / scores.sum(-1, keepdims=True)\n"
    )
    env = dict(os.environ, PYTHONPATH=f"{ROOT}{os.pathsep}{work}", SPEECHLIB_WORK=str(work))
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    code = "from speechlib.lessons import part; f = part('99.1'); print(f.__module__)"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "my_speechlib" in done.stdout or "lesson" in done.stdout, done.stderr


def test_a_broken_saved_file_is_said_and_the_library_stays(lesson, work, masks):
    saved("90.1", notebook(MINE)["causal_mask"])
    path = work / "my_speechlib/lesson_90.py"
    path.write_text(path.read_text() + "\ndef broken(:\n")
    library = masks.causal_mask
    assert "could not be loaded" in repr(use("90.1"))
    assert masks.causal_mask is library


def test_a_hand_edited_section_is_set_aside_when_the_next_one_is_saved(lesson, work):
    saved("90.1", notebook(MINE)["causal_mask"])
    path = work / "my_speechlib/lesson_90.py"
    path.write_text(path.read_text() + "\ndef broken(:\n")
    assert saved("90.2", notebook("def two(q, k):\n    return 2\n")["two"]).file
    assert my_speechlib.load("90.2")(0, 0) == 2 and my_speechlib.load("90.1") is None
    assert "def broken(:" in (work / "my_speechlib/lesson_90_unreadable.txt").read_text()


def test_compare_shows_the_largest_difference(lesson):
    def mine(q, k):
        return (k[None, :] <= q[:, None]) * 0.75

    text = repr(compare("90.1", mine))
    assert "(2, 3)" in text and "0.25" in text


@pytest.mark.parametrize("id", ["00.2", "09.6"])
def test_compare_says_when_nothing_came_back(work, id):
    assert "not comparable" in repr(compare(id, lambda *a, **k: None))


def test_compare_takes_the_largest_of_several_differences():
    assert using._gap((1e-6, 0.25), (0.0, 0.0)) == "0.25"


def test_compare_takes_a_tensor_without_numbers():
    torch = pytest.importorskip("torch")
    empty = torch.empty(2, device="meta")
    assert using._shape(empty) == "(2,)" and using._gap(empty, 1.0) == "not comparable"


def test_a_passed_check_saves_and_says_where(work):
    space = notebook("def normalise(scores):\n    return scores / scores.sum(-1, keepdims=True)\n")
    assert "my_speechlib/lesson_99.py" in repr(check("99.1", space["normalise"]))
    assert (work / "my_speechlib/lesson_99.py").exists()


def test_points_wait_for_the_whole_cell(work):
    from speechlib.lessons import progress

    define = "from speechlib.lessons import check\n#--\n"
    define += "def normalise(s):\n    return s / s.sum(-1, keepdims=True)\n#--\n"
    with pytest.raises(ZeroDivisionError):
        notebook(define + "assert check('99.1', normalise, graded=True)\n1 / 0\n")
    assert progress.record("99.1")["passed"] and not progress.record("99.1")["points"]
    notebook(define + "assert check('99.1', normalise, graded=True)\n")
    assert progress.record("99.1")["points"]


def test_no_module_keeps_a_name_of_its_own_for_what_use_replaces():
    """`from … import name` would keep the library's function, or the learner's, for good."""
    import ast
    import tomllib

    import speechlib

    package = Path(speechlib.__file__).parent
    targets = set()
    for file in (package / "lessons" / "content").glob("*.toml"):
        for one in tomllib.loads(file.read_text("utf-8"))["exercise"].values():
            module, _, name = one.get("target", "").partition(":")
            targets.add((module, name.split(".")[0]) if "." not in name else None)
    assert ("speechlib.torch_models.attention", "split_heads") in targets
    kept = [
        f"{file.relative_to(package)}: {alias.name}"
        for file in package.rglob("*.py")
        if "lessons" not in file.parts
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (node.module, alias.name) in targets
    ]
    assert kept == []


def test_a_folder_without_locks_makes_nobody_wait(monkeypatch, work):
    import errno
    import time

    from speechlib.lessons.workfolder import locked

    fcntl = pytest.importorskip("fcntl")  # Windows has other locks

    def none_here(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none_here)
    started = time.monotonic()
    with locked(work):
        pass
    assert time.monotonic() - started < 2
