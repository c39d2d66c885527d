"""The checks are checked: for every exercise of every lesson, and on checks known to be bad."""

import numpy as np
import pytest

from speechlib.lessons import author, exercises, sources, verify
from speechlib.lessons.banking import Bank, case
from speechlib.lessons.mutants import mutants


@pytest.mark.parametrize("id", verify.all_exercises())
def test_exercise_is_proved(id):
    """Stub, reference, honest variants, every mistake named as itself, every mutant rejected."""
    assert verify.problems(id) == []


@pytest.mark.parametrize("path", sources.complete_lessons(), ids=lambda path: path.stem)
def test_complete_lesson_keeps_to_the_format(path):
    assert list(author.lint(path)) == []


@pytest.mark.parametrize("path", sources.complete_lessons(), ids=lambda path: path.stem)
def test_student_edition_runs_to_its_end(path, tmp_path, monkeypatch):
    """With every stub empty, only the locked test cells may fail."""
    monkeypatch.setenv("SPEECHLIB_WORK", str(tmp_path / "work"))
    assert list(author.student_problems(path, tmp_path)) == []
    assert not (tmp_path / "work" / "my_speechlib").exists()


def test_every_lesson_has_its_text_and_its_bank():
    for path in sources.complete_lessons():
        assert path.name[:2] in exercises.lesson_numbers(), f"no content for {path.name}"
    for path in exercises.content_files():
        for id in exercises.lesson(path.name[:2]).exercises:
            assert exercises.checks(id).correct is not None


def test_quick_questions_have_letters_and_answers_name_one():
    for path in exercises.content_files():
        for asked in exercises.lesson(path.name[:2]).questions:
            options = asked.get("options", [])
            letters = [f"{letter}. " for letter in "abcdef"[: len(options)]]
            assert [option[:3] for option in options] == letters, (path.name, asked["ask"])
            assert not options or asked["answer"][:3] in letters, (path.name, asked["ask"])


# --- the verification itself must find bad checks -------------------------------------------------


def _exercise(mistakes=()):
    return exercises.Exercise(
        "90.1", "t", "L1", 1, 1, "double", hints=("a", "b"), mistakes=dict.fromkeys(mistakes, "m")
    )


def _good_checks():
    checks = Bank("90").exercise("90.1")
    checks.cases(lambda: [case(np.array([1.0, 3.0])), case(np.array([-1.0, 0.5, 7.0]))])
    checks.reference(_double)
    checks.variant("sum")(lambda x: x + x)
    return checks


def _double(x):
    return 2 * x


def _found(checks, mistakes=()):
    steps = (verify._texts, verify._stub, verify._reference, verify._variants, verify._mistakes,
             verify._mutants)  # fmt: skip
    return [line for step in steps for line in step(_exercise(mistakes), checks)]


def test_verify_accepts_good_checks():
    checks = _good_checks()
    checks.mistake("square")(lambda x: x * x)
    assert _found(checks, ["square"]) == []


def test_verify_finds_two_mistakes_that_cannot_be_told_apart():
    checks = _good_checks()
    checks.mistake("square")(lambda x: x * x)
    checks.mistake("power")(lambda x: x**2)
    found = _found(checks, ["square", "power"])
    assert any("'square' is not named as itself, but: square, power" in line for line in found)


def test_verify_finds_a_mistake_that_is_right():
    checks = _good_checks()
    checks.mistake("twice")(lambda x: x + x)
    assert any(
        "'twice' is not named as itself, but: passed" in x for x in _found(checks, ["twice"])
    )


def test_verify_finds_weak_cases():
    checks = _good_checks()
    checks.cases(lambda: [case(np.zeros(2)), case(np.zeros(3))])
    checks.mistake("one more")(lambda x: 2 * x + 1)
    found = _found(checks, ["one more"])
    assert any("mutant '2 -> 3' passes" in line for line in found)


def test_verify_finds_a_reference_that_changes_its_input():
    checks = _good_checks()

    def reference(x):
        x *= 2
        return x

    checks.reference(reference)
    checks.mistake("square")(lambda x: x * x)
    assert any("changes its input" in line for line in _found(checks, ["square"]))


def test_verify_finds_texts_that_do_not_belong_together():
    checks = _good_checks()
    checks.mistake("square")(lambda x: x * x)
    assert any("'square' is only in the bank" in line for line in _found(checks))
    assert any("'cube' is only in the toml" in line for line in _found(checks, ["square", "cube"]))


def test_verify_finds_a_wrongly_listed_equivalent():
    checks = _good_checks()
    checks.mistake("square")(lambda x: x * x)
    checks.equivalent("2 -> 3", because="it is not")
    checks.equivalent("x -> y", because="there is none")
    found = _found(checks, ["square"])
    assert any("the check rejects it" in line for line in found)
    assert any("no such mutant" in line for line in found)


def _for_mutants(x, y):
    """A docstring with 1 < 2 in it."""
    if y < 0:
        raise ValueError("y must be at least 0")
    return (x.sum(axis=-1) + 1) * 2 <= y


def test_mutants_are_of_every_kind():
    names = [name for name, _ in mutants(_for_mutants)]
    for wanted in ("y < 0 -> y <= 0", "axis=-1 -> axis=0", "1 -> 2", "2 -> 3", "2 -> 4"):
        assert wanted in names
    assert any(name.endswith("> y") or ">= y" in name for name in names)  # turned comparison
    assert any(" / 2" in name for name in names)
    assert len(names) == len(set(names))
    x = np.arange(6.0).reshape(2, 3)
    right = _for_mutants(x, 8)
    changed = [fn for name, fn in mutants(_for_mutants) if name == "axis=-1 -> axis=0"][0](x, 8)
    assert right.shape == (2,) and changed.shape == (3,)
