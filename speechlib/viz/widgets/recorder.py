"""A voice recorder for the notebook: microphone, sound file or bundled voice -> `.wave`.

Sound -> (samples,) float32 mono 16 kHz. What the microphone gives is taken as it is (no noise
removal, no gain control) and resampled here. Without a microphone a file or a bundled voice does.
Notebook: 00_start_here
"""

import html
import pathlib

import anywidget
import ipywidgets
import numpy as np
import traitlets

from speechlib.viz import listening
from speechlib.viz.widgets.fallback import with_fallback

_HERE = pathlib.Path(__file__).parent
_NOTHING_YET = ("nothing has been recorded yet: press Record above and speak, "
                "or choose a computer voice")


class Recorder(anywidget.AnyWidget):
    """Shows a recorder; `.wave` is the newest recording, `.source` says where it came from.

    voices: (label, path or wave) of bundled voices. Until something is recorded, `.wave` is the
    first of them, so that a notebook runs from top to bottom without anybody at the microphone.
    max_seconds: recordings stop there. on_wave: called with each new wave.
    """

    _esm = _HERE / "recorder.js"
    _css = _HERE / "widgets.css"
    max_seconds = traitlets.Float(6.0).tag(sync=True)
    voice_labels = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(self, voices=(), max_seconds=6.0, on_wave=None):
        if not 0.5 <= max_seconds <= 30:
            raise ValueError(f"max_seconds must be 0.5 to 30; it is {max_seconds}")
        self._voices = [(str(label), sound) for label, sound in voices]
        self._wave, self._source = None, None
        self._callbacks = [on_wave] if on_wave else []
        self._first = False  # True while a function waits that has not run yet: models are loaded
        super().__init__(max_seconds=float(max_seconds),
                         voice_labels=[label for label, _ in self._voices])
        self.on_msg(self._receive)

    @property
    def wave(self):
        """(samples,) float32 mono 16 kHz; ValueError when there is none at all."""
        if self._wave is None:
            if not self._voices:
                raise ValueError(_NOTHING_YET)
            self._take_voice(0)
        return self._wave

    @property
    def source(self):
        """Where `.wave` comes from: "microphone", a file's name, or a bundled voice's label."""
        return self._source or (self._voices[0][0] if self._voices else None)

    def then(self, function):
        """This recorder with function(wave)'s output below it, run for each new recording."""
        return _RecorderWithOutput(self, function)

    def _receive(self, _, content, buffers):
        try:
            if content.get("type") == "voice":
                self._take_voice(int(content["index"]))
                note = ""
            else:
                wave = np.frombuffer(buffers[0], dtype="<f4")
                self._wave = to_16_khz(wave, float(content["rate"]))
                self._source = str(content["source"])
                note = f" Longer than {self.max_seconds:g} s: the rest was cut off." if (
                    content.get("cut")) else ""
            told = self._report(note)
            for function in self._callbacks:
                function(self._wave)
            if self._callbacks:
                self.send({"type": "said", "text": told})
        except Exception as error:
            self.send({"type": "error", "text": f"{type(error).__name__}: {error}"})
            raise

    def _take_voice(self, index):
        label, sound = self._voices[index]
        if isinstance(sound, (str, pathlib.Path)):
            from speechlib import audio

            sound = audio.load(sound)
        self._wave, self._source = listening.checked_wave(sound), label

    def _report(self, note):
        data, kind = listening.encode(self._wave)
        seconds, peak = len(self._wave) / listening.RATE, float(np.abs(self._wave).max())
        if peak < 0.02:
            note += " It is very quiet: go nearer to the microphone if the result is poor."
        told = f"{seconds:.1f} seconds from: {self._source}. Python has it.{note}"
        wait = " Listening …" if self._callbacks else ""
        wait += " That takes some seconds, this first time." if self._first else ""
        self._first = False
        self.send({"type": "done", "kind": kind, "source": self._source, "text": told + wait},
                  [data])
        return told

    def _repr_mimebundle_(self, **options):
        held = f", now: {self._source}" if self._source else ""
        labels = "".join(f"<li>{html.escape(label)}</li>" for label in self.voice_labels)
        voices = f" or choose a voice:<ul>{labels}</ul>" if labels else "."
        return with_fallback(
            super()._repr_mimebundle_(**options),
            "<p>A voice recorder stands here when the notebook runs: run this cell, press Record "
            f"and speak, load a sound file{voices}</p>",
            f"Recorder: up to {self.max_seconds:g} s, {len(self._voices)} bundled voices{held}")


class _RecorderWithOutput(ipywidgets.VBox):
    """A recorder and, below it, what a function makes of each recording."""

    def __init__(self, recorder, function):
        self.recorder = recorder
        self.output = ipywidgets.Output()
        self._function = function
        super().__init__([recorder, self.output])
        recorder._callbacks.append(self._run)
        recorder._first = True

    def _run(self, wave):
        from IPython.display import display

        self.output.clear_output()
        with self.output:  # errors appear here, too, not in a hidden log
            result = self._function(wave)
            if result is not None:
                display(result)

    def _repr_mimebundle_(self, **options):
        data, _ = self.recorder._repr_mimebundle_(**options)
        return with_fallback(super()._repr_mimebundle_(**options), data["text/html"],
                             data["text/plain"])


def to_16_khz(wave, rate):
    """(samples,) at any rate (Hz) -> (samples,) float32 at 16 kHz."""
    wave = listening.checked_wave(wave)
    if rate != listening.RATE:
        import soxr

        wave = soxr.resample(wave, rate, listening.RATE)
    return np.ascontiguousarray(wave, dtype=np.float32)
