"""Widgets without a browser: what Python keeps, what a saved notebook shows."""

import json
import re

import numpy as np
import pytest

from speechlib import viz
from speechlib.viz.widgets.keyboard import KeyboardGuard
from speechlib.viz.widgets.recorder import to_16_khz

RATE = 16000
WAVE = (0.3 * np.sin(2 * np.pi * 300 * np.arange(2 * RATE) / RATE)).astype(np.float32)
MEL = np.random.default_rng(0).normal(size=(80, 300))
ROWS = np.random.default_rng(1).dirichlet(np.ones(150), 3)
VIEW = "application/vnd.jupyter.widget-view+json"


def a_map():
    return viz.ListenMap(WAVE, MEL, [("one", 0.1, 0.4), ("two", 0.5, 0.9), ("six", 1, 1.5)], ROWS)


def a_picker():
    return viz.pick_head({"blocks.0.self_attention.weights": ROWS[None, None].repeat(4, 1),
                          "blocks.1.self_attention.weights": ROWS[None, None].repeat(2, 1)},
                         key_time=viz.WHISPER_ENCODER)


PICKERS = {
    "pick_head": a_picker, "pick_masks": viz.pick_masks,
    "pick_position": lambda: viz.pick_position({"table": np.eye(4)}),
    "pick_step": lambda: viz.pick_step(["", "a"], np.eye(2), ROWS[:2], names=["a", "b"]),
}  # fmt: skip


def test_every_picker_keeps_its_keys_from_jupyterlab():
    assert set(PICKERS) == {name for name in dir(viz) if name.startswith("pick_")}
    for name, make in PICKERS.items():
        assert any(isinstance(child, KeyboardGuard) for child in make().children), name


def test_the_saved_recorder_reads_well():
    for voices in ((), [("a tone", WAVE)]):
        text = str(viz.Recorder(voices=voices)._repr_mimebundle_())
        assert "press Record and speak, load a sound file" in text


@pytest.mark.parametrize("make", [viz.Recorder, a_map, a_picker,
                                  lambda: viz.Recorder().then(print)])
def test_a_saved_notebook_shows_something_without_widgets(make):
    data, _ = make()._repr_mimebundle_()
    assert VIEW in data
    assert "<" in data["text/html"] and len(data["text/plain"]) > 20
    assert len(json.dumps(data)) < 90_000
    assert all(re.search('alt="[^"]+"', tag) for tag in re.findall("<img[^>]*>", data["text/html"]))


@pytest.mark.parametrize("make", [viz.Recorder, a_map])
def test_saved_state_is_small_and_not_binary(make):
    state = make().get_state()
    assert len(json.dumps(state)) < 60_000  # would raise on bytes


def test_the_map_knows_its_words():
    one = a_map()
    assert one.words == ["one", "two", "six"] and one.spans[1] == [0.5, 0.9]
    assert np.array_equal(one.heard(1), viz.hear_row(WAVE, ROWS[1]))
    assert "padding" in one.readings[0] and "“one”" in one.readings[0]
    data, _ = one._repr_mimebundle_()
    assert data["text/html"].count("<audio") == 4
    with pytest.raises(ValueError, match="2 words, 3 rows"):
        viz.ListenMap(WAVE, MEL, ["one", "two"], ROWS)


def test_the_recorder_starts_with_a_bundled_voice():
    recorder = viz.Recorder(voices=[("a tone", WAVE), ("half", WAVE / 2)])
    assert recorder.source == "a tone" and np.array_equal(recorder.wave, WAVE)
    with pytest.raises(ValueError, match="press Record"):
        _ = viz.Recorder().wave
    with pytest.raises(ValueError, match="0.5 to 30"):
        viz.Recorder(max_seconds=500)


def test_the_recorder_takes_what_the_page_sends():
    got = []
    recorder = viz.Recorder(voices=[("a tone", WAVE)], on_wave=got.append)
    high = np.sin(2 * np.pi * 440 * np.arange(48000) / 48000).astype("<f4")
    recorder._receive(None, {"type": "wave", "rate": 48000, "source": "microphone"},
                      [memoryview(high.tobytes())])
    assert recorder.source == "microphone" and recorder.wave.dtype == np.float32
    assert len(recorder.wave) == RATE and got[0] is recorder.wave
    spectrum = np.abs(np.fft.rfft(recorder.wave))
    assert np.argmax(spectrum) == 440
    recorder._receive(None, {"type": "voice", "index": 0}, [])
    assert recorder.source == "a tone" and len(got) == 2


def test_resampling_lets_nothing_fold_down():
    above = np.sin(2 * np.pi * 11000 * np.arange(48000) / 48000)  # would fold to 5 kHz
    assert np.abs(to_16_khz(above, 48000)[500:-500]).max() < 0.01


def test_a_callback_that_fails_is_told_to_the_page():
    sent = []
    recorder = viz.Recorder(voices=[("a tone", WAVE)], on_wave=lambda wave: 1 / 0)
    recorder.send = lambda content, buffers=None: sent.append(content)
    with pytest.raises(ZeroDivisionError):
        recorder._receive(None, {"type": "voice", "index": 0}, [])
    assert sent[-1]["type"] == "error" and "ZeroDivisionError" in sent[-1]["text"]


def test_the_picker_follows_its_choices():
    picker = a_picker()
    first = picker.picture.value
    assert "head 0" in picker.alt
    picker.head.value = 3
    assert picker.picture.value != first and "head 3" in picker.alt
    picker.layer.value = "blocks.1.self_attention.weights"  # has two heads only
    assert "blocks.1" in picker.alt and picker.head.value == 0 and len(picker.head.options) == 2
    picker.scale.value = "log"
    assert "log scale" in picker.alt
    with pytest.raises(ValueError, match="trace"):
        viz.pick_head({})
