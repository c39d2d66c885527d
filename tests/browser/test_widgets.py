"""The listening map and the head picker in a real JupyterLab: click, keys, themes, no kernel."""

import json

import jupyter_lab
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from speechlib import viz

pytestmark = pytest.mark.browser
DATA = """\
import numpy as np
from speechlib import viz
time = np.arange(32000) / 16000
wave = (0.4 * np.sin(2 * np.pi * 300 * time) * (1 + np.sin(2 * np.pi * 4 * time)) / 2).astype("f4")
mel = np.random.default_rng(0).random((80, 300))
frames = np.arange(150)
rows = np.stack([np.exp(-((frames - centre) / 6.0) ** 2) for centre in (20, 50, 80)])
rows /= rows.sum(1, keepdims=True)
"""
MAP = [DATA, "viz.ListenMap(wave, mel, [('one', .3, .5), ('two', .9, 1.1), 'six'], rows)"]
PICKER = [DATA, """\
heads = np.random.default_rng(0).dirichlet(np.ones(40), (1, 4, 40))
viz.pick_head({f'encoder.blocks.{i}.self_attention.weights': heads ** (i + 1) for i in range(3)},
              query_time=viz.WHISPER_ENCODER, key_time=viz.WHISPER_ENCODER)"""]


def computed():
    """The same wave and rows as in the notebook."""
    names = {}
    exec(DATA, names)
    return names["wave"], names["rows"]


def heard(page):
    return np.array(page.evaluate(
        "() => Array.from(document.querySelector('.speechlib-listen-map').heard)"), dtype="f4")


def state(page, name):
    return page.locator(".speechlib-listen-map").get_attribute(f"data-{name}")


def wait_state(page, name, value):
    page.wait_for_function(
        "([n, v]) => document.querySelector('.speechlib-listen-map').dataset[n] === v",
        arg=[name, value])


def test_a_click_on_a_word_plays_its_row_and_nothing_else(open_notebook):
    page = open_notebook(MAP)
    wave, rows = computed()
    page.evaluate("""() => { // every place of the playhead, from now on
        const map = document.querySelector('.speechlib-listen-map');
        map.places = [];
        new MutationObserver(() => { if (map.dataset.playhead) map.places.push(
            Number(map.dataset.playhead)); }).observe(map, {attributeFilter: ['data-playhead']}); }
        """)
    page.get_by_role("button", name="two", exact=True).click()
    wait_state(page, "plays", "1")
    sound, expected = heard(page), viz.hear_row(wave, rows[1])
    assert len(sound) == len(wave)
    # the page's sound went through MP3; its envelope is the row's all the same
    assert np.corrcoef(sound, expected)[0, 1] > 0.99
    outside = np.r_[0:int(0.7 * 16000), int(1.3 * 16000):len(wave)]
    assert (sound[outside] ** 2).sum() < 0.01 * (sound ** 2).sum()
    status = page.locator(".speechlib-listen-map [role=status]").inner_text()
    assert "“two” listened most at 1.00 s" in status
    wait_state(page, "playing", "no")  # by itself, at the end
    places = page.evaluate("() => document.querySelector('.speechlib-listen-map').places")
    assert len(set(places)) > 2 and places == sorted(places) and max(places) <= 2, places
    page.get_by_role("button", name="the whole recording").click()
    wait_state(page, "plays", "2")
    assert np.corrcoef(heard(page), wave)[0, 1] > 0.99


COUNT_SOUNDS = """() => { // the sounds that play now
    window.sounding = new Set();
    const { start, stop } = AudioBufferSourceNode.prototype;
    AudioBufferSourceNode.prototype.start = function () {
        window.sounding.add(this);
        this.addEventListener('ended', () => window.sounding.delete(this));
        start.call(this); };
    AudioBufferSourceNode.prototype.stop = function () {
        window.sounding.delete(this); stop.call(this); }; }"""


def test_a_double_click_plays_one_sound_that_stop_ends(open_notebook):
    page = open_notebook(MAP)
    page.evaluate(COUNT_SOUNDS)
    page.get_by_role("button", name="two", exact=True).evaluate(
        "word => { word.click(); word.click(); }")
    wait_state(page, "playing", "yes")
    page.wait_for_timeout(300)  # time for a second one
    assert page.evaluate("() => window.sounding.size") == 1
    page.get_by_role("button", name="stop").click()
    wait_state(page, "playing", "no")
    assert page.evaluate("() => window.sounding.size") == 0
    assert page.evaluate("""async () => { // times the map was painted since
        let paints = 0;
        new MutationObserver((changes) => { paints += changes.length; }).observe(
            document.querySelector('.speechlib-listen-map'), {attributeFilter: ['data-playhead']});
        await new Promise((done) => setTimeout(done, 300));
        return paints; }""") == 0


def test_the_map_itself_can_be_clicked(open_notebook):
    page = open_notebook(MAP)
    canvas = page.locator(".speechlib-listen-map canvas")
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] * 0.88 - 8})
    wait_state(page, "plays", "1")
    assert state(page, "chosen") == "2"


def test_the_map_by_keyboard_alone(open_notebook):
    page = open_notebook(MAP)
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    word = page.get_by_role("button", name="one", exact=True)
    word.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_state(page, "chosen", "2")
    wait_state(page, "plays", "1")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    wait_state(page, "chosen", "1")
    pressed = page.locator(".speechlib-listen-map [aria-pressed=true]")
    assert pressed.all_inner_texts() == ["two"]
    for key in ("b", "a", "d", "d"):  # JupyterLab's commands, were they not held off
        page.keyboard.press(key)
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells


def test_gain_in_the_page_is_that_of_python(open_notebook):
    page = open_notebook(MAP)
    wave, rows = computed()
    whole, part = [], []
    for name, into in (("the whole recording", whole), ("six", part)):
        before = int(state(page, "plays") or 0)
        page.get_by_role("button", name=name).click()
        wait_state(page, "plays", str(before + 1))
        into.append(heard(page))
    from speechlib.viz.listening import row_gain

    difference = part[0] - whole[0] * row_gain(rows[2], len(wave))
    assert np.abs(difference).max() < 1e-5


def test_a_saved_notebook_shows_and_plays_without_a_kernel(open_notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(jupyter_lab.ROOT))
    book = jupyter_lab.new_notebook(MAP)
    NotebookClient(book, kernel_name="python3", store_widget_state=False).execute()
    path = tmp_path / "saved.ipynb"
    nbformat.write(book, path)
    assert path.stat().st_size < 100_000
    page = open_notebook(path, run=False)
    assert "“two” at 1.00 s" in page.locator("img.speechlib-picture").get_attribute("alt")
    players = page.locator(".jp-OutputArea audio")
    # JupyterLab strips aria-label from outputs that it does not trust yet; the title stays
    assert [players.nth(i).get_attribute("title")[:14] for i in range(4)] == [
        "the whole reco", "what “one” lis", "what “two” lis", "what “six” lis"]
    page.wait_for_function("() => [...document.querySelectorAll('.jp-OutputArea audio')]"
                           ".every(audio => Math.abs(audio.duration - 2) < 0.05)")


def picture(page):
    return page.locator("img.speechlib-picture").get_attribute("src")


def wait_new_picture(page, old):
    page.wait_for_function(
        "old => document.querySelector('img.speechlib-picture').src !== old", arg=old)
    return picture(page)


def test_the_picker_changes_the_picture(open_notebook):
    page = open_notebook(PICKER)
    selects = page.locator(".jp-OutputArea select")
    first = picture(page)
    selects.nth(0).select_option("encoder.blocks.2.self_attention.weights")
    second = wait_new_picture(page, first)
    assert "blocks.2" in page.locator("img.speechlib-picture").get_attribute("alt")
    selects.nth(1).focus()
    page.keyboard.press("ArrowDown")  # by keyboard alone, and JupyterLab does not take the key
    third = wait_new_picture(page, second)
    assert "head 1" in page.locator("img.speechlib-picture").get_attribute("alt")
    selects.nth(2).select_option("log")
    wait_new_picture(page, third)
    assert "log scale" in page.locator("img.speechlib-picture").get_attribute("alt")


@pytest.mark.parametrize("dark", [False, True])
def test_both_themes_are_legible(open_notebook, tmp_path, dark):
    page = open_notebook([*MAP, "viz.Recorder(voices=[('a tone', wave)])", PICKER[1],
                          "viz.play(wave, 'a tone')\nviz.plot_waveform(wave)"])
    jupyter_lab.set_theme(page, dark)
    page.screenshot(path=tmp_path / f"{'dark' if dark else 'light'}.png")
    texts = page.locator(".speechlib-widget button:enabled, .speechlib-widget [role=status], "
                         ".speechlib-widget label, .speechlib-widget select, "
                         ".jp-OutputArea select, .speechlib-player > div")
    assert texts.count() >= 12
    for i in range(texts.count()):
        element = texts.nth(i)
        assert element.evaluate(jupyter_lab.CONTRAST) >= 4.5, element.inner_text()
    pictures = page.locator("img.speechlib-picture")
    assert pictures.count() == 2
    for i in range(2):
        assert len(pictures.nth(i).get_attribute("alt")) > 30
        assert pictures.nth(i).evaluate("e => getComputedStyle(e).backgroundColor") == (
            "rgb(255, 255, 255)")


def test_saved_pictures_and_players_keep_their_texts_in_an_untrusted_notebook(
        open_notebook, tmp_path):
    drawn = viz.plot_attention(np.eye(9))
    html = {"text/html": drawn._repr_mimebundle_()["text/html"]}, {
        "text/html": viz.Player(computed()[0], "a tone")._repr_html_()}
    book = jupyter_lab.new_notebook([""])
    book.cells[0].outputs = [nbformat.v4.new_output("display_data", data=data) for data in html]
    path = tmp_path / "untrusted.ipynb"
    nbformat.write(book, path)
    page = open_notebook(path, run=False)
    image = page.locator(".jp-OutputArea img")
    assert image.get_attribute("alt") == drawn.alt
    page.wait_for_function("() => { const image = document.querySelector('.jp-OutputArea img');"
                           " return image.complete && image.naturalWidth > 100; }")
    audio = page.locator(".jp-OutputArea audio")
    assert audio.get_attribute("title") == "a tone (2.0 s)"  # aria-label is stripped, title stays
    page.wait_for_function("() => document.querySelector('.jp-OutputArea audio').duration > 1.9")
    assert json.loads(path.read_text("utf-8"))["cells"]
