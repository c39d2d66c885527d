"""The corpus viewer in a real JupyterLab: click, keys, zoom, another utterance, no kernel."""

import base64
import io

import jupyter_lab
import nbformat
import numpy as np
import pytest
import soundfile
from nbclient import NotebookClient

from speechlib import corpus, viz

pytestmark = pytest.mark.browser
COMMANDS = ["import speechlib as sl", "sl.viz.view(sl.corpus.commands('test'))"]
NUMBER = ["import speechlib as sl", "sl.viz.view(sl.corpus.numbers('test')[20])"]
CONVERSATION = ["import speechlib as sl", "sl.viz.view(sl.corpus.conversations('test'), 4)"]
ROOT = ".speechlib-corpus"


def state(page, name):
    return page.locator(ROOT).get_attribute(f"data-{name}")


def wait_state(page, name, value):
    page.wait_for_function(
        f"([n, v]) => document.querySelector('{ROOT}').dataset[n] === v", arg=[name, value])


def after(page, act):
    """Do it, wait until the next sound plays, give what is played."""
    plays = int(state(page, "plays") or 0)
    act()
    wait_state(page, "plays", str(plays + 1))
    return np.array(page.evaluate(
        f"() => Array.from(document.querySelector('{ROOT}').heard)"), dtype="f4")


def same(sound, one, start=0, end=None):
    """Is it that stretch of what the page was sent, to the sample?"""
    sent, _ = soundfile.read(io.BytesIO(base64.b64decode(viz.view(one).shown["audio"])))
    sent = sent[:len(one.wave())]
    expected = viz.hear_span(sent, start, end or len(sent) / 16000)
    return len(sound) == len(expected) and np.corrcoef(sound, expected)[0, 1] > 0.999


def piece(page, lane, index):
    return page.locator(f"{ROOT} .lane").nth(lane).locator("button").nth(index)


def focused(page):
    return page.evaluate("() => document.activeElement.getAttribute('aria-label')")


def test_a_click_plays_exactly_that_stretch(open_notebook):
    page = open_notebook(COMMANDS)
    one = corpus.commands("test")[0]
    for lane, spans in enumerate((one.words, one.phones)):
        label, start, end = spans[2]
        sound = after(page, piece(page, lane, 2).click)
        assert same(sound, one, start, end)
        status = page.locator(f"{ROOT} [role=status]").inner_text()
        assert f"“{label}”: {start:.2f} to {end:.2f} s" in status
    wait_state(page, "playing", "no")  # by itself, at the end of the phone
    assert page.locator(f"{ROOT} .lane [aria-pressed=true]").all_inner_texts() == [one.phones[2][0]]


def test_the_playhead_moves_on_the_same_axis_as_the_words(open_notebook):
    page = open_notebook(COMMANDS)
    one = corpus.commands("test")[0]
    after(page, page.get_by_role("button", name="Play all").click)
    page.wait_for_function(f"() => Number(document.querySelector('{ROOT}').dataset.playhead) > .3")
    at, left, time, word = page.evaluate(f"""() => {{
        const root = document.querySelector('{ROOT}');
        const box = (name) => root.querySelector(name).getBoundingClientRect();
        return [Number(root.dataset.playhead), box('.playhead').left + 1, box('.time'),
                box('.lane .piece')]; }}""")
    scale = one.duration_s / time["width"]
    assert (left - time["left"]) * scale == pytest.approx(at, abs=0.02)
    assert (word["left"] - time["left"]) * scale == pytest.approx(one.words[0][1], abs=0.01)
    assert word["width"] * scale == pytest.approx(one.words[0][2] - one.words[0][1], abs=0.01)
    assert page.locator(f"{ROOT} canvas").bounding_box()["width"] == pytest.approx(time["width"])
    page.get_by_role("button", name="Stop").click()
    wait_state(page, "playing", "no")
    assert page.locator(f"{ROOT} .playhead").is_hidden()


def test_a_click_in_the_wave_plays_from_there(open_notebook):
    page = open_notebook(COMMANDS)
    one = corpus.commands("test")[0]
    canvas = page.locator(f"{ROOT} canvas")
    sound = after(page, lambda: canvas.click(
        position={"x": canvas.bounding_box()["width"] / 2, "y": 30}))
    start = float(state(page, "from"))
    assert start == pytest.approx(one.duration_s / 2, abs=0.02)
    assert same(sound, one, start)


def test_by_keyboard_alone(open_notebook):
    page = open_notebook(COMMANDS)
    one = corpus.commands("test")[0]
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    piece(page, 0, 0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert focused(page) == "garden, 0.96 to 1.80 seconds"
    page.keyboard.press("ArrowDown")  # the phone nearest in time
    assert focused(page).startswith("d, 1.3")
    page.keyboard.press("ArrowUp")
    sound = after(page, lambda: page.keyboard.press("Enter"))
    assert same(sound, one, *one.words[2][1:])
    page.keyboard.press("Escape")
    wait_state(page, "playing", "no")
    sound = after(page, lambda: page.keyboard.press("Shift+Enter"))
    assert len(sound) == len(one.wave()) - round(one.words[2][1] * 16000)
    page.keyboard.press("Space")
    wait_state(page, "playing", "no")
    sound = after(page, lambda: page.keyboard.press("Space"))
    assert same(sound, one)
    page.keyboard.press("Space")
    wait_state(page, "playing", "no")
    page.keyboard.press("End")
    assert focused(page).startswith("door")
    page.keyboard.press("Shift+Tab")  # the pieces are one stop
    assert not (focused(page) or "").endswith("seconds")
    for key in ("b", "a", "d", "d"):  # JupyterLab's commands, were they not held off
        page.keyboard.press(key)
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells


def test_the_drop_down_shows_another(open_notebook):
    page = open_notebook(COMMANDS)
    page.wait_for_function(f"() => document.querySelectorAll('{ROOT} option').length === 72")
    after(page, page.get_by_role("button", name="Play all").click)
    page.locator(f"{ROOT} select").select_option("7")
    wait_state(page, "index", "7")
    assert state(page, "playing") == "no"  # the old one does not go on
    one = corpus.commands("test")[7]
    assert one.text in page.locator(f"{ROOT} .text").inner_text()
    words = page.locator(f"{ROOT} .lane").first.locator("button").all_inner_texts()
    assert words == [word for word, _, _ in one.words]
    sound = after(page, piece(page, 0, 1).click)
    assert same(sound, one, *one.words[1][1:])


def test_a_number_shows_its_german_and_needs_no_drop_down(open_notebook):
    page = open_notebook(NUMBER)
    assert page.locator(f"{ROOT} [lang=de]").inner_text() == "einundachtzig"
    assert page.locator(f"{ROOT} select").is_hidden()
    page.locator(f"{ROOT} summary").click()
    assert page.locator(f"{ROOT} table").inner_text().split("\n")[1].split() == [
        "eighty", "0.08", "0.45", "eI", "t", "i"]
    assert "“eighty” 0.08 to 0.45 s" in page.locator(f"{ROOT} canvas").get_attribute("aria-label")


def test_a_conversation_shows_who_speaks_when(open_notebook):
    page = open_notebook(CONVERSATION)
    one = corpus.conversations("test")[4]
    assert page.locator(f"{ROOT} .names div").all_inner_texts() == [
        "wave", "mel", "A speaks", "A words", "A phones", "B speaks", "B words", "B phones"]
    assert f"A: {one.turns[0][0]}" in page.locator(f"{ROOT} .text").inner_text()
    voice, start, end = one.turns[1]
    assert voice != one.turns[0][0]
    sound = after(page, piece(page, 3, 0).click)
    assert same(sound, one, start, end)
    assert "turn of B “close the gate”" in page.locator(f"{ROOT} [role=status]").inner_text()
    page.get_by_role("button", name="Zoom in").click()
    wait_state(page, "zoom", "2")
    scroll = page.locator(f"{ROOT} .scroll")
    assert scroll.evaluate("e => e.scrollWidth / e.clientWidth") == pytest.approx(2, abs=0.01)
    piece(page, 3, 0).focus()
    page.keyboard.press("End")  # a piece outside the window comes into it
    assert scroll.evaluate("e => e.scrollLeft") > 0


def test_a_saved_notebook_shows_it_without_a_kernel(open_notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(jupyter_lab.ROOT))
    book = jupyter_lab.new_notebook(NUMBER)
    NotebookClient(book, kernel_name="python3", store_widget_state=False).execute()
    path = tmp_path / "saved.ipynb"
    nbformat.write(book, path)
    assert path.stat().st_size < 60_000
    page = open_notebook(path, run=False)
    assert "“eighty” 0.08 to 0.45 s" in page.locator(
        "img.speechlib-picture").get_attribute("alt")
    assert "eI t i" in page.locator(".jp-OutputArea table").text_content()
    page.wait_for_function(
        "() => Math.abs(document.querySelector('.jp-OutputArea audio').duration - .87) < .05")


@pytest.mark.parametrize("dark", [False, True])
def test_both_themes_are_legible(open_notebook, tmp_path, dark):
    page = open_notebook(CONVERSATION)
    jupyter_lab.set_theme(page, dark)
    page.screenshot(path=tmp_path / f"{'dark' if dark else 'light'}.png")
    for what in (".piece", ".text", ".keys", ".names div", ".axis span", "summary", ".play"):
        element = page.locator(f"{ROOT} {what}").first
        assert element.evaluate(jupyter_lab.CONTRAST) >= 4.5, what
