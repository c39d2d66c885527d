"""What is said besides digits: () -> commands of a small grammar; a number -> English, German.

A command has one of eight shapes and is made of 38 words. German numbers put the ones before the
tens: "forty-two" is "zweiundvierzig", so the two orders cross.
"""

from random import Random

# espeak-ng says "on the" and "in the" as one word: these are not here.
SHAPES = (
    ("turn", "the", ("light", "lamp", "fan", "radio"), ("on", "off")),
    ("turn", "the", ("kitchen", "bedroom", "garden"), ("light", "lamp", "fan"), ("on", "off")),
    (("open", "close"), "the", ("door", "window", "gate")),
    (("open", "close"), "the", ("kitchen", "bedroom", "garden"), ("door", "window")),
    (("play", "stop"), "the", ("music", "song", "radio")),
    ("set", "the", ("timer", "alarm"), "for", ("five", "ten", "twenty"), "minutes"),
    ("go", ("left", "right", "up", "down")),
    ("make", "it", ("louder", "softer", "warmer")),
)
KEYWORDS = ("up", "down", "left", "right", "on", "off", "stop", "go", "open", "close")

ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen""".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
GERMAN_ONES = """null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn
vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn""".split()
GERMAN_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()


def command_words() -> set[str]:
    """Every word a command can have."""
    slots = [slot for shape in SHAPES for slot in shape]
    return {word for slot in slots for word in ((slot,) if isinstance(slot, str) else slot)}


def all_words() -> set[str]:
    """Every word of the bundled recordings that is written down."""
    return command_words() | set(KEYWORDS) | set(ONES) | set(TENS)


def draw_command(draw: Random) -> tuple[str, ...]:
    """One command, its words."""
    shape = draw.choice(SHAPES)
    return tuple(slot if isinstance(slot, str) else draw.choice(slot) for slot in shape)


def english(number: int) -> tuple[str, ...]:
    """The words of a number from 0 to 99: 42 -> ("forty", "two")."""
    _check(number)
    if number < 20:
        return (ONES[number],)
    tens, ones = divmod(number, 10)
    return (TENS[tens - 2], ONES[ones]) if ones else (TENS[tens - 2],)


def german(number: int) -> str:
    """A number from 0 to 99 as it is written in German: 42 -> "zweiundvierzig"."""
    _check(number)
    if number < 20:
        return GERMAN_ONES[number]
    tens, ones = divmod(number, 10)
    first = {0: "", 1: "einund"}.get(ones, GERMAN_ONES[ones] + "und")
    return first + GERMAN_TENS[tens - 2]


def _check(number: int) -> None:
    if number not in range(100):
        raise ValueError(f"expected a whole number from 0 to 99, got {number!r}")
