"""All words the framework itself says to a learner, from phrases.toml."""

import re
import tomllib
from functools import cache
from pathlib import Path


@cache
def _phrases():
    return tomllib.loads((Path(__file__).parent / "phrases.toml").read_text(encoding="utf-8"))


def say(key, /, **values):
    """The phrase with this dotted key ("check.passed"), its {places} filled in."""
    phrase = _phrases()
    for part in key.split("."):
        phrase = phrase[part]
    # an empty {place} leaves a gap behind: close it
    return re.sub(r" +([ .,:;])", r"\1", phrase.format(**values)).strip()
