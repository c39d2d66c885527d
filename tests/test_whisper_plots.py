"""The pictures of lesson 09: shapes, alt text, the slider over the steps of writing."""

import numpy as np
import pytest

from speechlib import viz
from speechlib.viz.display import alt_of


def test_stages_name_shapes_and_the_time_of_a_frame():
    rng = np.random.default_rng(0)
    stages = {
        "mel": (rng.normal(size=(8, 60)), viz.WHISPER_MEL),
        "memory": (rng.normal(size=(4, 30)), viz.WHISPER_ENCODER),
    }
    drawn = viz.plot_stages(stages, seconds=0.5)
    assert "mel, 8 features by 60 frames of 10 ms" in drawn.alt
    assert "memory, 4 features by 30 frames of 20 ms" in drawn.alt


def test_changes_leave_nothing_of_what_is_constant_in_time():
    stages = {
        "still": (np.repeat([[3.0], [-1.0]], 20, axis=1), viz.WHISPER_ENCODER),
        "moving": (np.sin(np.arange(40.0)).reshape(2, 20), viz.WHISPER_ENCODER),
    }
    drawn = viz.plot_stages(stages, changes=True)
    still, moving = (one.get_array() for one in drawn)
    assert np.abs(still).max() == 0 < np.abs(moving).max()
    assert "still, 2 features by 20 frames of 20 ms, spread over time 0.00" in drawn.alt


def test_step_picker_moves_and_says_where_it_is():
    chances = np.array([[0.9, 0.1], [0.2, 0.8]])
    rows = np.eye(10)[[2, 7]]
    picker = viz.pick_step(["(nothing yet)", "one"], chances, rows, names=["one", "<|end|>"])
    assert "likeliest next token: one, 90%" in picker.alt.lower()
    picker.step.value = 2
    assert picker.alt.startswith("Step 2 of 2. After one")
    assert "<|end|>, 80%" in picker.alt
    assert 'alt="Step 2' in picker.picture.value


def test_step_picker_refuses_steps_that_do_not_match():
    with pytest.raises(ValueError, match="got 1, 2 and 2"):
        viz.pick_step(["a"], np.eye(2), np.eye(2), names=["x", "y"])


@pytest.mark.parametrize("gap", [0.5, np.nan])
def test_gaps_mark_what_is_beyond_the_tolerance(gap):
    drawn = viz.plot_gaps({"encoder.blocks.0.hidden": 1e-7, "encoder.blocks.1.hidden": gap})
    texts = [text.get_text() for text in drawn.axes[0].texts]
    assert "same" in texts[0] and "differs" in texts[1]
    assert "encoder.blocks.1" in alt_of(drawn.axes)
