"""What README.md and CONTRIBUTING.md say is there: every file, name, lesson and command."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from speechlib import cli

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title):
    """The text under one heading."""
    return re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.M | re.S)[1]


def rows(text):
    """The cells of every row of the first Markdown table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def defined_in(file):
    """Names of the functions and classes at the top level of a Python file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if hasattr(node, "name")}


WHERE = rows(section("Where is …?"))


@pytest.mark.parametrize("concept, file, names, lesson", WHERE, ids=[row[0] for row in WHERE])
def test_where_is_points_to_something(concept, file, names, lesson):
    file = file.strip("`")
    assert (ROOT / file).is_file()
    assert set(re.findall(r"`(\w+)`", names)) <= defined_in(file)
    assert lesson == "–" or len(list((ROOT / "notebooks").glob(f"{lesson}_*.ipynb"))) == 1


# what a lesson shows without writing its name: name -> words of the lesson
SHOWN = {
    "load": "Choose a sound file",
    "log_mel": "the sound as the model gets it",
    "word_times": "guesses at when each word was said",
    "hear_row": "only what the model listened to",
    "ListenMap": "viz.listen(",
    "span_mask": "**SpecAugment**",
    "match": "From their names to ours",
}


def lesson_text(number):
    """All that the cells of a lesson say, without what they printed."""
    (file,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    return "\n".join(cell.source for cell in nbformat.read(file, as_version=4).cells)


def in_lesson(names, text):
    """Whether a lesson's text has one of these names, or the words that stand for it."""
    return any(
        re.search(rf"\b{name}\b", text) or SHOWN.get(name, "\0") in text for name in names
    )


TAUGHT = [(names, lesson) for _, _, names, lesson in WHERE if lesson != "–"]


@pytest.mark.parametrize("names, lesson", TAUGHT, ids=[names for names, _ in TAUGHT])
def test_the_lesson_of_a_concept_has_it(names, lesson):
    assert in_lesson(re.findall(r"`(\w+)`", names), lesson_text(lesson))


def test_a_lesson_without_the_concept_is_found():
    assert not in_lesson(["relative_position_buckets"], lesson_text("03"))
    assert not in_lesson(["wer"], lesson_text("00"))


def test_every_lesson_is_listed_and_no_other():
    listed = re.findall(r"\((notebooks/\d\d_\w+\.ipynb)\)", section("The lessons"))
    there = sorted(f"notebooks/{f.name}" for f in (ROOT / "notebooks").glob("*.ipynb"))
    assert listed == there


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_link_and_path_leads_somewhere(text):
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    paths = re.findall(r"\b(?:speechlib|tests|data|notebooks)/[\w./-]*\w", text)
    missing = {path for path in links + paths if not (ROOT / path).exists()}
    assert {path for path in missing if "NN" not in path and "name" not in path} == set()


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_command_exists(text):
    words = set(re.findall(r"-m speechlib (\w+)", text))
    assert words <= set(cli.COMMANDS)
    modules = re.findall(r"-m speechlib\.([\w.]+)", text)
    assert all((ROOT / "speechlib" / f"{m.replace('.', '/')}.py").is_file() for m in modules)
    targets = set(re.findall(r"\bmake (lab|test|bench|clean|\w+-\w+)\b", text))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


def test_every_trained_model_is_listed_with_its_system():
    import speechlib as sl

    listed = {(row[0].strip("`"), row[1]) for row in rows(section("The trained models"))}
    assert listed == {(card["name"], card["system"]) for card in sl.available()}


def test_sizes_are_those_that_the_setup_prints():
    from speechlib import setup_environment

    download, disk = setup_environment.SIZES["lab"]
    assert f"{download} GB to download and {disk} GB on disk" in " ".join(README.split())


def test_first_screen_has_the_picture_and_the_two_commands():
    first = "\n".join(README.splitlines()[:30])
    assert "![" in first and "make lab" in first and "make test" in first
    assert "py -m speechlib lessons start" in first
