"""Set the situation, see who may look: sliders over three masks side by side.

words kept from before, new words, padding and its side -> causal, padding and combined mask.
Notebook: 05_masks
"""

import ipywidgets
import numpy as np

from speechlib import attention_masks
from speechlib.viz.display import alt_of, picture_html
from speechlib.viz.tables import plot_masks
from speechlib.viz.widgets.fallback import with_fallback
from speechlib.viz.widgets.keyboard import KeyboardGuard


class MaskPicker(ipywidgets.VBox):
    """One text of a batch: choose its past, its new words and its padding.

    Below the controls: the causal mask, the padding mask, both combined with `&`, and in words
    which queries may look at nothing. `.mask` (query, key) is the combined one.
    """

    def __init__(self, past=0, new=5, padding=0, side="right"):
        wide = {
            "style": {"description_width": "130px"},
            "layout": ipywidgets.Layout(width="420px"),
        }
        slider = ipywidgets.IntSlider
        self.past = slider(past, 0, 4, description="Words from before", **wide)
        self.new = slider(new, 1, 6, description="New words", **wide)
        self.padding = slider(padding, 0, 3, description="Padding", **wide)
        self.side = ipywidgets.Dropdown(
            description="Padding stands", options=["right", "left"], value=side, **wide
        )
        self.picture = ipywidgets.HTML()
        controls = [self.past, self.new, self.padding, self.side]
        super().__init__([*controls, self.picture, KeyboardGuard()])
        for control in controls:
            control.observe(self._draw, "value")
        self._draw()

    def _draw(self, change=None):
        size = self.past.value + self.new.value
        queries, keys = np.arange(self.past.value, size), np.arange(size)
        left = self.side.value == "left"
        pads = min(self.padding.value, size - 1)  # one word at least is real
        real = keys >= pads if left else keys < size - pads
        causal = attention_masks.causal_mask(queries, keys)
        self.mask = attention_masks.combine(causal, real[None])[0, 0]
        padded = np.broadcast_to(real, causal.shape)
        drawn = plot_masks(
            {"causal": causal, "padding": padded, "both: causal & padding": self.mask},
            row_labels=queries, column_labels=keys,
        )  # fmt: skip
        blind = [str(query) for query, row in zip(queries, self.mask, strict=True) if not row.any()]
        self.answer = "Every query may look at something."
        if blind:
            word = "query" if len(blind) == 1 else "queries"
            self.answer = f"{len(blind)} {word} may look at nothing: {word} {', '.join(blind)}."
        if pads < self.padding.value:
            self.answer += f" Padding drawn: {pads}, since one word at least is real."
        self.alt = f"{alt_of(drawn.axes)} {self.answer}"
        self.picture.value = (
            f'<div role="status">{picture_html(drawn.figure, self.alt)}'
            f"<div><b>{self.answer}</b></div></div>"
        )

    def _repr_mimebundle_(self, **options):
        return with_fallback(
            super()._repr_mimebundle_(**options), self.picture.value, f"MaskPicker: {self.answer}"
        )


def pick_masks(past=0, new=5, padding=0, side="right"):
    """A `MaskPicker`: words from before, new words, padding and its side ("right" or "left")."""
    return MaskPicker(past, new, padding, side)
