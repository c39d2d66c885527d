"""Colours that survive colour-blindness: one place, so that Python pictures and widgets agree.

cividis for quantities (its lightness rises evenly, with or without colour vision), purple-orange
for values with a sign, Okabe and Ito's eight for categories. No meaning is carried by colour
alone: masks are hatched and lettered, heads are labelled.
"""

import base64

SEQUENTIAL = "cividis"
DIVERGING = "PuOr"
# Okabe & Ito, "Color Universal Design" (2008), black and yellow left out: they fail as lines.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK = "#1a1a1a"
PAPER = "white"
# Marks on a map are drawn twice, dark under light, so that they show on any shade.
MARK = "#ffffff"
MARK_EDGE = "#000000"


def lookup_table(name=SEQUENTIAL):
    """256 x (red, green, blue) bytes of a colour map as base64, for a browser canvas."""
    from matplotlib import colormaps

    table = colormaps[name](range(256), bytes=True)[:, :3]
    return base64.b64encode(table.tobytes()).decode("ascii")


def text_on(colour):
    """Ink that can be read on this (red, green, blue, …) colour, channels 0..1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.179 else "white"
