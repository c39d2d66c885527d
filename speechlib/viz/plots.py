"""Pictures of sound in Matplotlib.

Arrays -> artists. Every function takes `ax=None` (None: a figure of its own), returns its artists
as a list that shows itself as the last line of a cell, titles the plot, names both axes with
units, and writes alt text from the data. Nothing touches rcParams. Time comes from a `TimeAxis`.
Notebook: 00_start_here
"""

import numpy as np

from speechlib.viz import palette
from speechlib.viz.display import Drawn, describe, new_axes
from speechlib.viz.time_axis import WHISPER_MEL, TimeAxis


def plot_waveform(wave, ax=None, *, spans=(), rate=16000, title="Waveform"):
    """A wave against time. wave: (samples,); spans: (label, start_s, end_s, …) to mark."""
    wave = array_of(wave, 1, "wave", "(samples,)")
    (ax,), own = new_axes(ax, (8, 2.4))
    seconds = TimeAxis(1, rate=rate).seconds(np.arange(len(wave)))
    artists = list(ax.plot(seconds, wave, color=palette.OKABE_ITO[0], linewidth=0.7))
    peak = float(np.abs(wave).max()) if len(wave) else 0.0
    artists += mark_spans(ax, spans, height=1.32 * (peak or 1.0))
    label(ax, title, "time (seconds)", "amplitude")
    ax.set_ylim(-1.1 * (peak or 1.0), (1.35 if spans else 1.1) * (peak or 1.0))
    ax.set_xlim(0, max(len(wave) / rate, 1 / rate))
    describe(ax, f"{title}: {len(wave) / rate:.2f} seconds of sound, highest amplitude "
                 f"{peak:.2f}.{_spans_in_words(spans)}")
    return Drawn(artists, [ax], own)


def plot_log_mel(mel, ax=None, *, time=WHISPER_MEL, valid_frames=None, spans=(), hertz=None,
                 title="Log-mel spectrogram"):
    """A log-mel spectrogram as the model sees it. mel: (mel bins, frames).

    valid_frames: frames that hold sound; those after them are padding and are hatched.
    hertz: centre frequency of each mel bin, (mel bins,), put beside the bin numbers.
    """
    mel = array_of(mel, 2, "mel", "(mel bins, frames)")
    (ax,), own = new_axes(ax, (8, 3))
    bins, frames = mel.shape
    image = ax.imshow(mel, origin="lower", aspect="auto", interpolation="nearest",
                      cmap=palette.SEQUENTIAL, extent=(*time.edges(frames)[[0, -1]], 0, bins))
    artists = [image, ax.figure.colorbar(image, ax=ax, pad=0.01, label="log power")]
    if valid_frames is not None and valid_frames < frames:
        artists.append(_hatch_after(ax, time.edges(frames)[valid_frames], "padding"))
    artists += mark_spans(ax, spans, height=bins)
    if hertz is not None:
        _hertz_labels(ax, hertz, bins)
    label(ax, title, "time (seconds)", "mel bin" if hertz is None else "mel bin (centre, Hz)")
    ax.set_xlim(0, time.edges(frames)[-1])
    padding = f", padding from {time.seconds(valid_frames):.2f} s" if len(artists) > 2 and (
        valid_frames is not None and valid_frames < frames) else ""
    describe(ax, f"{title}: {bins} mel bins over {time.edges(frames)[-1]:.2f} seconds{padding}, "
                 f"values {mel.min():.2f} to {mel.max():.2f}.{_spans_in_words(spans)}")
    return Drawn(artists, [ax], own)


# --- shared small parts ---------------------------------------------------------------------------

def array_of(value, dimensions, name, shape):
    """The value as a NumPy array (a torch tensor, too); ValueError on the wrong dimensions."""
    value = value.detach().cpu() if hasattr(value, "detach") else value
    value = np.asarray(value)
    if value.ndim != dimensions or value.size == 0:
        raise ValueError(f"{name} must be {shape} and not empty; it has shape {value.shape}"
                         + (": choose one item of it first" if value.ndim > dimensions else ""))
    return value.astype(float) if value.dtype != bool else value


def plain(text):
    """The text for Matplotlib, which would read what stands between two $ as mathematics."""
    return str(text).replace("$", r"\$")


def label(ax, title, x, y):
    ax.set_title(plain(title), fontsize=12)
    ax.set_xlabel(plain(x), fontsize=11)
    ax.set_ylabel(plain(y), fontsize=11)
    ax.tick_params(labelsize=10)


def mark_spans(ax, spans, height):
    """Bordered stretches of time with their label at the top. Of two that overlap the later one is
    lower and dashed: else nobody could tell whose borders are whose."""
    artists, levels = [], []  # levels: where the last one of each ends
    for text, start, end, *_ in spans:
        free = [level for level, until in enumerate(levels) if until <= start + 1e-9]
        level = free[0] if free else len(levels)
        levels[level : level + 1] = [end]
        top = 1 - 0.14 * level
        artists.append(ax.axvspan(start, end, ymax=top, facecolor="none",
                                  edgecolor=palette.OKABE_ITO[1], linewidth=1.2,
                                  linestyle="--" if level % 2 else "-"))
        place, across = (top - 0.015, ax.get_xaxis_transform()) if level else (height, ax.transData)
        artists.append(ax.text((start + end) / 2, place, plain(text), transform=across, ha="center",
                               va="top", fontsize=10, bbox={
                                   "facecolor": "white", "edgecolor": "none", "pad": 1,
                                   "alpha": 0.85}))  # fmt: skip
    return artists


def _spans_in_words(spans):
    said = [f"{text} {start:.2f} to {end:.2f} s" for text, start, end, *_ in spans]
    return f" Marked: {', '.join(said)}." if said else ""


def _hatch_after(ax, start, text):
    low, high = ax.get_ylim()
    right = ax.get_xlim()[1]
    patch = ax.axvspan(start, right, facecolor="none", edgecolor="white", hatch="//", linewidth=0)
    ax.text((start + right) / 2, (low + high) / 2, text, ha="center", va="center", fontsize=10,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})
    return patch


def _hertz_labels(ax, hertz, bins):
    if len(hertz) != bins:
        raise ValueError(f"hertz needs one frequency a mel bin: {bins} bins, {len(hertz)} values")
    chosen = np.linspace(0, bins - 1, 6).round().astype(int)
    ax.set_yticks(chosen + 0.5, [f"{b} ({hertz[b]:.0f})" for b in chosen])
