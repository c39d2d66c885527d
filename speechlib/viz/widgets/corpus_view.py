"""A viewer of the corpus: waveform, mel, words, phones, who speaks; plays what one clicks.

Utterances -> one of them on a time axis in seconds, a drop-down for the others. Only the one shown
is in the page (and in a saved notebook); Python sends another when it is chosen.
"""

import base64
import html
import io
import pathlib

import anywidget
import numpy as np
import traitlets

from speechlib.viz import listening, palette, utterance_plots
from speechlib.viz.display import picture_html
from speechlib.viz.widgets.fallback import with_fallback

_HERE = pathlib.Path(__file__).parent
LONG = 5  # seconds: from here on more compressed, and no player in a saved notebook


def view(utterances, index=0):
    """Look at and listen to the corpus: `view(sl.corpus.digits("test"))`, or one utterance.

    Returns a CorpusViewer, which shows itself as the last line of a cell. ValueError where there is
    nothing that could be shown.
    """
    return CorpusViewer(utterances, index)


class CorpusViewer(anywidget.AnyWidget):
    """Waveform, log-mel, words and phones on one time axis; a click plays exactly that stretch.

    utterances: one of `speechlib.corpus`, or a list of them; index: the one to begin with.
    """

    _esm = _HERE / "corpus_view.js"
    _css = _HERE / "widgets.css"
    # Base64 text, not bytes: a saved notebook keeps text, JupyterLab drops binary state.
    shown = traitlets.Dict().tag(sync=True)

    def __init__(self, utterances, index=0):
        self._utterances = _checked(utterances)
        self._index = None
        super().__init__()
        self.show(index)
        self.on_msg(self._receive)

    @property
    def utterance(self):
        """The one on show."""
        return self._utterances[self._index]

    def show(self, index):
        """Show number `index` of the list. ValueError where there is none."""
        count = len(self._utterances)
        if not isinstance(index, (int, np.integer)) or not 0 <= index < count:
            raise ValueError(f"expected a number from 0 to {count - 1} ({count} utterances), "
                             f"got {index!r}")
        self._index = int(index)
        self.shown = {"index": self._index, **packed(self.utterance)}

    def _receive(self, _, content, buffers):
        if content.get("type") == "list":  # asked for by the page, so that no notebook stores it
            names = [f"{i}: {utterance_plots.shortened(utterance_plots.heading(u), 60)}"
                     + (f" · {u.voice}" if getattr(u, "voice", "") else "")
                     for i, u in enumerate(self._utterances)]
            self.send({"type": "list", "names": names})
        elif content.get("type") == "show":
            try:
                self.show(content.get("index"))
            except Exception as error:
                self.send({"type": "error", "text": f"{type(error).__name__}: {error}"})
                raise

    def fallback_html(self):
        """Picture, player and table of words, for viewers without widgets."""
        one = self.utterance
        drawn = utterance_plots.plot_utterance(one)
        name = utterance_plots.shortened(utterance_plots.heading(one), 60)
        player = ("<p>Run this cell to hear it.</p>" if one.duration_s > LONG else
                  listening.Player(one.wave(), name, quality=_quality(one))._repr_html_())
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row)
                       + "</tr>" for row in self.shown["rows"])
        head = "".join(f"<th>{name}</th>" for name in self.shown["columns"])
        table = (f"<details><summary>Words and times</summary><table><tr>{head}</tr>{rows}"
                 "</table></details>") if rows else ""
        return picture_html(drawn.figure, drawn.alt, dpi=75) + player + table

    def _repr_mimebundle_(self, **options):
        return with_fallback(super()._repr_mimebundle_(**options), self.fallback_html(),
                             f"CorpusViewer: {utterance_plots.heading(self.utterance)}. "
                             f"{self.shown['summary']}")


def packed(utterance):
    """All that the page needs of one utterance, as text and numbers."""
    wave = listening.checked_wave(utterance.wave())
    sound, _ = listening.encode(wave, quality=_quality(utterance))
    mel, mel_end = mel_png(wave)
    rows = [(voice, word, f"{start:.2f}", f"{end:.2f}", phones)
            for voice, word, start, end, phones in utterance_plots.word_rows(utterance)]
    columns = ["voice", "word", "from (s)", "to (s)", "phones"]
    letters = utterance_plots.voice_letters(utterance)
    if "A" not in letters:  # one voice needs no column
        rows, columns = [row[1:] for row in rows], columns[1:]
    return {
        "text": utterance.text or "no words in it", "samples": len(wave),
        "german": getattr(utterance, "translation", ""),
        "voices": ", ".join(f"{letter or 'voice'}: {voice}" for letter, voice in letters.items()),
        "audio": _base64(sound), "mel": _base64(mel), "mel_end": mel_end,
        "lanes": [{"name": lane.name, "kind": lane.kind, "voice": lane.voice,
                   "spans": [list(span) for span in lane.spans]}
                  for lane in utterance_plots.lanes(utterance)],
        "rows": [list(row) for row in rows], "columns": columns,
        "summary": utterance_plots.in_words(utterance)}


def mel_png(wave):
    """(PNG bytes in the colours of our maps, low bins at the bottom; time in s of its right
    edge)."""
    from matplotlib import colormaps
    from PIL import Image

    shades, end_s = utterance_plots.mel_shades(wave)
    image = Image.fromarray(shades).convert("P")
    colours = colormaps[palette.SEQUENTIAL](np.linspace(0, 1, utterance_plots.SHADES), bytes=True)
    image.putpalette(colours[:, :3].tobytes())
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return out.getvalue(), end_s


def _quality(utterance):
    return 0.99 if utterance.duration_s > LONG else 0.9


def _checked(utterances):
    """A list of what can be shown."""
    found = [utterances] if hasattr(utterances, "wave") else utterances
    if isinstance(found, (list, tuple)) and found and all(
            hasattr(one, "wave") and hasattr(one, "words") for one in found):
        return list(found)
    hint = {dict: ": choose one voice of it", list: " that holds something else or nothing"}
    raise ValueError("expected an utterance of speechlib.corpus or a list of them (such as "
                     "sl.corpus.digits('test')), got a "
                     f"{type(utterances).__name__}{hint.get(type(utterances), '')}")


def _base64(data):
    return base64.b64encode(data).decode("ascii")
