"""Two people taking turns: two voices and a seed -> a wave, and who spoke when.

Turns follow one another after a pause, or begin before the other has ended: then both are heard.
"""

from dataclasses import dataclass
from random import Random

import numpy as np

from speechlib.audio import SAMPLE_RATE
from speechlib.corpus import synthesisers
from speechlib.corpus.grammar import draw_command, english
from speechlib.corpus.speech import Line, Speech, tidy
from speechlib.corpus.voices import DIGITS, Voice

TURNS = (6, 8)
OVERLAPS = 0.4  # share of turns that begin early
EARLY_S, PAUSE_S = (0.2, 0.7), (0.1, 0.6)


@dataclass(frozen=True)
class Conversation:
    """speech: words and phones of both, in order of their start; turns: (voice, start_s, end_s)."""

    speech: Speech
    text: str
    turns: list[tuple[str, float, float]]


def converse(first: Voice, second: Voice, seed: str) -> Conversation:
    """The two voices speak in turn; drawn from `seed`."""
    draw = Random(f"conversation {seed}")
    count = draw.randint(*TURNS)
    lines = [_line(draw) for _ in range(count)]
    said: list[Speech | None] = [None] * count
    for place, voice in enumerate((first, second)):
        mine = range(place, count, 2)
        spoken = synthesisers.speak(voice, [lines[n] for n in mine])
        for n, speech in zip(mine, spoken, strict=True):
            said[n] = tidy(speech, margin_s=0.0, peak=round(draw.uniform(0.25, 0.45), 2))
    return _placed(said, (first.name, second.name), lines, draw)


def _line(draw: Random) -> Line:
    words = draw.choice([
        lambda: draw_command(draw),
        lambda: english(draw.randrange(100)),
        lambda: tuple(draw.choices(DIGITS, k=draw.randint(2, 4))),
    ])()
    return Line(words, words, ("",) * (len(words) - 1) + (draw.choice([".", ".", "?"]),),
                round(draw.uniform(0.9, 1.1), 2), round(draw.uniform(0.94, 1.08), 2))


def _placed(said: list[Speech], names: tuple[str, str], lines: list[Line], draw: Random):
    """Each turn at its place, on one wave."""
    place, starts, ends = round(0.2 * SAMPLE_RATE), [], []
    for n, speech in enumerate(said):
        if n:
            early = draw.random() < OVERLAPS
            shift = -draw.uniform(*EARLY_S) if early else draw.uniform(*PAUSE_S)
            place = next_place(starts, ends, shift)
        starts.append(place)
        ends.append(place + len(speech.wave))
    wave = np.zeros(max(ends) + round(0.2 * SAMPLE_RATE), np.float32)
    words, phones, turns = [], [], []
    for n, (speech, start, end) in enumerate(zip(said, starts, ends, strict=True)):
        wave[start:end] += speech.wave
        offset = start / SAMPLE_RATE
        for found, spans in ((words, speech.words), (phones, speech.phones)):
            found += [(label, round(a + offset, 3), round(b + offset, 3)) for label, a, b in spans]
        turns.append((names[n % 2], round(offset, 3), round(end / SAMPLE_RATE, 3)))
    both = Speech(wave, sorted(words, key=_start), sorted(phones, key=_start))
    return Conversation(both, " ".join(" ".join(line.words) for line in lines), turns)


def next_place(starts: list[int], ends: list[int], shift_s: float) -> int:
    """The sample at which the next turn begins: `shift_s` after the last one's end, or before it
    where that is negative, but never within the last one's first 0.2 s, nor while its own speaker,
    whose turn was the last but one, still talks. starts, ends: of the turns so far, in samples."""
    least = max([starts[-1] + SAMPLE_RATE // 5, *ends[-2:-1]])
    return max(least, ends[-1] + round(shift_s * SAMPLE_RATE))


def _start(span):
    return span[1]
