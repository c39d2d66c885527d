"""Make the bundled commands, numbers and conversations: the cast -> data/<set>/, as the digits.

`python -m speechlib corpus build --set commands`. Everything is drawn from the voices' names: two
runs on one machine give the same bytes. `--takes 8 --everyone` makes far more, to train on.
"""

from pathlib import Path
from random import Random

from speechlib.corpus import synthesisers
from speechlib.corpus.build import store, write_index
from speechlib.corpus.cast import cast
from speechlib.corpus.conversing import converse
from speechlib.corpus.grammar import KEYWORDS, draw_command, english, german
from speechlib.corpus.speech import Line, tidy, widen_gaps
from speechlib.corpus.synthesise import each_in_its_own_process
from speechlib.corpus.voices import Voice

COMMANDS = {"train": 3, "valid": 5, "test": 4}  # sentences a voice, and
WORDS = {"train": 2, "valid": 5, "test": 3}  # keywords
NUMBERS = {"train": 3, "valid": 8, "test": 6}
CONVERSATIONS = {"train": 16, "valid": 4, "test": 12}
SETS = ("commands", "numbers", "conversations")


def _line(draw: Random, words: tuple[str, ...]) -> Line:
    return Line(words, words, ("",) * (len(words) - 1) + (draw.choice([".", ".", "!"]),),
                round(draw.uniform(0.88, 1.12), 2), round(draw.uniform(0.92, 1.1), 2))


def commands(voice: Voice, place: int, takes: int = 1) -> list[tuple[str, dict, Line]]:
    """(kind, further entries of the manifest, line) of all a voice says in this set."""
    draw = Random(f"commands {voice.name}")
    said = [("command", draw_command(draw)) for _ in range(takes * COMMANDS[voice.split])]
    count = takes * WORDS[voice.split]
    said += [("keyword", (KEYWORDS[(place * count + n) % len(KEYWORDS)],)) for n in range(count)]
    return [(kind, {}, _line(draw, words)) for kind, words in said]


def numbers(voice: Voice, place: int, takes: int = 1) -> list[tuple[str, dict, Line]]:
    """The same for numbers: each split counts through a shuffled 0 to 99, voice after voice."""
    draw = Random(f"numbers {voice.name}")
    count = takes * NUMBERS[voice.split]
    order = Random(f"numbers {voice.split}").sample(range(100), 100)
    mine = [order[(place * count + n) % 100] for n in range(count)]
    return [("number", {"translation": german(number)}, _line(draw, english(number)))
            for number in mine]


def _speak(job: tuple) -> list[dict]:
    plan, voice, place, takes, out = job
    draw, rows = Random(f"gaps {plan.__name__} {voice.name}"), []
    kinds, extras, lines = zip(*plan(voice, place, takes), strict=True)
    for n, speech in enumerate(synthesisers.speak(voice, lines)):
        speech = tidy(speech, margin_s=0.05, peak=round(draw.uniform(0.3, 0.8), 2))
        speech = widen_gaps(speech, draw, longest_s=0.1, ends_s=0.15)
        text = ("-" if kinds[n] == "number" else " ").join(lines[n].words)
        rows.append({**store(out, f"{voice.name}_{n:03d}", text, voice.name, voice.split,
                             kinds[n], speech), **extras[n]})
    return rows


def _converse(job: tuple) -> list[dict]:
    first, second, name, out = job
    talk = converse(first, second, name)
    row = store(out, name, talk.text, "", first.split, "conversation", talk.speech)
    return [{**row, "turns": talk.turns}]


def _jobs(name: str, voices: list[Voice], takes: int, out: Path) -> list[tuple]:
    by_split = {split: [v for v in voices if v.split == split] for split in CONVERSATIONS}
    if name != "conversations":
        plan = {"commands": commands, "numbers": numbers}[name]
        return [(plan, voice, place, takes, out)
                for mine in by_split.values() for place, voice in enumerate(mine)]
    draw, jobs = Random("pairs"), []
    for split, mine in by_split.items():
        for n in range(takes * CONVERSATIONS[split] if len({v.timbre for v in mine}) > 1 else 0):
            first, second = draw.sample(mine, 2)
            while first.timbre == second.timbre:
                second = draw.choice(mine)
            jobs.append((first, second, f"{split}_{n:03d}", out))
    return jobs


def build_set(name: str, out: Path, voices: list[Voice] | None = None, takes: int = 1,
              workers: int = 2) -> list[dict]:
    """Write one of SETS to the folder `out`; returns the lines of its manifest.

    voices: None for the bundled cast; takes: times as much a voice (or as many conversations).
    Raises ValueError for another name or when a synthesiser is not installed.
    """
    if name not in SETS:
        raise ValueError(f"expected a set of {', '.join(SETS)}, got {name!r}")
    voices = cast() if voices is None else voices
    synthesisers.require(voices)
    function = _converse if name == "conversations" else _speak
    jobs = _jobs(name, voices, takes, out)
    rows = [row for rows in each_in_its_own_process(function, jobs, workers) for row in rows]
    write_index(out, rows, {voice.name: voice for voice in voices})
    return rows
