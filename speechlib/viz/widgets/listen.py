"""The first picture of the course: a recording, what the model wrote, where it listened.

Wave (samples,) -> the words with how sure the model is of each, over a `ListenMap`.
Special: a recording in which the model finds no word gets an answer, too.
Notebook: 00_start_here
"""

import html

import ipywidgets

from speechlib import corpus
from speechlib.torch_models import transcription
from speechlib.viz import listening
from speechlib.viz.widgets.fallback import with_fallback
from speechlib.viz.widgets.listen_map import ListenMap

_PLACES = {"en-us": "USA", "American": "USA", "en-gb-scotland": "Scotland",
           "en-gb-x-gbclan": "north of England", "es": "Spanish accent",
           "pt": "Portuguese accent"}
SURE = 0.5  # below this a word is marked as a guess
_NOTHING = ("The model wrote nothing: it found no word that it knows. If you did say one, the miss "
            "is the model's, not your voice's.")


def computer_voices(words=3):
    """[(label, path)] for a `Recorder`: one recording of so many digits for each kind of voice
    that no model was trained on."""
    about, found = corpus.speakers(), {}
    strangers = [one for one in corpus.digits("test") if len(one.words) == words]
    # first the voices that are joined from recorded speech: they are nicer to listen to
    strangers.sort(key=lambda one: about[one.voice]["synthesiser"] == "espeak-ng")
    for one in strangers:
        voice = about[one.voice]
        person = {"female": "a woman", "male": "a man"}[voice["sex"]]
        place = _PLACES.get(voice["accent"], voice["accent"])
        found.setdefault(f"{person}, {place}", one.path)
    return list(found.items())


def listen(wave, model=None):
    """Write down a recording and show where the model listened for each word; click a word.

    wave: (samples,) 16 kHz, at most one window of the model (whisper-digits: 6 s); model: from
    `sl.load`, None: whisper-digits. Returns a `Listening`. ValueError for what is not sound.
    """
    wave = listening.checked_wave(wave)
    model = transcription.ready(model)
    transcript, rows = transcription.listened(wave, model)
    mel = transcription.mel_for(model, wave)[0].cpu().numpy()
    return Listening(wave, mel, transcript, rows)


class Listening(ipywidgets.VBox):
    """`.transcript`, `.words` (texts) and `.weights` (words, frames), one row a word; shows itself.

    A word's row is where the decoder's cross-attention was while it wrote that word.
    """

    def __init__(self, wave, mel, transcript, rows):
        self.wave, self.transcript, self.weights = wave, transcript, rows
        self.words = [word for word, *_ in transcript.words]
        written = ipywidgets.HTML(written_html(transcript))
        self.map = ListenMap(wave, mel, transcript.words, rows) if self.words else None
        super().__init__([written, self.map] if self.map else [written])

    def _repr_mimebundle_(self, **options):
        shown = self.map.fallback_html() if self.map else ""
        return with_fallback(super()._repr_mimebundle_(**options),
                             written_html(self.transcript) + shown,
                             f"Listening: {self.transcript.text or _NOTHING}")


def written_html(transcript):
    """The words, large, each with how sure the model is; a guess carries a question mark."""
    if not transcript.words:
        return f'<p role="status" class="speechlib-written">{html.escape(_NOTHING)}</p>'
    words = "".join(
        '<span style="display:inline-block;text-align:center;margin:0 1.1em 0 0">'
        f'<b style="font-size:1.7em;line-height:1.3">{html.escape(word)}'
        f'{"" if probability >= SURE else "?"}</b><br>{probability:.0%} sure</span>'
        for word, _, _, probability in transcript.words)
    return ('<div role="status" class="speechlib-written" style="line-height:1.3;padding:2px">'
            f"The model wrote:<br>{words}</div>")
