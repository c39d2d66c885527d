"""hint, solution, questions: help, in that order."""

from speechlib.lessons import progress
from speechlib.lessons.boxes import Box
from speechlib.lessons.exercises import exercise as exercise_of
from speechlib.lessons.exercises import lesson as lesson_of
from speechlib.lessons.phrases import say
from speechlib.lessons.sources import solution_text


def hint(id):
    """The next hint for exercise id; after the last one, all of them again."""
    exercise = exercise_of(id)
    if not exercise.hints:
        return Box(say("hint.none", id=id))
    number = min(progress.record(id)["hints"] + 1, len(exercise.hints))
    progress.note(id, hints=number)
    title = say("title.hint", number=number, of=len(exercise.hints))
    box = Box(f"{title} · {id} {exercise.title}", "wait")
    for text in exercise.hints[:number]:
        box.words(text)
    return box.words(say("hint.more" if number < len(exercise.hints) else "hint.last", id=id))


def solution(id):
    """A good solution beside the learner's own; only after an attempt (a changed stub checked)."""
    exercise, record = exercise_of(id), progress.record(id)
    if not record["tried"]:
        title = f"{say('title.solution_locked')} · {id} {exercise.title}"
        return Box(title, "wait").words(say("solution.locked", id=id))
    progress.note(id, solution=True)
    box = Box(f"{say('title.solution')} · {id} {exercise.title}", "plain")
    theirs = solution_text(id)
    if theirs is None:
        box.words(say("solution.none"))
    box.beside(
        (say("solution.yours"), record.get("source") or ""),
        (say("solution.reference"), theirs or ""),
    )
    return box.words(say("solution.note"))


def questions(number=None):
    """A lesson's quick questions; each answer opens by a click or a key."""
    number = number or progress.current_lesson() or "00"
    lesson = lesson_of(number)
    if not lesson.questions:
        return Box(say("questions.none", number=number))
    box = Box(f"{say('title.questions')} · {lesson.title}", "plain")
    for i, asked in enumerate(lesson.questions, start=1):
        box.words(f"{i}. {asked['ask']}")
        if asked.get("options"):
            box.items(asked["options"])
        box.fold(say("questions.answer"), asked["answer"])
    return box
