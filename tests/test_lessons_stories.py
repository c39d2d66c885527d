"""What a lesson's text says of its own outputs: the broken copy is broken, the whole one is not.

The outputs are those stored in notebooks/; that they still come out is `pytest --nbval`. Without
this a text could go on telling of a mistake that a change of the model or the library has undone.
"""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def printed(notebook, cell):
    """What a cell printed."""
    (found,) = (one for one in notebook.cells if one.get("id") == cell)
    return "".join(out.text for out in found.outputs if out.output_type == "stream")


def shares(text):
    """Lines such as "whole model   4% of the words wrong" -> {"whole model": 4}."""
    return {name.strip(): int(share) for name, share in re.findall(r"^(.+?) +(\d+)%", text, re.M)}


# lesson, cell, {line: (least, largest)} in percent of the words
WRONG = [
    ("03_positions", "measured", {"whole model": (0, 10), "without positions": (40, None)}),
    ("03_positions", "shifted", {"as it was": (0, 10), "decoder off by two": (40, None)}),
    ("05_masks", "measured", {"learned with": (0, 10), "only itself": (40, None)}),
    ("06_attention", "measured", {"whole model": (0, 10), "without attention": (80, None)}),
    ("07_attention_variants", "measured", {"whole model": (0, 10), "second copy": (100, None)}),
    ("09_whisper", "measured", {"whole model": (0, 10), "without shortcuts": (100, None)}),
]


def read(lesson):
    return nbformat.read(NOTEBOOKS / f"{lesson}.ipynb", as_version=4)


@pytest.mark.parametrize(("lesson", "cell", "wanted"), WRONG)
def test_the_broken_copy_is_broken(lesson, cell, wanted):
    found = shares(printed(read(lesson), cell))
    for name, (least, largest) in wanted.items():
        assert least <= found[name] <= (largest or float("inf")), (lesson, cell, name)


def test_without_positions_two_orders_of_the_same_words_are_written_alike():
    text = printed(read("03_positions"), "zeros")
    rows = re.findall(r"^[AB]   whole model: (.*?) *without positions: (.*)$", text, re.M)
    (whole_a, without_a), (whole_b, without_b) = rows
    assert whole_a.split() == whole_b.split()[::-1] != whole_b.split()
    assert without_a == without_b and without_a not in ("", "(nothing)")


def test_a_decoder_that_forgets_the_past_repeats_itself():
    notebook = read("05_masks")
    text = printed(notebook, "forgotten")
    assert "the same numbers: True" in text
    (count,) = re.findall(r"past forgotten: .*\((\d+) words\)", text)
    assert int(count) >= 8
    right, wrong = re.findall(r"(?:as it is|a wrong mask): +(.*)", printed(notebook, "listen"))
    assert right != wrong


def test_the_test_of_the_padding_mask_can_fail():
    text = printed(read("05_masks"), "yours-4")
    assert re.findall(r"^(with|without) .*the same numbers: (\w+)$", text, re.M) == [
        ("with", "True"),
        ("without", "False"),
    ]


def test_the_second_copy_gets_stuck():
    right, stuck = re.findall(r"(?:model|copy): +(.*)", printed(read("07_attention_variants"),
                                                                "broken"))  # fmt: skip
    assert len(stuck.split()) > 2 * len(right.split()) and len(set(stuck.split())) <= 3


def test_the_widest_head_listens_to_the_silence_and_the_players_are_those_of_the_table():
    notebook = read("06_attention")
    last = printed(notebook, "width-3").split("decoder.blocks.1")[1]
    rows = re.findall(r"head (\d): ([\d.]+) s .* (\d+)%$", last, re.M)  # the last word's share
    heads = sorted(rows, key=lambda row: float(row[1]))
    assert int(heads[-1][2]) > 50
    (cell,) = (one for one in notebook.cells if one.get("id") == "pick-4")
    played = [out.data["text/plain"] for out in cell.outputs]
    for (head, *_), text in zip((heads[0], heads[-1]), played, strict=True):
        assert f"head {head}, the" in text
