"""Click a word, hear only what its cross-attention row listened to.

Wave, mel, words and their rows -> a map on which each word can be clicked. Everything is in the
page, compressed and small, so that it works without a kernel; a saved notebook also holds a
picture and one player a word for viewers that run no widgets.
Notebook: 00_start_here
"""

import base64
import io
import pathlib

import anywidget
import numpy as np
import traitlets

from speechlib.viz import listening, palette
from speechlib.viz.attention_plots import plot_cross_attention
from speechlib.viz.display import picture_html
from speechlib.viz.plots import array_of
from speechlib.viz.time_axis import TimeAxis
from speechlib.viz.widgets.fallback import with_fallback

_HERE = pathlib.Path(__file__).parent


class ListenMap(anywidget.AnyWidget):
    """Words over their attention rows; a click plays the recording with the row as its gain.

    wave: (samples,) 16 kHz; mel: (mel bins, mel frames) as the model saw it, padding included.
    words: texts, or (word, start_s, end_s, …) as in `Transcript.words`, which draws their boxes.
    rows: (words, frames) weights, one row a word (for words of several tokens: their mean).
    frame_s: seconds a frame of the rows (Whisper: 0.02); mel_frame_s: of the mel.
    """

    _esm = _HERE / "listen_map.js"
    _css = _HERE / "widgets.css"
    # Base64 text, not bytes: a saved notebook keeps text, JupyterLab drops binary state.
    audio = traitlets.Unicode().tag(sync=True)
    mel_png = traitlets.Unicode().tag(sync=True)
    rows = traitlets.Unicode().tag(sync=True)
    colours = traitlets.Unicode().tag(sync=True)
    words = traitlets.List(traitlets.Unicode()).tag(sync=True)
    spans = traitlets.List().tag(sync=True)
    readings = traitlets.List(traitlets.Unicode()).tag(sync=True)
    summary = traitlets.Unicode().tag(sync=True)
    frames = traitlets.Int().tag(sync=True)
    samples = traitlets.Int().tag(sync=True)
    frame_s = traitlets.Float(0.02).tag(sync=True)

    def __init__(self, wave, mel, words, rows, frame_s=0.02, mel_frame_s=0.01):
        self._wave = listening.checked_wave(wave)
        self._rows = array_of(rows, 2, "rows", "(words, frames)")
        if len(words) != len(self._rows):
            raise ValueError(f"one row a word is needed: {len(words)} words, "
                             f"{len(self._rows)} rows")
        self._mel = array_of(mel, 2, "mel", "(mel bins, mel frames)")
        self._time = TimeAxis(round(frame_s * listening.RATE))
        self._mel_time = TimeAxis(round(mel_frame_s * listening.RATE))
        texts = [w if isinstance(w, str) else w[0] for w in words]
        spans = [[] if isinstance(w, str) else [float(w[1]), float(w[2])] for w in words]
        encoded, _ = listening.encode(self._wave)
        super().__init__(
            audio=_text(encoded), samples=len(self._wave), frame_s=float(frame_s),
            rows=_text(self._rows.astype("<f4").tobytes()), frames=self._rows.shape[1],
            mel_png=_text(self._mel_png()), colours=palette.lookup_table(),
            words=[str(t).strip() for t in texts], spans=spans)
        self.readings = [self._reading(word, row)
                         for word, row in zip(self.words, self._rows, strict=True)]
        self.summary = ("Mel spectrogram of the recording, and below it one strip a word with "
                        "where it listened. " + " ".join(self.readings))

    @property
    def seconds(self):
        return len(self._wave) / listening.RATE

    def heard(self, word):
        """(samples,) what a click on word number `word` plays."""
        return listening.hear_row(self._wave, self._rows[word], self._time)

    def _reading(self, word, row):
        """One sentence: where the row is strongest, where its middle 80 % lie, how much outside."""
        inside = row[self._time.seconds(np.arange(len(row))) < self.seconds]
        total, share = inside.sum(), np.cumsum(inside) / max(inside.sum(), 1e-12)
        if total == 0:
            return f"“{word}” listened to nothing in the recording."
        low, high = (self._time.seconds(int(np.searchsorted(share, s))) for s in (0.1, 0.9))
        outside = 1 - total / row.sum()
        return (f"“{word}” listened most at {self._time.seconds(int(inside.argmax())):.2f} s; "
                f"the middle 80 % of it from {low:.2f} to {high:.2f} s"
                + (f"; {outside:.0%} went to the padding." if outside >= 0.005 else "."))

    def _mel_png(self):
        from PIL import Image

        frames = int(np.ceil(self.seconds / self._mel_time.hop_s))
        mel = self._mel[::-1, :frames]  # low bins at the bottom
        low, high = mel.min(), mel.max()
        shades = np.round(255 * (mel - low) / max(high - low, 1e-12)).astype(np.uint8)
        out = io.BytesIO()
        # 32 shades are as many as one can tell apart here, and compress to half the bytes
        Image.fromarray(shades // 8 * 8).save(out, format="PNG", optimize=True)
        return out.getvalue()

    def fallback_html(self):
        """A picture and a player a word, for viewers without widgets."""
        spans = [(w, *s) for w, s in zip(self.words, self.spans, strict=True) if s]
        drawn = plot_cross_attention(self._rows, tokens=self.words, mel=self._mel,
                                     time=self._time, mel_time=self._mel_time, spans=spans,
                                     valid_s=self.seconds)
        players = [listening.Player(self._wave, "the whole recording", quality=0.9)]
        players += [listening.Player(self.heard(i), f"what “{word}” listened to", quality=0.9)
                    for i, word in enumerate(self.words)]
        return picture_html(drawn.figure, drawn.alt) + "".join(p._repr_html_() for p in players)

    def _repr_mimebundle_(self, **options):
        return with_fallback(super()._repr_mimebundle_(**options), self.fallback_html(),
                             f"ListenMap: {', '.join(self.words)}. {' '.join(self.readings)}")


def _text(data):
    return base64.b64encode(data).decode("ascii")
