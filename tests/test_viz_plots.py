"""Static pictures: titles, named axes, alt text from the data, colours that all can see."""

import base64
import io
import re

import matplotlib
import numpy as np
import pytest
from matplotlib import colormaps

from speechlib import viz
from speechlib.viz import display, palette
from speechlib.viz.time_axis import TimeAxis

RNG = np.random.default_rng(0)
WEIGHTS = RNG.dirichlet(np.ones(30), 4)
TABLE = np.sin(np.arange(20)[:, None] / 50 ** (np.arange(8) / 8))
PATHS = {f"encoder.blocks.{i}.self_attention.weights": RNG.dirichlet(np.ones(9), (1, 3, 9))
         for i in range(2)}
LOG = [{"step": n, "loss": 3 / n, "rate": 1e-3} | ({"words wrong": 1 / n} if n % 10 == 0 else {})
       for n in range(1, 41)]
PLOTS = {
    "curves": lambda ax=None: viz.plot_curves(LOG, ax),
    "waveform": lambda ax=None: viz.plot_waveform(
        RNG.normal(size=800), ax, spans=[("one", 0.01, 0.03)]),
    "log_mel": lambda ax=None: viz.plot_log_mel(RNG.normal(size=(8, 50)), ax, valid_frames=30),
    "attention": lambda ax=None: viz.plot_attention(WEIGHTS, ax, key_time=viz.WHISPER_ENCODER),
    "head_grid": lambda ax=None: viz.plot_head_grid(PATHS, ax),
    "cross_attention": lambda ax=None: viz.plot_cross_attention(WEIGHTS, ax, tokens=list("abcd")),
    "masks": lambda ax=None: viz.plot_masks({"causal": np.tril(np.ones((5, 5), bool))}, ax),
    "sinusoids": lambda ax=None: viz.plot_sinusoids(TABLE, ax),
    "confusion": lambda ax=None: viz.plot_confusion([[9, 1], [0, 4]], ["yes", "no"], ax),
    "matrix": lambda ax=None: viz.plot_matrix([[1.0, -2.0], [0.25, 4.0]], ax),
}


DOLLARS = ["$$", "$\\no$", "$5"]
TEXTS_OF_DATA = {
    "waveform": lambda: viz.plot_waveform(
        RNG.normal(size=800), spans=[(DOLLARS[1], 0.01, 0.03)], title=DOLLARS[0]),
    "attention": lambda: viz.plot_attention(
        np.eye(3), query_tokens=DOLLARS, key_tokens=DOLLARS, title=DOLLARS[1]),
    "cross_attention": lambda: viz.plot_cross_attention(WEIGHTS[:3], tokens=DOLLARS),
    "head_grid": lambda: viz.plot_head_grid(PATHS, layer_names=DOLLARS[:2]),
    "step": lambda: viz.plot_step(np.eye(3)[0], WEIGHTS[0], names=DOLLARS, said=DOLLARS[1]),
    "stages": lambda: viz.plot_stages({DOLLARS[1]: (WEIGHTS, viz.WHISPER_ENCODER)}),
    "confusion": lambda: viz.plot_confusion(np.eye(3), DOLLARS),
    "matrix": lambda: viz.plot_matrix(np.eye(3), row_labels=DOLLARS, column_labels=DOLLARS),
    "curves": lambda: viz.plot_curves([{"step": 1, "loss": 1.0, DOLLARS[0]: 0.5}]),
    "masks": lambda: viz.plot_masks(
        {DOLLARS[0]: np.eye(3, dtype=bool)}, row_labels=DOLLARS, column_labels=DOLLARS),
}


@pytest.mark.parametrize("name", TEXTS_OF_DATA)
def test_dollars_in_texts_of_the_data_are_no_mathematics(name):
    TEXTS_OF_DATA[name]().figure.canvas.draw()


def test_spans_that_overlap_can_be_told_apart():
    spans = [("nine", 0.0, 0.03), ("eight", 0.02, 0.04), ("zero", 0.04, 0.05)]
    drawn = viz.plot_waveform(RNG.normal(size=800), spans=spans)
    boxes = {a.get_text(): b for b, a in zip(drawn[1::2], drawn[2::2], strict=True)}
    tops = {name: box.get_y() + box.get_height() for name, box in boxes.items()}
    assert tops["eight"] < tops["nine"] == tops["zero"] == 1
    assert boxes["eight"].get_linestyle() != boxes["nine"].get_linestyle()


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_titled_names_its_axes_and_describes_itself(name):
    before = dict(matplotlib.rcParams)
    drawn = PLOTS[name]()
    assert len(drawn) > 0 and all(hasattr(a, "get_figure") or hasattr(a, "ax") for a in drawn)
    for ax in drawn.axes:
        assert ax.get_title() and ax.get_xlabel() and ax.get_ylabel()
        assert min(text.get_fontsize() for text in (ax.title, ax.xaxis.label)) >= 10
    assert len(drawn.alt) > 30
    assert drawn.figure.get_facecolor() == (1, 1, 1, 1)  # legible on a dark page, too
    assert dict(matplotlib.rcParams) == before
    html = drawn._repr_mimebundle_()["text/html"]
    assert re.search(r'<img [^>]*alt="[^"]{30,}"', html)
    assert len(html) < 60_000


@pytest.mark.parametrize("name", [n for n in PLOTS if n not in ("sinusoids", "curves")])
def test_a_plot_uses_the_axes_it_is_given(name):
    from matplotlib import pyplot

    figure, ax = pyplot.subplots()
    drawn = PLOTS[name](ax)
    assert drawn.axes == [ax] and drawn.figure is figure
    assert "text/html" not in drawn._repr_mimebundle_()  # the figure is shown by its owner
    pyplot.close(figure)


def test_alt_text_tells_what_the_data_say():
    weights = np.full((3, 100), 1e-3)
    weights[1, 60] = 0.9
    told = viz.plot_attention(weights, query_tokens=["one", "two", "six"],
                              key_time=viz.WHISPER_ENCODER).alt
    assert "“two” to key 1.20 s, 0.9" in told
    told = viz.plot_masks({"causal": np.tril(np.ones((3, 3), bool))}).alt
    assert "TFF, TTF, TTT" in told
    assert "-2.00" in viz.plot_matrix([[1.0, -2.0]]).alt
    told = viz.plot_cross_attention(weights, tokens=["one", "two", "six"], valid_s=1.0).alt
    assert "“two” at 1.20 s" in told and "padding" in told


def test_curves_grow_with_the_training():
    live = viz.LiveCurves(every_s=0, also=lambda log: f"<p>{len(log)} rows</p>")
    with pytest.raises(ValueError, match="the log is empty"):
        viz.plot_curves([])
    for row in LOG[:12]:
        live(row)
    assert "after 12 steps" in live.alt and "words wrong: 0.1" in live.alt
    bundle, _ = live._repr_mimebundle_()
    assert "12 rows" in bundle["text/html"] and "after 12 steps" in bundle["text/html"]


def test_masks_are_told_apart_without_colour():
    mask = np.tril(np.ones((4, 4), bool))
    (ax,) = viz.plot_masks({"causal": mask}).axes
    hatched = {(p.get_x() + 0.5, p.get_y() + 0.5) for p in ax.patches if p.get_hatch()}
    assert hatched == {(j, i) for i, j in zip(*np.nonzero(~mask), strict=True)}
    letters = {t.get_position(): t.get_text() for t in ax.texts}
    assert letters[0, 3] == "T" and letters[3, 0] == "F"


@pytest.mark.parametrize("bad, message", [
    (lambda: viz.plot_attention(np.ones((2, 3, 4))), "choose one item"),
    (lambda: viz.plot_attention(np.ones(4)), "(query, key)"),
    (lambda: viz.plot_attention(np.ones((2, 3)), query_tokens=["a"]), "2 query positions but 1"),
    (lambda: viz.plot_masks({"bias": np.array([[0.0, -1e9]])}), "additive bias"),
    (lambda: viz.plot_matrix(np.ones((30, 30))), "20 x 20"),
    (lambda: viz.plot_head_grid({}), "no weights"),
    (lambda: viz.plot_cross_attention(WEIGHTS, tokens=["a"]), "4 rows, 1 tokens"),
    (lambda: viz.plot_sinusoids(TABLE, np.array([1])), "3 axes"),
])
def test_wrong_input_is_named(bad, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        bad()


def test_show_wants_alt_text_and_closes_the_figure(capsys):
    from matplotlib import pyplot

    figure, ax = pyplot.subplots()
    ax.plot([1, 2])
    with pytest.raises(ValueError, match="alt"):
        viz.show(figure)
    viz.show(ax, alt="a <rising> line")
    assert figure.number not in pyplot.get_fignums()
    assert 'alt="a &lt;rising&gt; line"' in display.picture_html(figure, "a <rising> line")


def test_pictures_are_small_and_true_to_the_colour_map():
    from PIL import Image

    drawn = viz.plot_attention(RNG.dirichlet(np.ones(300), 300), log=True)
    drawn.figure.draw_without_rendering()  # the layout settles in the first drawing
    data = display.png_bytes(drawn.figure)
    assert len(data) < 150_000
    exact = io.BytesIO()
    drawn.figure.savefig(exact, format="png", dpi=display.DPI)
    pixels = [np.asarray(Image.open(io.BytesIO(d)).convert("RGB"), int)
              for d in (data, exact.getvalue())]
    assert np.abs(pixels[0] - pixels[1]).max() <= 24
    assert base64.b64encode(data).decode() in display.picture_html(drawn.figure, "noise")


def test_a_transparent_figure_gets_paper_below_its_dark_ink():
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(facecolor="none")
    figure.subplots().set_axis_off()
    corner = Image.open(io.BytesIO(display.png_bytes(figure))).convert("RGB").getpixel((0, 0))
    assert corner == (255, 255, 255)


# --- colours --------------------------------------------------------------------------------------

# Machado, Oliveira & Fernandes 2009, table 1, severity 1.0: linear RGB as the three kinds of
# colour-blind people see it.
BLINDNESS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}


def lab(colours, kind=None):
    """sRGB (n, 3) in 0..1 -> CIELAB, as someone with this colour vision sees it."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    if kind:
        linear = np.clip(linear @ np.array(BLINDNESS[kind]).T, 0, 1)
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722],
                             [0.0193, 0.1192, 0.9505]]).T / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]),
                     200 * (f[:, 1] - f[:, 2])], axis=1)


def rises_evenly(name, kind):
    lightness = lab(colormaps[name](np.linspace(0, 1, 64))[:, :3], kind)[:, 0]
    return (np.diff(lightness) > 0).all() and np.ptp(lightness) > 55


@pytest.mark.parametrize("kind", [None, *BLINDNESS])
def test_lightness_rises_along_the_map_for_everybody(kind):
    assert rises_evenly(palette.SEQUENTIAL, kind)
    assert not rises_evenly("jet", kind)  # what the check is for


@pytest.mark.parametrize("kind", [None, *BLINDNESS])
def test_signs_and_categories_stay_apart_for_everybody(kind):
    def closest(colours):
        seen = lab(np.array(colours), kind)
        return min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i])

    ends = [colormaps[palette.DIVERGING](x)[:3] for x in (0.15, 0.5, 0.85)]
    assert closest(ends) > 20
    assert closest([matplotlib.colors.to_rgb(c) for c in palette.OKABE_ITO]) > 8
    if kind in ("protan", "deutan"):
        assert closest([(0, 0.67, 0), (0.82, 0.5, 0)]) < 20  # green and orange do not


# --- time -----------------------------------------------------------------------------------------

def test_frames_and_seconds_are_the_same_clock():
    assert viz.WHISPER_ENCODER.seconds(50) == pytest.approx(1.0)
    assert viz.WHISPER_MEL.seconds(100) == pytest.approx(1.0)
    assert viz.WAVLM_ENCODER.seconds(0) == pytest.approx(199.5 / 16000)
    for axis in (viz.WHISPER_ENCODER, viz.WHISPER_MEL, viz.WAVLM_ENCODER):
        frames = np.arange(40)
        assert (axis.frame(axis.seconds(frames)) == frames).all()
        assert np.allclose(np.diff(axis.edges(40)), axis.hop_s)
        start, end = axis.support_s(3)
        assert (end - start) * 16000 == pytest.approx(axis.support)
    # encoder frame t sees mel frames 2t-2 … 2t+2, each of 400 samples
    start, _ = viz.WHISPER_ENCODER.support_s(10)
    assert start == pytest.approx(viz.WHISPER_MEL.support_s(18)[0])
    assert TimeAxis(320).frame(-1) == 0
