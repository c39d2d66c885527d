"""The progress file: never lost by a crash, a torn write or a second kernel; and the report."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from speechlib.lessons import check, hint, progress, report, workfolder


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHLIB_WORK", str(tmp_path))
    monkeypatch.setitem(progress._session, "told", set())
    monkeypatch.setitem(progress._session, "lesson", None)
    return tmp_path


def _right(scores):
    return scores / scores.sum(axis=-1, keepdims=True)


def test_points_come_only_from_the_graded_check():
    check("99.1", _right)
    assert progress.record("99.1")["passed"] and not progress.record("99.1")["points"]
    assert "0 / 1" in repr(report()) and "run the locked test cell" in repr(report())
    check("99.1", _right, graded=True)
    assert progress.record("99.1")["points"] and "1 / 1" in repr(report())
    check("99.1", lambda s: s)  # a later experiment takes nothing away
    assert progress.record("99.1")["points"]


def test_report_says_hints_and_what_is_untouched():
    assert "Nothing has been checked yet" in repr(report())
    hint("99.1")
    text = repr(report())
    assert "not tried yet" in text and "1 hint" in text
    assert "<table" in report()._repr_html_()


def test_half_written_file_is_set_aside_and_the_last_good_copy_used(work, capsys):
    progress.note("99.1", tried=True)
    progress.note("99.1", passed=True)
    text = (work / "progress.json").read_text()
    (work / "progress.json").write_text(text[: len(text) // 2])
    assert progress.record("99.1")["tried"]
    assert "last good copy" in capsys.readouterr().out
    assert (work / "progress.unreadable-1.json").read_text() == text[: len(text) // 2]
    progress.note("99.1", graded=True)
    assert json.loads((work / "progress.json").read_text())["exercises"]["99.1"]["points"]


@pytest.mark.parametrize(
    "bad", ["", "{", "[]", "null", '{"exercises": 3}', '{"exercises": {"a": 1}}']
)
def test_unreadable_file_without_a_copy_starts_anew_and_is_kept(work, capsys, bad):
    (work / "progress.json").write_text(bad)
    assert progress.read() == {}
    progress.note("99.1", tried=True)
    assert progress.record("99.1")["tried"]
    assert "moved to progress.unreadable-1.json" in capsys.readouterr().out
    assert (work / "progress.unreadable-1.json").read_text() == bad


def test_deleted_file_comes_back_from_the_copy(work, capsys):
    progress.note("99.1", tried=True)
    progress.note("99.1", passed=True)
    (work / "progress.json").unlink()
    assert progress.record("99.1")["tried"]
    told = " ".join(capsys.readouterr().out.split())
    assert "delete progress.json and progress.json.bak" in told and "unreadable" not in told
    for name in ("progress.json", "progress.json.bak"):
        (work / name).unlink(missing_ok=True)
    assert progress.read() == {}


def test_deleted_file_whose_copy_is_bad(work, capsys):
    (work / "progress.json.bak").write_text("{")
    assert progress.read() == {}
    assert "moved to progress.unreadable-1.json" in capsys.readouterr().out
    assert (work / "progress.unreadable-1.json").read_text() == "{"


def test_unwritable_folder_does_not_stop_the_lesson(work, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress, "write_atomically", full)
    assert check("99.1", _right)
    assert "No space left on device" in capsys.readouterr().out


def _worker(folder, first):
    os.environ["SPEECHLIB_WORK"] = folder
    for number in range(first, 20, 2):
        progress.note(f"99.{number}", tried=True, passed=True)


def test_two_kernels_do_not_lose_each_others_progress(work):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_worker, args=(str(work), first)) for first in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert set(progress.read()) == {f"99.{number}" for number in range(20)}


def test_killed_while_writing_leaves_a_readable_file(work):
    code = (
        "from speechlib.lessons import progress\nn = 0\n"
        "while True:\n    n += 1\n    progress.note('99.1', hints=n, source='x' * 20000)\n"
    )
    for wait in (0.5, 0.6, 0.7):
        child = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
        end = time.monotonic() + 20
        while not (work / "progress.json").exists() and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(wait / 3)
        child.send_signal(signal.SIGKILL)
        child.wait()
        json.loads((work / "progress.json").read_text())
        assert progress.record("99.1")["hints"] > 0
    assert not list(work.glob("progress.unreadable*"))


def test_write_atomically_leaves_the_old_file_when_it_fails(work, monkeypatch):
    path = work / "file"
    workfolder.write_atomically(path, "old")

    def fail(*_):
        raise OSError("no")

    monkeypatch.setattr(workfolder.os, "replace", fail)
    with pytest.raises(OSError):
        workfolder.write_atomically(path, "new")
    assert path.read_text() == "old" and [p.name for p in work.iterdir()] == ["file"]


def test_no_work_folder_means_nothing_is_written_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.delenv("SPEECHLIB_WORK")
    monkeypatch.chdir(tmp_path)
    folder, lasting = workfolder.work_folder()
    assert not lasting and folder != tmp_path
    check("99.1", _right, graded=True)
    assert list(tmp_path.iterdir()) == []
    assert "as long as this kernel" in repr(report("99"))


def test_the_marker_is_found_from_a_folder_inside(tmp_path, monkeypatch):
    monkeypatch.delenv("SPEECHLIB_WORK")
    workfolder.mark(tmp_path)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert workfolder.work_folder() == (tmp_path, True)
