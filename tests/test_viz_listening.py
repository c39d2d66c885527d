"""What one hears: timing kept, never louder than the recording, small in the notebook."""

import io
import re

import numpy as np
import pytest
import soundfile

from speechlib import viz
from speechlib.viz import listening

RATE = 16000
WAVE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)


def test_hear_row_keeps_timing_and_is_never_louder():
    rng = np.random.default_rng(1)
    row = rng.dirichlet(np.ones(150))  # as padded: three seconds of frames for two of sound
    heard = viz.hear_row(WAVE, row)
    assert heard.shape == WAVE.shape and heard.dtype == np.float32
    assert (np.abs(heard) <= np.abs(WAVE) + 1e-7).all()


def test_hear_row_lets_through_what_the_row_names():
    row = np.zeros(100)
    row[50] = 0.7  # one frame, at 1.00 s
    gain = listening.row_gain(row, len(WAVE))
    assert gain.max() == pytest.approx(gain[RATE], abs=0.02) and gain[RATE] > 0.8
    centre = (gain * np.arange(len(gain))).sum() / gain.sum() / RATE
    assert centre == pytest.approx(1.0, abs=0.001)
    loud = np.nonzero(gain > 1e-3)[0] / RATE
    assert loud.min() > 0.97 and loud.max() < 1.03  # its hop of 20 ms on each side, and 5 ms


def test_the_frame_rate_matters():
    row = np.zeros(200)
    row[50] = 1
    at_20_ms, at_10_ms = (int(np.argmax(listening.row_gain(row, len(WAVE), hop_s=h)))
                          for h in (0.02, 0.01))
    assert at_20_ms / RATE == pytest.approx(1.0, abs=0.002)
    assert at_10_ms / RATE == pytest.approx(0.5, abs=0.002)


def test_a_flat_row_leaves_the_sound_alone_and_an_empty_one_is_silent():
    assert np.allclose(viz.hear_row(WAVE, np.full(200, 0.005)), WAVE, atol=1e-6)
    assert not viz.hear_row(WAVE, np.zeros(200)).any()


def test_smoothing_leaves_no_steps():
    row = np.zeros(100)
    row[40:60] = 1
    assert np.abs(np.diff(listening.row_gain(row, len(WAVE)))).max() < 0.02


def test_hear_span():
    heard = viz.hear_span(WAVE, 0.5, 0.75)
    assert len(heard) == RATE // 4 and heard[0] == pytest.approx(0, abs=0.01)
    middle = slice(200, -200)
    assert np.array_equal(heard[middle], WAVE[RATE // 2:RATE * 3 // 4][middle])
    assert len(viz.hear_span(WAVE, 1.9, 5.0)) == RATE // 10  # to the end of the recording


@pytest.mark.parametrize("bad, message", [
    (lambda: viz.hear_row(WAVE, np.array([-1.0, 2.0])), "before the softmax"),
    (lambda: viz.hear_row(WAVE, np.ones((3, 4))), "(frames,)"),
    (lambda: viz.hear_row(WAVE[None], np.ones(4)), "mono"),
    (lambda: viz.hear_row((WAVE * 3e4).astype(np.int16), np.ones(4)), "32768"),
    (lambda: viz.hear_row(WAVE * np.nan, np.ones(4)), "NaN"),
    (lambda: viz.hear_span(WAVE, 1.0, 1.0), "nothing between"),
    (lambda: viz.Player(WAVE, " "), "label"),
])
def test_wrong_input_is_named(bad, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        bad()


def test_a_player_is_small_labelled_and_in_time():
    player = viz.Player(WAVE, "a <tone>")
    html = player._repr_html_()
    assert 'aria-label="a &lt;tone&gt; (2.0 s)"' in html and "<audio controls" in html
    assert len(html) < 2 * 8000
    clicks = np.zeros(RATE, np.float32)
    clicks[4000], clicks[12000] = 0.9, -0.9
    data, kind = listening.encode(clicks)
    decoded, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == RATE and kind in ("audio/mpeg", "audio/wav")
    assert np.argmax(decoded) == pytest.approx(4000, abs=2)
    assert np.argmin(decoded) == pytest.approx(12000, abs=2)
    assert listening.encode(WAVE[:50])  # very short sounds can be played, too
