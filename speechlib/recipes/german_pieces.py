"""The pieces in which numbers-en-de writes a German number, and the tokenizer's two files.

input -> output: 42 -> ["zwei@@", "und@@", "vierzig"]; a folder -> vocab.json and merges.txt in it.
Special: numbers from 21 on are cut where a German hears the seams: ones, "und", tens; everything
else is one piece. "@@" says that the word goes on (Sennrich et al. 2016), so "zwei" alone and
"zwei@@" are two tokens. The merges are learned as usual, the commonest pair first, but never across
a seam; that all hundred numbers come out in these pieces is a test.

Notebook: 16_speech_to_text_2
"""

import json
from collections import Counter
from pathlib import Path

from speechlib.corpus import grammar
from speechlib.vocabularies import GOES_ON, WORD_END

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # as published; "</s>" also begins a text
PAD, END = 1, 2
AND = "und" + GOES_ON
CROSSING = tuple(n for n in range(21, 100) if n % 10)  # ones before tens in German only
_NUMBERS = {grammar.german(number): number for number in range(100)}


def number_of(text: str) -> int | None:
    """The value of a German number, "zweiundvierzig" -> 42; None for another text."""
    return _NUMBERS.get(text)


def pieces(number: int) -> list[str]:
    """A number from 0 to 99 -> its pieces: 13 -> ["dreizehn"], 42 -> ["zwei@@", "und@@",
    "vierzig"]."""
    word = grammar.german(number)
    if number not in CROSSING:
        return [word]
    tens = grammar.german(number - number % 10)
    return [word.removesuffix("und" + tens) + GOES_ON, AND, tens]


def vocabulary() -> dict[str, int]:
    """Token -> number: the special ones, the pieces that go on, then whole words by value."""
    going_on = [AND, *(pieces(20 + ones)[0] for ones in range(1, 10))]
    words = [grammar.german(n) for n in (*range(20), *range(20, 100, 10))]
    return {token: n for n, token in enumerate((*SPECIAL, *going_on, *words))}


def known() -> list[str]:
    """The pieces that can be written, by their token."""
    return list(vocabulary())[len(SPECIAL) :]


def token_ids(number: int) -> list[int]:
    """The labels of a number: its pieces, and the end."""
    known = vocabulary()
    return [*(known[piece] for piece in pieces(number)), END]


def merges() -> list[tuple[str, str]]:
    """Pairs of letters that become one, in order: from the pieces of all hundred numbers."""
    counts = Counter(piece for number in range(100) for piece in pieces(number))
    parts = {piece: _letters(piece) for piece in counts}
    found = []
    while True:
        pairs = Counter()
        for piece, letters in parts.items():
            for pair in zip(letters[:-1], letters[1:], strict=True):
                pairs[pair] += counts[piece]
        if not pairs:
            return found
        best = max(sorted(pairs), key=pairs.get)
        found.append(best)
        parts = {piece: _joined(letters, best) for piece, letters in parts.items()}


def _letters(piece):
    """A piece that ends its word has the mark of the end at its last letter."""
    if piece.endswith(GOES_ON):
        return list(piece.removesuffix(GOES_ON))
    return [*piece[:-1], piece[-1] + WORD_END]


def _joined(letters, pair):
    joined = []
    for letter in letters:
        if joined and (joined[-1], letter) == pair:
            joined[-1] += letter
        else:
            joined.append(letter)
    return joined


def write_tokenizer(folder) -> None:
    """vocab.json, merges.txt and tokenizer_config.json, as Speech2Text2Tokenizer reads them."""
    folder = Path(folder)
    lines = [f"{first} {second}" for first, second in merges()]
    settings = {
        "tokenizer_class": "Speech2Text2Tokenizer",
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "do_lower_case": False,
    }
    files = {"vocab.json": vocabulary(), "tokenizer_config.json": settings}
    for name, content in files.items():
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
