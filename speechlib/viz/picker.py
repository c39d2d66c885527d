"""Choose a layer and a head, see its map: drop-downs from ipywidgets, reachable by keyboard.

dict path -> (batch, head, query, key), as `sl.trace` gives it -> a picture that changes.
Notebook: 06_attention
"""

import ipywidgets

from speechlib.viz.attention_plots import plot_attention
from speechlib.viz.display import alt_of, picture_html
from speechlib.viz.plots import array_of
from speechlib.viz.widgets.fallback import with_fallback
from speechlib.viz.widgets.keyboard import KeyboardGuard


class HeadPicker(ipywidgets.VBox):
    """Layer, head and scale to choose; below them the map of that head.

    weights: dict path -> (batch, head, query, key); a list of such where a module ran more than
    once (its last is shown). batch: which item is shown. options: as for `plot_attention`
    (query_time, key_time, query_tokens, key_tokens), or a function path -> such a dict where the
    layers differ. plot: another function (weights (query, key), **options) -> artists.
    """

    def __init__(self, weights, batch=0, plot=plot_attention, options=None, **fixed):
        if not weights:
            raise ValueError("no weights to choose from: did the pattern given to sl.trace match?")
        self._weights = {path: _last(value, path) for path, value in weights.items()}
        self._batch, self._plot = batch, plot
        self._options = options or (lambda path: fixed)
        first = next(iter(self._weights))
        wide = {"description_width": "60px"}
        self.layer = ipywidgets.Dropdown(description="Layer", options=list(self._weights),
                                         value=first, style=wide,
                                         layout=ipywidgets.Layout(width="460px"))
        self.head = ipywidgets.Dropdown(description="Head", style=wide,
                                        options=range(self._weights[first].shape[1]),
                                        layout=ipywidgets.Layout(width="140px"))
        self.scale = ipywidgets.Dropdown(description="Shades", options=["linear", "log"],
                                         style=wide, layout=ipywidgets.Layout(width="170px"))
        self.picture = ipywidgets.HTML()
        super().__init__([ipywidgets.HBox([self.layer, self.head, self.scale],
                                          layout=ipywidgets.Layout(flex_flow="row wrap")),
                          self.picture, KeyboardGuard()])
        self.layer.observe(self._layer_chosen, "value")
        self.head.observe(self._draw, "value")
        self.scale.observe(self._draw, "value")
        self._draw()

    def _layer_chosen(self, change):
        heads = self._weights[self.layer.value].shape[1]
        if len(self.head.options) != heads:  # layers of two models may have different heads
            self.head.options = range(heads)
        self._draw()

    def _draw(self, change=None):
        path, head = self.layer.value, self.head.value
        if head is None or head >= self._weights[path].shape[1]:
            return  # between two layers with different numbers of heads
        title = f"{path.removesuffix('.weights')}, head {head}"
        options = dict(self._options(path), title=title)
        if self.scale.value == "log":
            options["log"] = True
        drawn = self._plot(self._weights[path][self._batch, head], **options)
        self.alt = alt_of(drawn.axes)
        # role=status: a screen reader says the new map's description when the choice changes
        self.picture.value = f'<div role="status">{picture_html(drawn.figure, self.alt)}</div>'

    def _repr_mimebundle_(self, **options):
        return with_fallback(super()._repr_mimebundle_(**options), self.picture.value,
                             f"HeadPicker: {len(self._weights)} layers. {self.alt}")


def pick_head(weights, batch=0, plot=plot_attention, options=None, **fixed):
    """A `HeadPicker` over weights: dict path -> (batch, head, query, key), as `sl.trace` gives."""
    return HeadPicker(weights, batch, plot, options, **fixed)


def _last(value, path):
    value = value[-1] if isinstance(value, list) else value
    return array_of(value, 4, path, "(batch, head, query, key)")
