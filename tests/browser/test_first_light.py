"""Lesson 00 as a learner meets it: the student edition in a real JupyterLab, with a microphone.

Speak, read the transcript, click a word; give the wrong answer that the lesson invites, take a
hint, mend it, get the point.
"""

import jupyter_lab
import nbformat
import numpy as np
import pytest
import soundfile
import soxr

from speechlib import corpus, viz
from speechlib.lessons import editions
from speechlib.torch_models import transcription

pytestmark = pytest.mark.browser

LESSON = jupyter_lab.ROOT / "notebooks" / "00_start_here.ipynb"
SAYS_WHY = "the box under your own cell says why"  # a locked cell that does not pass
STUB = '''def listened_at(row):
    """Weights of one row, (frames,) -> seconds: where the strongest frame lies."""
    return np.argmax(row) * {seconds}

check("00.1", listened_at)'''


def spoken():
    """A digit string of the corpus, (samples,) at 16 kHz, with a pause before it comes again."""
    one = next(one for one in corpus.digits("test") if len(one.words) == 3)
    return np.concatenate([one.wave(), np.zeros(4000, np.float32)])


@pytest.fixture(scope="session")
def fake_microphone_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("microphone") / "digits.wav"
    soundfile.write(path, soxr.resample(spoken(), 16000, 48000), 48000, subtype="PCM_16")
    return path


@pytest.fixture
def student_edition(tmp_path):
    path = tmp_path / LESSON.name
    nbformat.write(editions.student(nbformat.read(LESSON, as_version=4)), path)
    return path


@pytest.fixture
def lesson(open_notebook, student_edition):
    """The page of the student edition, nothing run yet, its kernel ready."""
    page = open_notebook(student_edition, run=False)
    page.evaluate("""async () => {
        const context = window.jupyterapp.shell.currentWidget.sessionContext;
        await context.ready; await context.session.kernel.info; }""")
    return page


def cell_with(page, text):
    """The first code cell with this text; it stays the one when its text is changed."""
    cells = page.locator(".jp-CodeCell")
    number = next(i for i in range(cells.count())
                  if text in cells.nth(i).locator(".cm-content").inner_text())
    return cells.nth(number)


def run(page, cell):
    """Click into a cell and press Shift+Enter; wait until it has been executed."""
    before = cell.locator(".jp-InputPrompt").first.inner_text()
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    prompt = cell.locator(".jp-InputPrompt").first.element_handle()
    page.wait_for_function("([e, before]) => /\\[\\d+\\]/.test(e.innerText)"
                           " && e.innerText !== before", arg=[prompt, before])


def write(page, cell, text):
    """Replace what stands in a cell, as a learner does."""
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def in_kernel(page, code):
    page.evaluate("""code => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
        .requestExecute({code}).done""", code)


def recorder_state(page, state):
    page.wait_for_function(
        "s => document.querySelector('.speechlib-recorder').dataset.state === s", arg=state)


def test_speak_read_and_hear_where_it_listened(lesson, lab):
    page = lesson
    run(page, cell_with(page, "viz.Recorder("))
    page.get_by_role("button", name="Record").click()
    recorder_state(page, "recording")
    page.wait_for_function("""() => { // by the recorder's clock; on a busy machine it stops itself
        const box = document.querySelector('.speechlib-recorder');
        if (box.dataset.state !== 'recording') return true;
        if (!(Number(/([\\d.]+) s of 6 s/.exec(box.innerText)?.[1]) >= 3.5)) return false;
        box.querySelector('.record').click();
        return true; }""")
    recorder_state(page, "done")
    written = page.locator(".speechlib-written").first
    written.wait_for()
    in_kernel(page, "np.save('spoken.npy', recorder.wave)")
    wave = np.load(lab[2] / "spoken.npy")
    assert 3 < len(wave) / 16000 <= 6
    transcript, rows = transcription.listened(wave)
    shown = [word.strip("?") for word in written.locator("b").all_inner_texts()]
    assert shown == [word for word, *_ in transcript.words]
    assert shown, "the model wrote nothing of three digits, said again and again"
    page.locator(".speechlib-listen-map button.word").first.click()
    page.wait_for_function(
        "() => document.querySelector('.speechlib-listen-map').dataset.plays === '1'")
    heard = np.array(page.evaluate(
        "() => Array.from(document.querySelector('.speechlib-listen-map').heard)"))
    # through MP3 and back; what is heard is the recording times the first word's row
    assert np.corrcoef(heard, viz.hear_row(wave, rows[0]))[0, 1] > 0.95


def test_the_invited_mistake_is_named_then_mended(lesson):
    page = lesson
    run(page, cell_with(page, "viz.Recorder("))
    exercise = cell_with(page, "def listened_at(row)")
    assert "raise NotImplementedError" in exercise.inner_text()
    write(page, exercise, STUB.format(seconds="0.01"))
    run(page, exercise)
    said = exercise.locator(".jp-OutputArea-output").inner_text()
    assert "a known mistake" in said and "10 ms a frame" in said and "600 columns" in said
    helping = cell_with(page, '# hint("00.1")')
    write(page, helping, 'hint("00.1")')
    run(page, helping)
    assert "Hint 1 of 2" in helping.inner_text()
    write(page, exercise, STUB.format(seconds="0.02"))
    run(page, exercise)
    said = exercise.locator(".jp-OutputArea-output").inner_text()
    assert "Passed" in said and "mistake" not in said
    locked = cell_with(page, 'assert check("00.1"')
    run(page, locked)
    assert "1 of 1 points" in locked.locator(".jp-OutputArea").inner_text()


def test_run_all_without_a_microphone(lesson):
    page = lesson
    jupyter_lab.run_all(page)
    page.locator(jupyter_lab.ERROR).nth(1).wait_for()  # outputs are drawn after the last reply
    failed = jupyter_lab.errors(page)
    assert len(failed) == 2 and all(SAYS_WHY in text for text in failed), failed
    assert page.locator(".speechlib-written").count() == 1  # a computer voice stands in
    assert "Quick questions" in page.locator(".jp-NotebookPanel").inner_text()
