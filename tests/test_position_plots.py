"""Pictures of positions: what they show is in their alt text, and the picker changes it."""

import numpy as np
import pytest

from speechlib import position_embeddings, viz


def test_clocks_print_the_tips():
    drawn = viz.plot_clocks(np.array([[0, 1], [-0.001, 0]]), np.array([[1, 0], [-1, 1]]))
    assert "(0.00, 1.00), (1.00, 0.00); (0.00, -1.00), (0.00, 1.00)" in drawn.alt
    texts = [text.get_text() for text in drawn.axes[0].texts]
    assert texts == ["0.00, 1.00", "1.00, 0.00", "0.00, -1.00", "0.00, 1.00"]


def test_clocks_refuse_more_than_can_be_read():
    with pytest.raises(ValueError, match="8 x 8; these are 1 x 9"):
        viz.plot_clocks(np.zeros((1, 9)), np.zeros((1, 9)))
    with pytest.raises(ValueError, match="one shape"):
        viz.plot_clocks(np.zeros((1, 2)), np.zeros((2, 1)))


def test_tables_share_a_scale():
    tables = {name: position_embeddings.sinusoidal_embeddings(9, 8, name) for name in
              ("paper", "whisper")}  # fmt: skip
    drawn = viz.plot_tables(tables)
    assert [image.get_clim() for image in drawn[:2]] == [(-1, 1)] * 2
    assert "paper: 9 positions by 8 columns; row 0 starts 0.00, 1.00" in drawn.alt


def test_similarity_is_a_line_for_sinusoids_and_a_band_for_others():
    def breadth(table):
        drawn = viz.plot_similarity(table, 3)
        edges = drawn.axes[1].collections[0].get_paths()[0].vertices
        highest = {x: max(y for a, y in edges if a == x) for x in {a for a, _ in edges}}
        lowest = {x: min(y for a, y in edges if a == x) for x in {a for a, _ in edges}}
        return max(highest[x] - lowest[x] for x in highest)

    assert breadth(position_embeddings.sinusoidal_embeddings(20, 16)) < 1e-4
    assert breadth(np.random.default_rng(0).normal(size=(20, 16))) > 1


def test_similarity_refuses_a_position_outside():
    with pytest.raises(ValueError, match="0 to 8, got 9"):
        viz.plot_similarity(np.zeros((9, 4)), 9)


def test_picker_follows_its_controls():
    pytest.importorskip("ipywidgets")
    long, short = (position_embeddings.sinusoidal_embeddings(n, 8) for n in (40, 12))
    picker = viz.pick_position({"long": long, "short": short}, position=30)
    assert "row 30 of long" in picker.alt
    picker.position.value = 7
    assert "row 7 of long" in picker.alt and "row 7 of long" in picker.picture.value
    picker.position.value = 39
    picker.table.value = "short"
    assert picker.position.max == 11 and "row 2 of short" in picker.alt
    picker.table.value = "long"
    assert picker.position.max == 39 and "row 9 of long" in picker.alt
    with pytest.raises(ValueError, match="no table"):
        viz.pick_position({})
