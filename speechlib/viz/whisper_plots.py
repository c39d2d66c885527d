"""Pictures of a whole Whisper: its stages on one clock, one step of writing, where two models part.

Arrays -> artists, in the manner of `plots`; `pick_step` is the live view of the writing.
Notebook: 09_whisper
"""

import ipywidgets
import numpy as np

from speechlib.viz import palette
from speechlib.viz.display import Drawn, alt_of, describe, new_axes, picture_html
from speechlib.viz.plots import array_of, label, plain
from speechlib.viz.time_axis import WHISPER_ENCODER, WHISPER_MEL
from speechlib.viz.widgets.fallback import with_fallback
from speechlib.viz.widgets.keyboard import KeyboardGuard


def plot_stages(stages, ax=None, *, seconds=None, changes=False):
    """What a sound becomes on its way, one strip a stage, all on the same clock.

    stages: dict title -> (array (features, frames), TimeAxis). seconds: shown, from the start.
    changes: draw only what changes in time, each feature minus its mean over the shown seconds,
    all strips in one scale. ax: a sequence with one axes a stage.
    """
    arrays = {
        title: (array_of(values, 2, title, "(features, frames)"), time)
        for title, (values, time) in stages.items()
    }
    if changes:
        arrays = {title: (_changes(*one, seconds), one[1]) for title, one in arrays.items()}
    top = max(np.quantile(np.abs(values), 0.98) for values, _ in arrays.values())
    axes, own = new_axes(ax, (8, 0.6 + 1.15 * len(arrays)), rows=[1] * len(arrays))
    artists, words = [], []
    for one, (title, (values, time)) in zip(axes, arrays.items(), strict=True):
        features, frames = values.shape
        edges, step = time.edges(frames), round(1000 * time.hop_s)
        low, high = (-top, top) if changes else np.quantile(values, [0.02, 0.98])
        artists.append(one.imshow(
            values, cmap=palette.DIVERGING if changes else palette.SEQUENTIAL, aspect="auto",
            origin="lower", vmin=low, vmax=high, interpolation="nearest",
            extent=(edges[0], edges[-1], 0, features),
        ))  # fmt: skip
        one.set_title(
            f"{plain(title)}: {features} × {frames}, a frame every {step} ms",
            loc="left", fontsize=11,
        )
        one.set_yticks([0, features])
        one.set_ylabel("feature", fontsize=10)
        one.set_xlim(0, seconds or edges[-1])
        one.tick_params(labelbottom=one is axes[-1], labelsize=10)
        spread = f", spread over time {values.std():.2f}" if changes else ""
        words.append(f"{title}, {features} features by {frames} frames of {step} ms{spread}")
    if changes:
        axes[0].figure.colorbar(artists[-1], ax=axes, pad=0.01, label="minus its mean")
    scales = "" if changes else " · each strip from its own lowest (dark) to its highest"
    axes[-1].set_xlabel(f"time (seconds){scales}", fontsize=11)
    describe(axes[0], f"Stages of one sound, on one clock: {'; '.join(words)}.")
    return Drawn(artists, axes, own)


def _changes(values, time, seconds):
    """Each feature minus its mean over the frames of the first `seconds`."""
    end = time.frame(seconds) if seconds else values.shape[1]
    return values - values[:, :end].mean(axis=1, keepdims=True)


def plot_step(probabilities, weights, ax=None, *, names, said, mel=None, valid_s=None,
              time=WHISPER_ENCODER, mel_time=WHISPER_MEL):  # fmt: skip
    """One step of writing: where the decoder listened, and how likely each next token is.

    probabilities: (vocabulary,); names: their texts. weights: (frames,), one row of
    cross-attention. said: the text so far. mel: (mel bins, mel frames), drawn behind the row.
    ax: two axes (listening above, tokens below).
    """
    chances = array_of(probabilities, 1, "probabilities", "(vocabulary,)")
    row = array_of(weights, 1, "weights", "(frames,)")
    axes, own = new_axes(ax, (8, 4.4), rows=[1, 1])
    above, below = axes
    edges = time.edges(len(row))
    end = min(valid_s or edges[-1], edges[-1])
    artists = []
    if mel is not None:
        sound = array_of(mel, 2, "mel", "(mel bins, mel frames)")
        right = mel_time.edges(sound.shape[1])[-1]
        artists.append(above.imshow(
            sound, cmap="Greys", aspect="auto", origin="lower", alpha=0.5,
            extent=(0, right, 0, 1.05), interpolation="nearest",
        ))  # fmt: skip
    share = row / max(float(row.max()), 1e-9)
    centres = (edges[:-1] + edges[1:]) / 2
    artists += above.plot(centres, share, color=palette.OKABE_ITO[1], linewidth=2)
    above.set_xlim(0, end)
    above.set_ylim(0, 1.05)
    peak = float(centres[int(row.argmax())])
    label(above, f"written so far: {said}", "time (seconds)", "listened to")
    above.set_yticks([])
    best = int(chances.argmax())
    colours = [palette.OKABE_ITO[0] if i == best else "#b0b0b0" for i in range(len(chances))]
    artists += list(below.bar(range(len(chances)), chances, color=colours))
    short = [plain(name.strip("<|>")) for name in names]
    below.set_xticks(range(len(names)), short, rotation=45, ha="right", fontsize=9)
    below.text(best, float(chances[best]), f"{chances[best]:.0%}", ha="center", va="bottom")
    below.set_ylim(0, 1.15)
    label(below, "the next token", "", "probability")
    describe(above, f"After {said}: it listened most at {peak:.1f} seconds.")
    describe(below, f"Likeliest next token: {names[best]}, {chances[best]:.0%}.")
    return Drawn(artists, axes, own)


class StepPicker(ipywidgets.VBox):
    """A slider over the steps of writing; below, `plot_step` of that step.

    said: one text a step. probabilities (steps, vocabulary), weights (steps, frames). fixed: as
    for `plot_step`.
    """

    def __init__(self, said, probabilities, weights, **fixed):
        self._chances = array_of(probabilities, 2, "probabilities", "(steps, vocabulary)")
        self._rows = array_of(weights, 2, "weights", "(steps, frames)")
        self._said, self._fixed = list(said), fixed
        if not len(self._said) == len(self._chances) == len(self._rows):
            raise ValueError(
                f"one text, one row of probabilities and one row of weights a step are needed, got "
                f"{len(self._said)}, {len(self._chances)} and {len(self._rows)}"
            )
        self.step = ipywidgets.IntSlider(
            description="Step", min=1, max=len(self._said), value=1,
            style={"description_width": "50px"}, layout=ipywidgets.Layout(width="420px"),
        )  # fmt: skip
        self.picture = ipywidgets.HTML()
        super().__init__([self.step, self.picture, KeyboardGuard()])
        self.step.observe(self._draw, "value")
        self._draw()

    def _draw(self, change=None):
        n = self.step.value - 1
        drawn = plot_step(self._chances[n], self._rows[n], said=self._said[n], **self._fixed)
        self.alt = f"Step {n + 1} of {len(self._said)}. {alt_of(drawn.axes)}"
        # role=status: a screen reader says the new picture's description when the step changes
        self.picture.value = f'<div role="status">{picture_html(drawn.figure, self.alt)}</div>'

    def _repr_mimebundle_(self, **options):
        return with_fallback(
            super()._repr_mimebundle_(**options), self.picture.value, f"StepPicker: {self.alt}"
        )


def pick_step(said, probabilities, weights, **fixed):
    """A `StepPicker`: said (one text a step), probabilities (steps, vocabulary), weights (steps,
    frames); fixed: names, mel, valid_s as for `plot_step`."""
    return StepPicker(said, probabilities, weights, **fixed)


def plot_gaps(gaps, ax=None, *, tolerance=1e-4, title="Largest difference, layer by layer"):
    """How far two models are apart after each layer. gaps: dict path -> number, in layer order."""
    values = np.asarray([float(gap) for gap in gaps.values()])
    (ax,), own = new_axes(ax, (8, 1.0 + 0.3 * len(values)))
    floor = tolerance / 1000
    shown = np.clip(np.nan_to_num(values, nan=2 * tolerance), 2 * floor, None)
    far = [not value <= tolerance for value in values]
    colours = [palette.OKABE_ITO[1] if f else "#b0b0b0" for f in far]
    bars = ax.barh(range(len(values)), shown, color=colours)
    ax.set_xscale("log")
    ax.set_xlim(floor, max(float(shown.max()) * 300, tolerance * 100))
    for place, (value, is_far) in enumerate(zip(values, far, strict=True)):
        text = "differs" if is_far else "the same"
        ax.text(shown[place] * 1.15, place, f" {text} ({value:.2g})", va="center", fontsize=9)
    ax.set_yticks(range(len(values)), [path.removesuffix(".hidden") for path in gaps])
    ax.invert_yaxis()
    line = ax.axvline(tolerance, color=palette.INK, linewidth=1, linestyle="--")
    label(ax, title, "difference (log scale; dashed: tolerance)", "")
    words = ", ".join(f"{p.removesuffix('.hidden')} {v:.2g}" for p, v in zip(gaps, values,
                                                                            strict=True))
    describe(ax, f"{title}: {words}. Tolerance {tolerance:g}.")
    return Drawn([*bars, line], [ax], own)
