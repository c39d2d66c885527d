"""Pictures in a notebook: small, legible in light and dark themes, never without alt text.

figure -> <img alt="…"> with a compressed PNG inside. JupyterLab drops the alt text of plain
image/png outputs (its image renderer sets src, width and height only), so the picture goes out as
HTML, which JupyterLab, VS Code, Colab and GitHub all show with its alt text.
"""

import base64
import html
import io
import weakref

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from speechlib.viz import palette

DPI = 100
_ALT = weakref.WeakKeyDictionary()  # axes -> what the plot on it shows, in words


class Drawn(list):
    """The artists of one plot, a list, with .axes (list), .figure and .alt.

    As the last line of a cell it shows its picture, alt text included, if the plot made its own
    figure; a plot drawn on your own axes is shown by `show(fig)`.
    """

    def __init__(self, artists, axes, own_figure):
        super().__init__(artists)
        self.axes = list(axes)
        self.own_figure = own_figure

    @property
    def figure(self):
        return self.axes[0].get_figure()

    @property
    def alt(self):
        return alt_of(self.axes)

    def _repr_mimebundle_(self, include=None, exclude=None):
        text = f"Picture: {self.alt}" if self.own_figure else f"<{len(self)} artists: {self.alt}>"
        bundle = {"text/plain": text}
        if self.own_figure:
            bundle["text/html"] = picture_html(self.figure, self.alt)
        return bundle


def new_axes(ax, figsize, columns=1, rows=(1,)):
    """(list of axes, True if the figure is our own). ax: None, an axes, or a sequence of them.

    rows: relative heights, one a row.
    """
    if ax is not None:
        axes = list(ax.flat) if hasattr(ax, "flat") else list(ax) if _is_many(ax) else [ax]
        if len(axes) != columns * len(rows):
            raise ValueError(f"this plot draws on {columns * len(rows)} axes and was given "
                             f"{len(axes)}; plt.subplots({len(rows)}, {columns}) makes them")
        return axes, False
    # Not through pyplot: the inline backend would show the figure a second time, without alt.
    figure = Figure(figsize=figsize, layout="constrained", facecolor=palette.PAPER)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=rows)
    return list(axes.flat), True


def describe(ax, text):
    """Remember in words what is on these axes; `show` uses it when no alt text is given."""
    _ALT[ax] = text


def alt_of(axes):
    return " ".join(_ALT[ax] for ax in axes if ax in _ALT)


def png_bytes(figure, dpi=DPI):
    """The figure as PNG bytes, with a palette of 128 colours where that is smaller."""
    from PIL import Image

    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=dpi, facecolor=_opaque(figure))
    image = Image.open(raw).convert("RGB")
    small = io.BytesIO()
    # maximum coverage leaves no colour far from its own; median cut dulls a colour map's ends
    image.quantize(128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        small, format="PNG", optimize=True)
    return min(raw.getvalue(), small.getvalue(), key=len)


def picture_html(figure, alt, dpi=DPI):
    """<img> with the PNG and the alt text inside; ValueError without alt text."""
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError("a picture needs alt text that says what it shows: show(fig, alt='…')")
    data = base64.b64encode(png_bytes(figure, dpi)).decode("ascii")
    width, height = (round(inches * dpi) for inches in figure.get_size_inches())
    return (f'<img class="speechlib-picture" alt="{html.escape(alt.strip(), quote=True)}" '
            f'width="{width}" height="{height}" '
            f'style="max-width:100%;height:auto;background-color:white" '
            f'src="data:image/png;base64,{data}">')


def show(picture, alt=None, dpi=DPI):
    """Show a figure once, with alt text, and close it.

    picture: what a plot function returned, a Matplotlib figure, axes or artist.
    alt: what the picture shows, in words; plots of this package bring their own, yours are
    better where they say what the learner should notice. ValueError where there is neither.
    """
    from IPython.display import HTML, display

    figure = _figure_of(picture)
    alt = alt or alt_of(figure.axes)
    display(HTML(picture_html(figure, alt, dpi)))
    from matplotlib import pyplot

    pyplot.close(figure)  # else the inline backend shows it again at the end of the cell


def _figure_of(picture):
    if isinstance(picture, Figure):
        return picture
    if isinstance(picture, (list, tuple)) and not isinstance(picture, Drawn) and picture:
        picture = picture[0]
    if hasattr(picture, "get_figure"):
        figure = picture.get_figure()
        return figure if isinstance(figure, Figure) else figure.figure  # of a subfigure: the whole
    if isinstance(picture, Drawn):
        return picture.figure
    raise ValueError("show() takes a figure, axes, artists or what a plot function returned; "
                     f"it was given {type(picture).__name__}")


def _is_many(ax):
    return isinstance(ax, (list, tuple))


def _opaque(figure):
    """A transparent figure would put dark text on a dark theme: give it a white background."""
    colour = figure.get_facecolor()
    return palette.PAPER if colour[3] < 1 else colour
