"""Speaking with espeak-ng, flite and festival: (voice, lines) -> Speech with word and phone times.

The times are the synthesiser's own, not an aligner's: espeak-ng reports them through its C library
(espeak.py), flite prints the phones of what it says, festival is asked in its own Scheme.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from speechlib.corpus import espeak
from speechlib.corpus.speech import Line, Span, Speech, resample
from speechlib.corpus.voices import Voice

PACKAGES = {  # Debian and Ubuntu
    "espeak-ng": "espeak-ng",
    "flite": "flite",
    "festival": "festival festvox-kdlpc16k festvox-us-slt-hts",
}


def require(voices: list[Voice]) -> None:
    """ValueError that names the Debian packages of the synthesisers these voices lack."""
    found = {
        "espeak-ng": espeak.library(),
        "flite": shutil.which("flite"),
        "festival": shutil.which("festival"),
    }
    lacking = sorted({voice.synthesiser for voice in voices if not found[voice.synthesiser]})
    if lacking:
        packages = " ".join(PACKAGES[name] for name in lacking)
        raise ValueError(
            f"the corpus is spoken by {' and '.join(lacking)}, not found here: "
            f"sudo apt-get install {packages}"
        )


def speak(voice: Voice, lines: list[Line]) -> list[Speech]:
    """All lines in one voice, at 16 kHz.

    Raises RuntimeError when a synthesiser fails or reports other words than it was given.
    """
    engine = {"espeak-ng": espeak.speak, "flite": _flite, "festival": _festival}[voice.synthesiser]
    return [resample(speech, voice.tract) for speech in engine(voice, lines)]


# -- flite ---------------------------------------------------------------------------------------

# How many phones flite's lexicon has for a digit: it prints the times of phones, not of words.
_PHONES_OF = {
    **{"zero": 4, "one": 3, "two": 2, "three": 3, "four": 3},
    **{"five": 3, "six": 4, "seven": 5, "eight": 2, "nine": 3},
}


def _flite(voice: Voice, lines: list[Line]) -> list[Speech]:
    return [_flite_line(voice, line) for line in lines]


def _flite_line(voice: Voice, line: Line) -> Speech:
    settings = {"duration_stretch": voice.stretch * line.stretch * voice.tract}
    if voice.pitch_range:  # 0: the melody as recorded
        settings["int_f0_target_mean"] = voice.pitch * line.pitch / voice.tract
        settings["int_f0_target_stddev"] = voice.pitch_range
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = ["flite", "-voice", voice.timbre, "-psdur", "-t", line.text, "-o", str(path)]
        for name, value in settings.items():
            command += ["--setf", f"{name}={value:.3f}"]
        marks = [mark.rsplit(":", 1) for mark in _run(command).split()]
        wave, rate = _read(path)
    phones = _phones([(label, float(end)) for label, end in marks])
    if not set(line.words) <= set(_PHONES_OF):  # not digits: no word times
        return Speech(wave, [], phones, rate)
    return Speech(wave, _digit_spans(line, phones), phones, rate)


def _phones(marks: list[tuple[str, float]]) -> list[Span]:
    """(label, end_s) -> spans; each begins where the one before ends, pauses are left out."""
    starts = [0.0] + [end for _, end in marks]
    return [(label, start, end)
            for (label, end), start in zip(marks, starts, strict=False) if label != "pau"]


def _digit_spans(line: Line, phones: list[Span]) -> list[Span]:
    spans, first = [], 0
    for word in line.words:
        last = first + _PHONES_OF[word] - 1
        spans.append((word, phones[first][1], phones[last][2]))
        first = last + 1
    if first != len(phones):
        raise RuntimeError(f"flite said {len(phones)} phones for {line.text!r}, not {first}")
    return spans


# -- festival ------------------------------------------------------------------------------------

_SCHEME = """
(define (say text file stretch)
  (Parameter.set 'Duration_Stretch stretch)
  (set! spoken (SynthText text))
  (utt.save.wave spoken file 'riff)
  (format t "line\\n")
  (mapcar (lambda (s) (format t "phone %s 0 %f\\n" (item.name s) (item.feat s "end")))
          (utt.relation.items spoken 'Segment))
  (mapcar (lambda (w) (format t "word %s %f %f\\n" (item.name w) (item.feat w "word_start")
                              (item.feat w "word_end"))) (utt.relation.items spoken 'Word)))
"""


def _festival(voice: Voice, lines: list[Line]) -> list[Speech]:
    script = [_SCHEME, f"(voice_{voice.timbre})"]
    if voice.pitch and voice.pitch_range:
        mean, spread = voice.pitch / voice.tract, voice.pitch_range
        script.append(f"(set! int_lr_params '((target_f0_mean {mean:.1f}) (target_f0_std {spread})"
                      " (model_f0_mean 170) (model_f0_std 34)))")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{n}.wav" for n in range(len(lines))]
        for line, path in zip(lines, paths, strict=True):
            stretch = voice.stretch * line.stretch * voice.tract
            script.append(f'(say "{line.text}" "{path}" {stretch:.3f})')
        program = Path(folder) / "say.scm"
        program.write_text("\n".join(script))
        reports = _run(["festival", "-b", str(program)]).split("line\n")[1:]
        return [_festival_speech(line, path, report)
                for line, path, report in zip(lines, paths, reports, strict=True)]


def _festival_speech(line: Line, path: Path, report: str) -> Speech:
    rows = [row.split() for row in report.splitlines()]
    phones = _phones([(label, float(end)) for kind, label, _, end in rows if kind == "phone"])
    times = [(float(start), float(end)) for kind, _, start, end in rows if kind == "word"]
    words = [(word, *span) for word, span in zip(line.words, times, strict=True)]
    wave, rate = _read(path)
    return Speech(wave, words, phones, rate)


def _read(path: Path):
    """(samples,) float32 and the sampling rate in Hz."""
    import soundfile

    return soundfile.read(path, dtype="float32")


def _run(command: list[str]) -> str:
    """What the command prints. LC_ALL=C: else decimal points follow the user's language."""
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[:200]}")
    return done.stdout
