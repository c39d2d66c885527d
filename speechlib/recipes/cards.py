"""A checkpoint's card in words: the rows of its figures, and its part of data/README.md.

input -> output: `card.json` -> rows for a terminal, and Markdown between two marks.
Special: data/README.md says of checkpoints only what the cards say, so it is never edited by hand.
"""

import json
import re
import textwrap
from pathlib import Path

from speechlib import checkpoints, paths

BEGIN, END = "<!-- checkpoints: begin -->", "<!-- checkpoints: end -->"
NAMES = {"word_error_rate": "WER", "equal_error_rate": "EER", "eer": "EER"}
PERCENT = ("rate", "accuracy", "match", "share", "error", "eer")  # how names of shares end
HIDDEN = ("on", "interval_95", "baseline", "confusion", "result")

INTRODUCTION = """\
All of `checkpoints/` is in Hugging Face's format; `sl.load(name)` reads it, `sl.available()` lists
it. What is said here is what the `card.json` of each says: `python -m speechlib evaluate NAME`
measures again what the bundled corpus is enough for (people with `--real`), leaves the other
figures as they were measured, and writes both. Intervals are bootstraps over the items counted
(the binomial's where nothing is wrong); items of one voice resemble each other, so the truth is
wider. Baselines are what is reached without the model: by always saying the same (majority),
anything (chance) or nothing (empty text), by the same model before it learned (random weights), …
Names in capitals in a command are folders."""


def read(folder) -> dict:
    """The card in a checkpoint's folder; {} where there is none."""
    file = Path(folder, "card.json")
    return checkpoints.read_json(file) if file.is_file() else {}


def write(folder, card):
    """Two spaces a level; a list of numbers or of labels is one line. Numbers keep six decimals,
    so that it is the table that rounds, once."""
    card = json.loads(json.dumps(card), parse_float=lambda number: round(float(number), 6))
    text = json.dumps(card, indent=2, ensure_ascii=False)
    text = re.sub(r"\[[-\d.,\se]*\]|(?<=\"labels\": )\[[^\[\]]*\]", _on_one_line, text) + "\n"
    paths.write_whole(
        Path(folder, "card.json"), lambda path: Path(path).write_text(text, encoding="utf-8")
    )


def _on_one_line(found):
    return " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]")


# ------------------------------------------------------------------------------------- one figure


def row(figure) -> tuple[str, str, str, str]:
    """A figure -> (items, result, 95 % interval, baselines), in words."""
    low_high = figure.get("interval_95")
    counts, results = {}, {}
    for name, value in figure.items():
        if name in HIDDEN or isinstance(value, dict | list | str | bool):
            continue
        is_count = isinstance(value, int) and (low_high or not counts)
        (counts if is_count else results)[name] = value
    main = next(iter(results), "")
    shown = [f"{worded(value, name)} {_spoken(name)}" for name, value in results.items()]
    shown += [
        f"{_spoken(name)} {', '.join(worded(number, name) for number in value)}"
        for name, value in figure.items()
        if name not in HIDDEN and isinstance(value, list) and value and type(value[0]) is not str
    ]
    items = ", ".join(_counted(count, _spoken(name)) for name, count in counts.items())
    interval = " to ".join(worded(end, main) for end in low_high) if low_high else ""
    simple = figure.get("baseline", {})
    baseline = ", ".join(f"{_spoken(how)} {worded(value, main)}" for how, value in simple.items())
    return items, figure.get("result") or ", ".join(shown), interval, baseline


def _counted(count, name):
    """104 recordings; 1 recording; layer 3."""
    if not name.endswith("s"):
        return f"{name} {count}"
    return f"{count:,} {name if count != 1 else name[:-1]}"


def worded(value, name) -> str:
    """A number with its unit, which its name tells: 4.8 %, 12 ms, 3.25."""
    if value is None:
        return "no"
    if isinstance(value, int):
        return f"{value:,}"
    if name.endswith("_s"):
        return f"{1000 * value:.0f} ms" if abs(value) < 1 else f"{value:.2f} s"
    if name.endswith("_ms"):
        return f"{value:.0f} ms"
    return f"{100 * value:.1f} %" if name.endswith(PERCENT) else f"{value:.3g}"


def _spoken(name):
    return NAMES.get(name) or re.sub(r"_(m?s|share)$", "", name).replace("_", " ")


def confused(card) -> dict | None:
    """The first confusion matrix among the figures of a card."""
    return next(
        (f["confusion"] for f in card.get("metrics", {}).values() if "confusion" in f), None
    )


# --------------------------------------------------------------------------------- data/README.md


def section(data) -> str:
    """What data/README.md says between its marks. data: the folder with `checkpoints/`."""
    folders = sorted(path.parent for path in Path(data, "checkpoints").glob("*/card.json"))
    found = [(folder, read(folder)) for folder in folders]
    parts = ["## Checkpoints", "", INTRODUCTION, "", *_overview(found)]
    for folder, card in found:
        parts += ["", *_checkpoint(folder, card, Path(data))]
    return "\n".join(parts)


def _overview(found):
    yield "| name | system | parameters | file | test voices | licence |"
    yield "|---|---|---|---|---|---|"
    for folder, card in found:
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e6
        test = row(card.get("metrics", {}).get("test", {}))[1].partition(", ")[0]
        cells = (f"[`{folder.name}`](#{folder.name})", card["system"], f"{card['parameters']:,}",
                 f"{size:.1f} MB", test, card["licence"])  # fmt: skip
        yield _table_row(cells)


def _checkpoint(folder, card, data):
    yield from (f"### {folder.name}", "", _wrapped(f"Made to {card['task'].rstrip('.')}."))
    yield from (["", _wrapped(card["about"])] if card.get("about") else [])
    yield from ("", "| measured on | items | result | 95 % interval | baselines |")
    yield "|---|---|---|---|---|"
    for figure in card.get("metrics", {}).values():
        yield _table_row((figure["on"], *row(figure)))
    picture = Path("pictures", f"{folder.name}-confusion.png")
    if confused(card) and (data / picture).is_file():
        yield from ("", f"![{said(folder.name, card)}]({picture.as_posix()})")
    yield from ("", _wrapped(f"Trained on: {'; '.join(card['data'])}."))
    training = card.get("training", {})
    if "command" in training:
        how_long = f", in about {training['time']}," if "time" in training else ""
        yield from ("", f"Made again{how_long} by", "", f"    {training['command']}")
    yield from (["", _wrapped(training["note"])] if training.get("note") else [])
    yield from ("", _wrapped(f"Licence: {card['licence']}. Known flaws: {card['limits']}"))


def _wrapped(text):
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _table_row(cells):
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def said(name, card) -> str:
    """The confusion picture in words, as its alt text."""
    from speechlib.viz import confusion_plots

    table = confused(card)
    return f"{title(name)}: {confusion_plots.in_words(table['counts'], table['labels'])}"


def title(name):
    return f"{name}, what was taken for what"


def write_readme(data) -> bool:
    """Puts `section` between the marks of data/README.md; False where there is no such place."""
    file = Path(data, "README.md")
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if BEGIN not in text or END not in text:
        return False
    before, _, rest = text.partition(BEGIN)
    text = f"{before}{BEGIN}\n{section(data)}\n{END}{rest.partition(END)[2]}"
    paths.write_whole(file, lambda path: Path(path).write_text(text, encoding="utf-8"))
    return True
