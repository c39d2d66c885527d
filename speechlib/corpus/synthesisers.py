"""Speaking with five synthesisers: (voice, lines) -> Speech with word and phone times.

The times are the synthesiser's own, not an aligner's: espeak-ng reports them through its C library
(espeak.py), flite prints the phones of what it says, festival is asked in Scheme (festival.py).
A person's recordings are joined (recordings.py), and so are words by Pico and RHVoice, which
give no times (whole_words.py).
"""

import functools
import shutil
import tempfile
from pathlib import Path

from speechlib.corpus import espeak, festival, recordings, whole_words
from speechlib.corpus.grammar import all_words
from speechlib.corpus.processes import read, run, spans
from speechlib.corpus.speech import Line, Span, Speech, resample
from speechlib.corpus.voices import Voice

PACKAGES = {  # Debian and Ubuntu; festival's are in festival.py
    "espeak-ng": "espeak-ng",
    "flite": "flite",
    "asterisk": recordings.PACKAGE,
}


def require(voices: list[Voice]) -> None:
    """ValueError that names the Debian packages of the synthesisers and voices lacking here."""
    found = {  # the others are looked at voice by voice
        "espeak-ng": espeak.library(),
        "flite": shutil.which("flite"),
        "asterisk": recordings.FOLDER.is_dir(),
    }
    wanted = {voice.synthesiser for voice in voices}
    lacking = sorted(name for name, here in found.items() if name in wanted and not here)
    packages = [PACKAGES[name] for name in lacking]
    unheard = festival.lacking({v.timbre for v in voices if v.synthesiser == "festival"})
    apart = whole_words.lacking([v for v in voices if v.synthesiser in whole_words.PROGRAMS])
    if packages or unheard or apart:
        names = [*lacking, *(["festival with all its voices"] if unheard else []),
                 *(["pico and rhvoice, of the part non-free,"] if apart else [])]
        raise ValueError(
            f"the corpus is spoken by {' and '.join(names)}, not found here: "
            f"sudo apt-get install {' '.join(packages + unheard + apart)}"
        )


def speak(voice: Voice, lines: list[Line]) -> list[Speech]:
    """All lines in one voice, at 16 kHz.

    Raises RuntimeError when a synthesiser fails or reports other words than it was given.
    """
    engines = {
        "espeak-ng": espeak.speak,
        "flite": _flite,
        "festival": festival.speak,
        "asterisk": recordings.speak,
        **dict.fromkeys(whole_words.PROGRAMS, whole_words.speak),
    }
    return [resample(speech, voice.tract) for speech in engines[voice.synthesiser](voice, lines)]


# -- flite ---------------------------------------------------------------------------------------

# How many phones flite's lexicon has for a digit: it prints the times of phones, not of words.
_PHONES_OF = {
    **{"zero": 4, "one": 3, "two": 2, "three": 3, "four": 3},
    **{"five": 3, "six": 4, "seven": 5, "eight": 2, "nine": 3},
}
_TIMED = all_words()


@functools.cache
def _phones_of(word: str) -> int:
    """The same for any word, which flite is asked to say alone."""
    if word in _PHONES_OF:
        return _PHONES_OF[word]
    return len(_flite_phones(run(["flite", "-psdur", "-t", word, "-o", "none"])))


def _flite_phones(report: str) -> list[Span]:
    marks = [mark.rsplit(":", 1) for mark in report.split()]
    return spans([(label, float(end)) for label, end in marks])


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
        phones = _flite_phones(run(command))
        wave, rate = read(path)
    if not set(line.words) <= _TIMED:  # nobody writes these down
        return Speech(wave, [], phones, rate)
    return Speech(wave, _word_spans(line, phones), phones, rate)


def _word_spans(line: Line, phones: list[Span]) -> list[Span]:
    found, first = [], 0
    for word in line.words:
        last = first + _phones_of(word) - 1
        found.append((word, phones[first][1], phones[last][2]))
        first = last + 1
    if first != len(phones):
        raise RuntimeError(f"flite said {len(phones)} phones for {line.text!r}, not {first}")
    return found
