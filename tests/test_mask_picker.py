"""The view of lesson 05: three masks that follow their controls."""

import pytest

from speechlib import viz


@pytest.fixture
def picker():
    return viz.pick_masks(past=0, new=4, padding=1, side="right")


def test_padding_on_the_right_leaves_something_for_every_query(picker):
    for padding in range(4):
        for new in range(1, 7):
            picker.padding.value, picker.new.value = padding, new
            assert picker.mask.any(axis=1).all()
    assert picker.answer == "Every query may look at something."


def test_padding_on_the_left_blinds_the_first_queries(picker):
    picker.side.value, picker.padding.value = "left", 2
    assert picker.answer == "2 queries may look at nothing: queries 0, 1."
    picker.padding.value = 1
    assert picker.answer == "1 query may look at nothing: query 0."
    picker.padding.value, picker.past.value = 2, 2
    assert picker.answer == "Every query may look at something."
    assert picker.mask.shape == (4, 6)


def test_the_saved_notebook_shows_a_picture_with_alt_text(picker):
    bundle = picker._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "alt=" in bundle["text/html"] and "TTTF" in picker.alt


def test_padding_that_would_leave_no_word_is_drawn_as_less(picker):
    picker.new.value, picker.padding.value = 1, 3
    assert "Padding drawn: 0, since one word at least is real" in picker.answer
