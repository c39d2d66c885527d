"""The work folder: whatever a learner did to a lesson, an update keeps every answer."""

import copy
import json

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechlib.lessons import cells, editions, merging, workspace
from speechlib.lessons.workfolder import MARKER

SOURCE = '''def normalise(scores):
    """{text}"""
    ### BEGIN SOLUTION
    return secret
    ### END SOLUTION'''


def complete(text="first", extra=(), more=True):
    made = [
        cells.text("top", f"# Lesson, {text}"),
        cells.code("start", f"print('{text}')"),
        *cells.exercise("99.1", task=f"Write it, {text}.", source=SOURCE.format(text=text)),
        *extra,
    ]
    if more:
        made += [cells.code("view", f"show('{text}')"), cells.text("end", "Goodbye")]
    return cells.notebook(*made)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """(folder of the complete lessons, work folder not made yet)."""
    (tmp_path / "lessons").mkdir()
    monkeypatch.setenv("SPEECHLIB_NOTEBOOKS", str(tmp_path / "lessons"))
    monkeypatch.setenv("SPEECHLIB_WORK", str(tmp_path / "work"))
    cells.write(complete(), tmp_path / "lessons" / "99_demo.ipynb")
    return tmp_path / "lessons", tmp_path / "work"


def read(work):
    return nbformat.read(work / "99_demo.ipynb", as_version=4)


def change(work, edit):
    nb = read(work)
    edit(nb)
    (work / "99_demo.ipynb").write_text(nbformat.writes(nb))


def cell(nb, id):
    return next(c for c in nb.cells if c.id == id)


def sources(nb):
    return [c.source for c in nb.cells]


def test_start_makes_a_work_folder_without_answers_and_is_quiet_the_second_time(places):
    _, work = places
    folder, messages = workspace.start()
    assert folder == work and messages == ["99_demo.ipynb: new"]
    assert (work / MARKER).exists() and (work / ".gitignore").read_text() == "*\n"
    assert "secret" not in (work / "99_demo.ipynb").read_text()
    before = (work / "99_demo.ipynb").stat().st_mtime_ns
    assert workspace.start()[1] == ["All lessons are up to date."]
    assert (work / "99_demo.ipynb").stat().st_mtime_ns == before
    assert not (work / "backups").exists()


def test_what_jupyterlab_writes_into_a_notebook_is_no_change(places):
    _, work = places
    workspace.start()

    def saved_by_lab(nb):
        nb.metadata["language_info"] = {"name": "python", "version": "3.12.1"}
        nb.metadata["widgets"] = {"state": {}}
        cell(nb, "start").metadata["execution"] = {"iopub.status.idle": "2026"}
        cell(nb, "start").execution_count = 4
        cell(nb, "start").outputs = [nbformat.v4.new_output("stream", text="first\n")]

    change(work, saved_by_lab)
    assert workspace.update() == ["All lessons are up to date."]


def test_update_refreshes_text_and_tests_and_keeps_answers_and_added_cells(places):
    lessons, work = places
    workspace.start()

    def work_on_it(nb):
        cell(nb, "ex-99-1").source = "def normalise(s):\n    return my_answer"
        cell(nb, "ex-99-1").outputs = [nbformat.v4.new_output("stream", text="Passed")]
        nb.cells.insert(2, nbformat.v4.new_code_cell("my_try = 1", id="mine"))
        cell(nb, "test-99-1").source = "pass  # tampered"

    change(work, work_on_it)
    cells.write(complete("second"), lessons / "99_demo.ipynb")
    messages = workspace.update()
    assert "keeps" in messages[-1] or "kept" in messages[-1]
    nb = read(work)
    assert sources(nb)[0] == "# Lesson, second" and cell(nb, "start").source == "print('second')"
    assert "my_answer" in cell(nb, "ex-99-1").source
    assert cell(nb, "ex-99-1").outputs[0].text == "Passed"
    assert nb.cells[2].id == "mine"
    assert "graded=True" in cell(nb, "test-99-1").source
    assert cell(nb, "view").source == "show('second')"
    backups = list((work / "backups").iterdir())
    assert len(backups) == 1 and "tampered" in (backups[0] / "99_demo.ipynb").read_text()


def test_reordered_half_deleted_and_edited_lesson(places):
    lessons, work = places
    workspace.start()

    def rough(nb):
        answer = cell(nb, "ex-99-1")
        answer.source = "def normalise(s):\n    return my_answer"
        note = nbformat.v4.new_markdown_cell("my note", id="note")
        nb.cells = [cell(nb, "view"), answer, note, cell(nb, "top")]
        cell(nb, "top").source = "# Lesson, first\n\nmy thought"

    change(work, rough)
    cells.write(complete("second"), lessons / "99_demo.ipynb")
    workspace.update()
    nb = read(work)
    lesson = [c.id for c in complete("second").cells]
    assert [c.id for c in nb.cells if c.id in lesson] == lesson  # all back, in order
    assert "my_answer" in cell(nb, "ex-99-1").source
    ids = [c.id for c in nb.cells]
    assert ids.index("note") == ids.index("ex-99-1") + 1
    assert any("my thought" in c.source for c in nb.cells)  # kept beside the new text
    nbformat.validate(nb)


def test_an_edited_view_stays_while_the_lesson_does_not_change_there(places):
    lessons, work = places
    workspace.start()
    change(work, lambda nb: cell(nb, "view").update(source="show('my way')"))
    other = complete("first", extra=[cells.text("new", "A new paragraph")])
    cells.write(other, lessons / "99_demo.ipynb")
    workspace.update()
    assert cell(read(work), "view").source == "show('my way')"
    cells.write(complete("second"), lessons / "99_demo.ipynb")
    workspace.update()
    texts = sources(read(work))
    assert "show('second')" in texts and "show('my way')" in texts


def test_a_picture_pasted_into_a_text_cell_stays(places):
    lessons, work = places
    workspace.start()
    picture = {"me.png": {"image/png": "iVBORw0KGgo="}}
    change(work, lambda nb: cell(nb, "end").update(
        source="![me](attachment:me.png)", attachments=picture))  # fmt: skip
    cells.write(complete("first", extra=[cells.text("new", "More")]), lessons / "99_demo.ipynb")
    workspace.update()
    assert cell(read(work), "end").attachments == picture
    cells.write(complete("second"), lessons / "99_demo.ipynb")
    workspace.update()
    assert cell(read(work), "end").attachments == picture


def test_a_cell_that_left_the_lesson_goes_unless_the_learner_changed_it(places):
    lessons, work = places
    workspace.start()
    change(work, lambda nb: cell(nb, "view").update(source="show('mine')"))
    cells.write(complete(more=False), lessons / "99_demo.ipynb")
    workspace.update()
    texts = sources(read(work))
    assert "show('mine')" in texts and "Goodbye" not in texts


def test_copied_and_split_answer_cells_are_all_kept(places):
    _, work = places
    workspace.start()

    def copy_it(nb):
        twin = copy.deepcopy(cell(nb, "ex-99-1"))
        twin.update(id="twin", source="def normalise(s):\n    return second_try")
        nb.cells.append(twin)
        cell(nb, "ex-99-1").source = "def normalise(s):\n    return first_try"

    change(work, copy_it)
    workspace.update()
    nb = read(work)
    assert "first_try" in cell(nb, "ex-99-1").source
    assert "second_try" in cell(nb, "twin").source and "nbgrader" not in cell(nb, "twin").metadata


def test_a_lesson_whose_cell_ids_were_lost_keeps_its_answer(places):
    lessons, work = places
    workspace.start()

    def old_tool(nb):
        cell(nb, "ex-99-1").source = "my_answer"
        for n, one in enumerate(nb.cells):
            one["id"] = f"lost{n}"

    change(work, old_tool)
    workspace.update()
    nb = read(work)
    assert cell(nb, "ex-99-1").source == "my_answer"
    assert len(nb.cells) == len(complete().cells)  # nothing is there twice


@pytest.mark.parametrize("bad", [b"", b"{", b"\xff\xfe\x00", b"[]", b'{"cells": 3}', b"null"])
def test_unreadable_lesson_is_kept_in_the_backup_and_comes_back_fresh(places, bad):
    _, work = places
    workspace.start()
    (work / "99_demo.ipynb").write_bytes(bad)
    messages = workspace.update()
    assert "could not be read" in messages[0]
    assert "normalise" in (work / "99_demo.ipynb").read_text()
    kept = next((work / "backups").iterdir()) / "99_demo.ipynb"
    assert kept.read_bytes() == bad


def test_deleted_lesson_comes_back_and_other_files_stay(places):
    _, work = places
    workspace.start()
    (work / "99_demo.ipynb").unlink()
    (work / "mine.ipynb").write_text("{}")
    workspace.update()
    assert (work / "99_demo.ipynb").exists() and (work / "mine.ipynb").read_text() == "{}"


def test_reset_restores_one_stub_only(places):
    _, work = places
    workspace.start()

    def work_on_it(nb):
        cell(nb, "ex-99-1").source = "my_answer"
        cell(nb, "view").source = "my view"

    change(work, work_on_it)
    workspace.reset("99.1")
    nb = read(work)
    assert (
        "NotImplementedError" in cell(nb, "ex-99-1").source and cell(nb, "view").source == "my view"
    )
    assert "my_answer" in (next((work / "backups").iterdir()) / "99_demo.ipynb").read_text()
    change(work, lambda nb: nb.cells.remove(cell(nb, "ex-99-1")))
    workspace.reset("99.1")
    assert "NotImplementedError" in cell(read(work), "ex-99-1").source
    with pytest.raises(ValueError, match="has no exercise"):
        workspace.reset("99.8")


def test_backups_never_overwrite_each_other(places, monkeypatch):
    _, work = places
    workspace.start()
    monkeypatch.setattr(workspace.time, "strftime", lambda _: "same")
    (work / "progress.json").write_text("{}")
    (work / "my_speechlib").mkdir()
    (work / "my_speechlib" / "lesson_99.py").touch()
    names = {workspace.backup(work).name for _ in range(3)}
    assert names == {"same", "same-2", "same-3"}
    assert (work / "backups/same-2/progress.json").exists()
    assert (work / "backups/same-3/my_speechlib/lesson_99.py").exists()


def test_no_work_folder_among_the_solutions_or_other_files(places, tmp_path):
    lessons, _ = places
    with pytest.raises(ValueError, match="solutions"):
        workspace.start(lessons)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").touch()
    with pytest.raises(ValueError, match="other files"):
        workspace.start(tmp_path / "other")
    with pytest.raises(ValueError, match="is a file"):
        workspace.start(tmp_path / "other" / "letter.txt")
    with pytest.raises(ValueError, match="lessons start"):
        workspace.update(tmp_path / "nowhere")


EDITION = editions.student(complete())
NEXT = editions.student(complete("second"))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_answer_and_no_added_cell_is_ever_lost(data):
    """Any mixture of deleting, moving, copying, editing and adding, then two updates."""
    mine = merging.stamped(EDITION)
    n = len(mine.cells)
    order = data.draw(st.permutations(range(n)))
    keep = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    mine.cells = [mine.cells[i] for i in order if keep[i]]
    answered = [c for c in mine.cells if editions.is_solution(c)]
    for one in answered:
        one.source = "THE ANSWER"
    for k in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(mine.cells)))
        mine.cells.insert(place, nbformat.v4.new_code_cell(f"ADDED {k}", id=f"added-{k}"))
    wanted = {c.source for c in mine.cells if "ADDED" in c.source or "ANSWER" in c.source}
    once = merging.merge(mine, NEXT)
    twice = merging.merge(json_copy(once), NEXT)
    assert nbformat.writes(once) == nbformat.writes(twice)  # the second update changes nothing
    assert wanted <= {c.source for c in once.cells}
    ids = [c.id for c in once.cells]
    assert len(ids) == len(set(ids))
    theirs = [c.id for c in NEXT.cells]
    assert [id for id in ids if id in theirs] == theirs
    nbformat.validate(once)


def json_copy(nb):
    return nbformat.reads(nbformat.writes(nb), as_version=4)


def test_progress_survives_an_update(places):
    _, work = places
    workspace.start()
    (work / "progress.json").write_text(json.dumps({"version": 1, "exercises": {}}))
    workspace.update()
    assert json.loads((work / "progress.json").read_text())["version"] == 1
