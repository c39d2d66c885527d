"""How a training goes: the loss and what is measured on the way, as a picture that grows.

log rows, as `speechlib.training.train` writes them -> a plot, or a live view in the notebook.
Notebook: 00_start_here
"""

import math
import time

import ipywidgets
import numpy as np

from speechlib.viz import palette
from speechlib.viz.display import Drawn, alt_of, describe, new_axes, picture_html
from speechlib.viz.plots import label, plain
from speechlib.viz.widgets.fallback import with_fallback

STYLES = ("-o", "--s", "-.^", ":D", "-v", "--P")  # told apart without colour, too


def plot_curves(log, ax=None, *, smooth=20, title="Training"):
    """Loss (left) and measured errors (right) against steps.

    log: a list of dicts with "step" and "loss", and further numbers where something was measured.
    smooth: steps over which the loss is averaged, fewer while there are few. ax: a pair of axes,
    or None.
    """
    rows = [row for row in log if math.isfinite(row["loss"])]
    if not rows:
        raise ValueError("the log is empty: there is no step to draw yet")
    (left, right), own = new_axes(ax, (9, 3.2), columns=2)
    steps = np.array([row["step"] for row in rows])
    loss = np.array([row["loss"] for row in rows])
    size = max(1, min(smooth, len(loss) // 4))
    # the mean around each step, of fewer at the ends
    even, there = (np.convolve(x, np.ones(size), "same") for x in (loss, np.ones(len(loss))))
    even = even / there
    artists = [*left.plot(steps, loss, color=palette.OKABE_ITO[5], linewidth=0.6, alpha=0.7),
               *left.plot(steps, even, color=palette.OKABE_ITO[0], linewidth=2)]
    left.set_ylim(0, 1.05 * max(np.percentile(loss, 98), even.max()))
    label(left, f"{title}: loss", "step", f"loss (mean of {size} steps, bold)")
    words = f"{title}: after {steps[-1]} steps the loss is {even[-1]:.3f}, at first {loss[0]:.3f}."
    measured = {name: [(row["step"], row[name]) for row in rows if name in row]
                for row in rows for name in row if name not in ("step", "loss", "rate")}
    for number, (name, found) in enumerate(measured.items()):
        x, y = np.array(found).T
        artists += right.plot(x, y, STYLES[number % len(STYLES)], label=plain(name), markersize=5,
                              color=palette.OKABE_ITO[number % len(palette.OKABE_ITO)])
        words += f" {name}: {y[-1]:.3g}, best {y.min():.3g}."
    if measured:
        right.legend(fontsize=10)
        right.set_ylim(bottom=0)
    else:
        right.text(0.5, 0.5, "nothing measured yet", ha="center", va="center",
                   transform=right.transAxes, fontsize=10)
    label(right, f"{title}: measured", "step", "error")
    right.set_xlim(left.get_xlim())
    describe(left, words)
    return Drawn(artists, [left, right], own)


class LiveCurves(ipywidgets.VBox):
    """The curves of a training, drawn again while it runs.

        curves = LiveCurves(); display(curves)
        training.train(..., on_row=curves)

    every_s: seconds between two pictures, so that drawing costs the training little.
    also(log): called with each new picture, for a second view beside the curves; what it returns,
    an ipywidget's value in HTML, stands below them.
    """

    def __init__(self, every_s=2.0, also=None, title="Training"):
        self.rows, self._every_s, self._also, self._title = [], every_s, also, title
        self._next = 0.0
        self.picture = ipywidgets.HTML("<p>The curves appear with the first steps.</p>")
        self.second = ipywidgets.HTML()
        self.alt = "no steps yet"
        super().__init__([self.picture, self.second])

    def __call__(self, row):
        """Takes one more row of the log."""
        self.rows.append(dict(row))
        if time.monotonic() >= self._next:
            self.draw()

    def draw(self):
        """Draws what there is now; called by itself, and once more at the end."""
        drawn = plot_curves(self.rows, title=self._title)
        self.alt = alt_of(drawn.axes)
        self.picture.value = picture_html(drawn.figure, self.alt)
        if self._also is not None:
            self.second.value = self._also(self.rows)
        self._next = time.monotonic() + self._every_s

    def _repr_mimebundle_(self, **options):
        return with_fallback(super()._repr_mimebundle_(**options),
                             self.picture.value + self.second.value, f"LiveCurves: {self.alt}")
