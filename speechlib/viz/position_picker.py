"""Move a position, see what moves with it: a slider over `plot_similarity`.

dict title -> table (positions, width) -> a picture that changes.
Notebook: 03_positions
"""

import ipywidgets

from speechlib.viz.display import alt_of, picture_html
from speechlib.viz.plots import array_of
from speechlib.viz.position_plots import plot_similarity
from speechlib.viz.widgets.fallback import with_fallback
from speechlib.viz.widgets.keyboard import KeyboardGuard


class PositionPicker(ipywidgets.VBox):
    """A table and a position to choose; below, that row's dot products with all rows.

    tables: dict title -> (positions, width).
    """

    def __init__(self, tables, position=None):
        if not tables:
            raise ValueError("no table to choose from: give a dict title -> (positions, width)")
        self._tables = {t: array_of(v, 2, t, "(positions, width)") for t, v in tables.items()}
        first = next(iter(self._tables))
        last = len(self._tables[first]) - 1
        wide = {"description_width": "70px"}
        self.table = ipywidgets.Dropdown(
            description="Table", options=list(self._tables), value=first, style=wide,
            layout=ipywidgets.Layout(width="420px"),
        )  # fmt: skip
        self.position = ipywidgets.IntSlider(
            description="Position", min=0, max=last, style=wide,
            value=last // 4 if position is None else position,
            layout=ipywidgets.Layout(width="420px"),
        )  # fmt: skip
        self.picture = ipywidgets.HTML()
        super().__init__([self.table, self.position, self.picture, KeyboardGuard()])
        self.table.observe(self._table_chosen, "value")
        self.position.observe(self._draw, "value")
        self._draw()

    def _table_chosen(self, change):
        last = len(self._tables[self.table.value]) - 1
        if self.position.max != last:
            with self.position.hold_trait_notifications():
                self.position.max, self.position.value = last, last // 4
        self._draw()

    def _draw(self, change=None):
        title = self.table.value
        drawn = plot_similarity(self._tables[title], self.position.value, title=title)
        self.alt = alt_of(drawn.axes)
        self.picture.value = f'<div role="status">{picture_html(drawn.figure, self.alt)}</div>'

    def _repr_mimebundle_(self, **options):
        return with_fallback(
            super()._repr_mimebundle_(**options), self.picture.value,
            f"PositionPicker: {', '.join(self._tables)}. {self.alt}",
        )  # fmt: skip


def pick_position(tables, position=None):
    """A `PositionPicker` over tables: dict title -> (positions, width)."""
    return PositionPicker(tables, position)
