"""A training as it happens: its curves beside the place where the model looks for each word.

log rows and glimpses (`speechlib.recipes.watching`) -> a live view, and a strip of pictures that
shows how fog turns into a diagonal.
"""

import html
import time

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from speechlib.viz import palette
from speechlib.viz.attention_plots import by_row, plot_cross_attention, word_boxes
from speechlib.viz.curves import LiveCurves, plot_curves
from speechlib.viz.display import Drawn, alt_of, describe, new_axes, picture_html
from speechlib.viz.plots import label, plain
from speechlib.viz.time_axis import WHISPER_ENCODER

TOLD_EVERY_S = 2.0  # how far it is, between two pictures
FILM_SHARES = (0, 1 / 16, 1 / 4, 1)  # of the way: each picture four times as late as the last


def plot_film(glimpses, words, ax=None, *, valid_s=None, title="Where it looked while it learned"):
    """Where the model looked for each word at a few moments of its training, side by side.

    glimpses: things with `.step`, `.weights` (words, frames) and `.inside`, one a picture.
    words: (word, start_s, end_s, …), the true times, drawn as boxes. valid_s: seconds shown.
    ax: as many axes as glimpses, or None. Each row has its own scale, from 0 to its largest weight:
    one word that looks at a single frame would leave the others dark.
    """
    glimpses = list(glimpses)
    if not glimpses:
        raise ValueError("there is no glimpse to draw: has the training begun?")
    rows = len(words)
    axes, own = new_axes(ax, (2.45 * len(glimpses) + 0.7, 1.3 + 0.36 * rows), len(glimpses))
    artists = []
    for ax, seen in zip(axes, glimpses, strict=True):
        edges = WHISPER_ENCODER.edges(seen.weights.shape[1])
        artists.append(ax.imshow(
            by_row(seen.weights), cmap=palette.SEQUENTIAL, aspect="auto", interpolation="nearest",
            vmin=0, vmax=1, extent=(edges[0], edges[-1], rows - 0.5, -0.5),
        ))  # fmt: skip
        names = [word for word, *_ in words]
        artists += word_boxes(ax, names, words)
        ax.set_xlim(0, valid_s or edges[-1])
        ax.set_yticks(range(rows), list(map(plain, names)) if ax is axes[0] else [""] * rows)
        label(ax, f"step {seen.step}\n{seen.inside:.0%} inside the words",
              "seconds (a scale for each row)", "")  # fmt: skip
    steps = ", ".join(f"step {seen.step} {seen.inside:.0%}" for seen in glimpses)
    describe(axes[0], f"{title}: cross-attention of the words {', '.join(names)} over time, "
                      f"{len(glimpses)} moments of one training. Share of the weight that lies "
                      f"inside the right word: {steps}. Each row is brightest at its largest "
                      "weight; boxes are the words.")  # fmt: skip
    if own:
        axes[0].figure.suptitle(title)
    return Drawn(artists, axes, own)


def film_of(glimpses, shares=FILM_SHARES):
    """The glimpses nearest to these shares of the whole way, without repetition."""
    last = glimpses[-1].step
    near = [min(glimpses, key=lambda seen: abs(seen.step - share * last)) for share in shares]
    return list({seen.step: seen for seen in near}.values())


class LiveTraining(LiveCurves):
    """Curves on the left, on the right where the model looks for each word of one utterance.

        live = LiveTraining(watched.mel, watched.words, steps=1000); live.show()
        live.seen(watched.look(model, 0))         # whenever there is something new to see
        training.train(..., on_row=live)

    mel (mel bins, mel frames) and words (word, start_s, end_s, …) of the utterance; steps: of the
    whole training, to tell how far it is. It draws when it has seen something new.
    """

    def __init__(self, mel, words, steps, title="Training"):
        super().__init__(title=title)
        self._mel, self._words, self._steps = np.asarray(mel), list(words), steps
        self._end_s = min(mel.shape[1] / 100, max(end for _, _, end, *_ in self._words) + 0.2)
        self._began, self._handle = time.monotonic(), None
        self._first, self._next_told = None, 0.0
        self.glimpses = []
        self.picture.value = "<p>The first picture appears in a moment.</p>"

    def show(self):
        """Shows the view in the notebook, and remembers where: see `finish`."""
        from IPython.display import display

        self._handle = display(self, display_id=True)

    def __call__(self, row):
        self.rows.append(dict(row))
        now = time.monotonic()
        self._first = self._first or (row["step"], now)
        if self._handle is not None and self.glimpses and now >= self._next_told:
            self._tell()
            self._next_told = now + TOLD_EVERY_S

    def seen(self, glimpse, draw=True):
        """Takes a new glimpse and draws."""
        if not self.glimpses or self.glimpses[-1].step != glimpse.step:
            self.glimpses.append(glimpse)
        if draw:
            self.draw()

    def finish(self):
        """The last state as a picture that stays in the saved notebook."""
        self.draw()
        if self._handle is not None:
            self._handle.update(self)

    def film(self):
        """The way from fog to a diagonal, a few moments side by side."""
        return plot_film(film_of(self.glimpses), self._words, valid_s=self._end_s)

    def draw(self):
        if not self.glimpses:
            raise ValueError("there is no glimpse to draw yet; call seen(glimpse) first")
        now = self.glimpses[-1]
        # places by hand: to find them out each time takes half of the time of a picture
        self.figure = Figure(figsize=(9.6, 4.4), facecolor=palette.PAPER)
        FigureCanvasAgg(self.figure)
        drawn = []
        if self.rows:
            places = {"left": 0.075, "right": 0.37, "top": 0.92, "bottom": 0.12, "hspace": 0.62}
            pair = self.figure.add_gridspec(2, 1, **places).subplots()
            drawn += plot_curves(self.rows, pair, title=self._title).axes
            pair[0].set_ylabel("loss (bold: mean)")
            top = pair[1].get_ylim()[1]
            pair[1].set_ylim(0, min(1.05, top))  # at first more words are invented than were said
            pair[1].set_ylabel("share of words")
            pair[1].set_title("Measured on other voices")
        else:
            self.figure.text(0.22, 0.52, "The curves appear\nwith the first steps.", ha="center",
                             va="center", fontsize=11, color=palette.INK)  # fmt: skip
        places = {"left": 0.47, "right": 0.96, "top": 0.92, "bottom": 0.12, "hspace": 0.1}
        drawn += plot_cross_attention(
            now.weights,
            self.figure.add_gridspec(2, 1, height_ratios=(1, 1.6), **places).subplots(),
            tokens=[word for word, *_ in self._words],
            mel=self._mel,
            spans=self._words,
            valid_s=self._end_s,
            each_row=True,
            title=f"Step {now.step}: where it looks for each word",
        ).axes
        told = self._tell()
        self.alt = f"{alt_of(drawn)} {told}"
        self.picture.value = picture_html(self.figure, self.alt)

    def _tell(self):
        """Says below the picture how far it is and what the last glimpse showed -> the words."""
        seen = self.glimpses[-1]
        said = " ".join(word for word, *_ in self._words)
        written = seen.written or "(nothing)"
        inside = (f"At step {seen.step} {seen.inside:.0%} of its attention lay inside the right "
                  "word: the boxes show when each was said.")  # fmt: skip
        rows = "".join(
            f'<tr><td style="padding-right:1em">{name}</td><td><b>{html.escape(text)}</b></td></tr>'
            for name, text in (("said", said), ("written by the model", written))
        )
        table = f'<table style="font-size:1.15em;line-height:1.4">{rows}</table>'
        progress = self._progress()
        self.second.value = f"{table}<p>{progress} {inside}</p>"
        return f"{progress} Said: {said}. Written by the model: {written}. {inside}"

    def _progress(self):
        """The step, the time so far and, from the pace of the steps so far, the time left."""
        now = time.monotonic()
        spent, step = now - self._began, self.glimpses[-1].step
        step = max(step, self.rows[-1]["step"]) if self.rows else step
        if not step:
            return f"Step 0 of {self._steps}: the recordings are being prepared."
        first, since = self._first or (step, now)
        left = (self._steps - step) * (now - since) / max(1, step - first)
        ahead = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} minutes"
        ahead = f", about {ahead} left" if left and step > first else ""
        return f"Step {step} of {self._steps} after {spent:.0f} s{ahead}."
