"""report(): what is passed, what it is worth. For the learner, from one local file."""

from speechlib.lessons import progress
from speechlib.lessons.boxes import Box
from speechlib.lessons.exercises import lesson as lesson_of
from speechlib.lessons.exercises import lesson_numbers
from speechlib.lessons.phrases import _phrases, say
from speechlib.lessons.workfolder import work_folder


class Report:
    """Boxes one under the other; HTML in a notebook, text elsewhere."""

    def __init__(self, boxes):
        self.boxes = boxes

    def __repr__(self):
        return "\n\n".join(map(repr, self.boxes))

    def _repr_html_(self):
        return "".join(box._repr_html_() for box in self.boxes)


def report(number=None):
    """Points of one lesson (the one being worked on) and the progress over the lessons begun.

    Points come only from locked test cells that passed. report("all"): every lesson there is.
    """
    records = progress.read()
    every = number == "all"
    number = None if every else number or progress.current_lesson()
    boxes = [_lesson_box(lesson_of(number), records)] if number else []
    begun = [
        n for n in lesson_numbers() if every or n == number or any(id[:2] == n for id in records)
    ]
    if begun and (every or len(begun) > 1 or not number):
        title = "overall" if len(begun) == len(lesson_numbers()) else "begun"
        boxes.append(_overall(begun, records, say(f"title.{title}")))
    if not boxes:
        return Report([Box(say("report.nothing"), "wait")])
    last = boxes[-1].words(say("report.note"))
    if not work_folder()[1]:
        last.words(say("report.temporary"))
    return Report(boxes)


def _lesson_box(lesson, records):
    rows = [
        [f"{e.id} {e.title}", e.level, f"{_points(e, records)} / {e.points}", _state(e, records)]
        for e in lesson.exercises.values()
    ]
    got = sum(_points(e, records) for e in lesson.exercises.values())
    rows.append([say("report.total"), "", f"{got} / {lesson.points}", ""])
    title = say("title.report", number=lesson.number, title=lesson.title)
    return Box(title, "good" if got == lesson.points else "wait").table(
        _phrases()["report"]["columns"], rows
    )


def _points(exercise, records):
    return exercise.points if records.get(exercise.id, {}).get("points") else 0


def _state(exercise, records):
    one = records.get(exercise.id, {})
    key = "passed" if one.get("points") else "checked" if one.get("passed") else "tried"
    words = [say(f"report.{key}" if one.get("tried") else "report.untouched")]
    if one.get("hints"):
        words.append(say("report.hints" if one["hints"] > 1 else "report.hint", n=one["hints"]))
    if one.get("solution"):
        words.append(say("report.solution"))
    return ", ".join(words)


def _overall(numbers, records, title):
    rows, got, all_points = [], 0, 0
    for number in numbers:
        lesson = lesson_of(number)
        exercises = lesson.exercises.values()
        passed = sum(bool(records.get(e.id, {}).get("passed")) for e in exercises)
        points = sum(_points(e, records) for e in exercises)
        rows.append([f"{number} {lesson.title}", f"{passed} / {len(lesson.exercises)}",
                     f"{points} / {lesson.points}"])  # fmt: skip
        got, all_points = got + points, all_points + lesson.points
    rows.append([say("report.total"), "", f"{got} / {all_points}"])
    return Box(title).table(_phrases()["report"]["lesson_columns"], rows)
