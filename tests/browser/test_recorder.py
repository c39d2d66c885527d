"""The recorder in a real JupyterLab, with Chromium's fake microphone playing a known sound."""

import contextlib
import re
import time

import jupyter_lab
import nbformat
import numpy as np
import pytest
import soundfile
import soxr

from speechlib.paths import data_folder

pytestmark = pytest.mark.browser
RATE = 16000
NOTEBOOK = ["""\
import numpy as np
from speechlib import viz
tone = (0.3 * np.sin(np.arange(16000) / 8)).astype("f4")
def keep(wave):
    np.save("wave.npy", wave)
    return f"heard {len(wave) / 16000:.2f} seconds"
recorder = viz.Recorder(voices=[("a tone", tone), ("a quiet tone", tone / 100)], max_seconds=3)
recorder.then(keep)"""]


def spoken():
    """(samples,) at 16 kHz: an utterance of the corpus, or a sound like one where there is none."""
    manifest = data_folder() / "digits" / "manifest.jsonl"
    if manifest.exists():
        from speechlib import corpus

        return corpus.digits("test")[0].wave()
    time = np.arange(2 * RATE) / RATE
    pitch = 2 * np.pi * np.cumsum(140 + 40 * np.sin(5 * time)) / RATE
    voice = sum(np.sin(k * pitch) / k for k in range(1, 12))
    return (0.25 * voice * np.clip(np.sin(2 * np.pi * 1.5 * time), 0, 1)).astype(np.float32)


@pytest.fixture(scope="session")
def fake_microphone_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    soundfile.write(path, soxr.resample(spoken(), RATE, 48000), 48000, subtype="PCM_16")
    return path


def root(page):
    return page.locator(".speechlib-recorder")


def wait_state(page, state):
    try:
        page.wait_for_function(
            "s => document.querySelector('.speechlib-recorder')?.dataset.state === s", arg=state)
    except Exception:
        raise AssertionError(f"not {state} but {root(page).get_attribute('data-state')}: "
                             f"{status(page)}") from None


def status(page):
    return root(page).locator("[role=status]").inner_text()


def kept(lab, page):
    """What Python holds: each recording is taken away, so that none is found twice."""
    path, end = lab[2] / "wave.npy", time.monotonic() + jupyter_lab.PATIENCE_S
    while time.monotonic() < end:
        if path.exists() and page.get_by_text(re.compile("^'heard [0-9.]+ seconds'$")).count():
            with contextlib.suppress(ValueError, EOFError):  # not written to its end yet
                wave = np.load(path)
                path.unlink()
                return wave
        page.wait_for_timeout(100)
    raise AssertionError(f"no recording arrived in Python: {status(page)}")


def likeness(wave, played):
    """(correlation, gain) of a recording with the sound that the microphone repeats.

    Piece by piece: Chromium's fake microphone loses some milliseconds each time it starts again.
    """
    loop, size = np.tile(played, 3), RATE // 5
    energy = np.convolve(loop ** 2, np.ones(size), "valid")
    found = []
    for start in range(0, len(wave) - size + 1, size):
        piece = wave[start:start + size]
        if np.abs(piece).max() > 0.1 * np.abs(wave).max():
            cross = np.correlate(loop, piece, "valid")
            best = int(np.argmax(cross / np.sqrt(energy + 1e-3)))
            found.append((cross[best], np.linalg.norm(piece), np.sqrt(energy[best])))
    cross, ours, theirs = np.array(found).T
    assert len(found) >= 3
    return float((cross / ours / theirs).mean()), float(ours.sum() / theirs.sum())


def test_the_recorded_wave_is_what_the_microphone_heard(open_notebook, lab):
    page = open_notebook([NOTEBOOK[0].replace("max_seconds=3", "max_seconds=20")])
    assert root(page).get_attribute("data-state") == "idle"
    record = page.get_by_role("button", name="Record")
    record.focus()
    page.keyboard.press("Enter")  # by keyboard alone
    wait_state(page, "recording")
    page.wait_for_function("""() => { // the level moves while the clock runs
        const box = document.querySelector('.speechlib-recorder');
        const level = box.querySelector('meter').value.toFixed(3);
        window.levels = (window.levels ?? new Set()).add(level);
        return window.levels.size > 5 && Math.max(...window.levels) > 0.2
            && Number(/([\\d.]+) s of 20 s/.exec(box.innerText)?.[1]) >= 2; }""")
    page.keyboard.press("Enter")
    wait_state(page, "done")
    assert "microphone" in status(page)
    wave = kept(lab, page)
    assert wave.dtype == np.float32 and 1.9 < len(wave) / RATE <= 20
    alike, gain = likeness(wave, spoken())
    assert alike > 0.95, alike
    assert 0.8 < gain < 1.25, gain
    player = root(page).locator("audio")
    assert player.get_attribute("aria-label") == "microphone"
    page.wait_for_function("n => Math.abs(document.querySelector('.speechlib-recorder audio')"
                           ".duration - n) < 0.1", arg=len(wave) / RATE)


def test_recording_stops_by_itself_and_can_be_repeated(open_notebook, lab):
    page = open_notebook(NOTEBOOK)
    for _ in range(2):
        page.get_by_role("button", name="Record").click()
        wait_state(page, "done")
        assert len(kept(lab, page)) == 3 * RATE


def test_too_short_is_said(open_notebook):
    page = open_notebook(NOTEBOOK)
    page.evaluate("""() => { // two clicks with as little between them as can be
        const box = document.querySelector('.speechlib-recorder');
        new MutationObserver((_, watch) => { if (box.dataset.state === 'recording') {
            watch.disconnect(); box.querySelector('.record').click(); } })
            .observe(box, {attributes: true});
        box.querySelector('.record').click(); }""")
    wait_state(page, "error")
    assert "too short" in status(page)


def test_a_microphone_allowed_after_the_cell_was_run_again_is_let_go(open_notebook):
    page = open_notebook([NOTEBOOK[0].replace("max_seconds=3", "max_seconds=30")])
    page.evaluate("""() => { // the browser asks until allow() is called
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => {
            await new Promise((allowed) => { window.allow = allowed; });
            return (window.stream = await ask(wanted)); }; }""")
    page.get_by_role("button", name="Record").click()
    wait_state(page, "asking")
    jupyter_lab.run_all(page)
    wait_state(page, "idle")  # another recorder stands there
    page.evaluate("() => window.allow()")
    page.wait_for_function("() => window.stream?.getTracks().every(t => t.readyState === 'ended')",
                           timeout=15000)  # half of what a recording may last
    assert root(page).get_attribute("data-state") == "idle"


def test_a_bundled_voice_and_a_file_do_without_a_microphone(open_notebook, lab, tmp_path):
    page = open_notebook(NOTEBOOK)
    page.get_by_label("or a computer voice").select_option("a quiet tone")
    page.get_by_role("button", name="Use this voice").click()
    wait_state(page, "done")
    assert "a quiet tone" in status(page) and "very quiet" in status(page)
    assert len(kept(lab, page)) == RATE
    stereo = np.stack([spoken(), spoken()], 1)[:RATE * 2]
    soundfile.write(tmp_path / "mine.wav", soxr.resample(stereo, RATE, 44100), 44100)
    page.get_by_label("or a sound file").set_input_files(tmp_path / "mine.wav")
    page.wait_for_function(
        "() => document.querySelector('.speechlib-recorder').dataset.source === 'mine.wav'")
    alike, gain = likeness(kept(lab, page), spoken())
    assert alike > 0.95 and 0.9 < gain < 1.1
    (tmp_path / "poem.mp3").write_text("not a sound")
    page.get_by_label("or a sound file").set_input_files(tmp_path / "poem.mp3")
    wait_state(page, "error")
    assert "poem.mp3 is not a sound file" in status(page)


@contextlib.contextmanager
def page_in_another_browser(lab, driver, flags):
    nbformat.write(jupyter_lab.new_notebook(NOTEBOOK), lab[2] / "other.ipynb")
    with jupyter_lab.chromium(flags, driver) as browser:
        yield jupyter_lab.open_notebook(browser.new_page(), lab, "other.ipynb")


def try_to_record(page):
    page.get_by_role("button", name="Record").click()
    wait_state(page, "error")
    assert page.get_by_role("button", name="Record").is_enabled()  # one can try again
    return status(page)


@pytest.mark.parametrize("flags, message", [
    (["--use-fake-device-for-media-stream", "--deny-permission-prompts"], "not allowed"),
    (["--use-fake-ui-for-media-stream"], "No microphone was found"),
])
def test_what_is_wrong_is_said(lab, driver, flags, message):
    with page_in_another_browser(lab, driver, flags) as page:
        assert message in try_to_record(page)


def test_a_muted_microphone_is_said(lab, driver, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(48000), 48000)
    flags = jupyter_lab.fake_microphone(tmp_path / "silence.wav")
    with page_in_another_browser(lab, driver, flags) as page:
        assert "Only silence" in try_to_record(page)


def test_the_comparison_tells_another_sound_apart():
    assert likeness(spoken(), spoken())[0] > 0.999
    assert likeness(spoken()[::-1].copy(), spoken())[0] < 0.9
    assert likeness(np.repeat(spoken(), 2), spoken())[0] < 0.9  # as if the rate were wrong
