"""festival, asked in its own Scheme: (voice, lines) -> Speech with the times of its own segments.

Its diphone and unit voices join pieces of one person's recordings; its HTS voices are statistics of
them. Voices of other languages read English digits as they are spelled there (voices.py).
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from speechlib.corpus.processes import read, run, spans
from speechlib.corpus.speech import Line, Speech
from speechlib.corpus.voices import Voice

PACKAGES = {  # voice -> packages of Debian and Ubuntu
    "ked_diphone": "festvox-kdlpc16k",
    "cmu_us_slt_arctic_hts": "festvox-us-slt-hts",
    "lp_diphone": "festvox-italp16k",
    "pc_diphone": "festvox-itapc16k",
    "upc_ca_ona_hts": "festvox-ca-ona-hts",
    "suo_fi_lj_diphone": "festvox-suopuhe-lj",
    "hy_fi_mv_diphone": "festvox-suopuhe-mv",
    "czech_dita": "festvox-czech-dita",
    "czech_krb": "festvox-czech-krb",
    "czech_machac": "festvox-czech-machac",
    "czech_ph": "festvox-czech-ph",
    "msu_ru_nsh_clunits": "festvox-ru",
}
EDGE_S = 0.03  # kept before the first phone and after the last
ENCODINGS = {"cs": "iso-8859-2"}  # what a language's rules read; else UTF-8

# Before the wave is made, the pitch targets are moved to the wanted mean and spread (Hz).
_SCHEME = """
(set! wanted_pitch 0)
(define (targets utt)
  (apply append (mapcar item.daughters (utt.relation.items utt 'Target))))
(define (at_least low value) (if (< value low) low value))
(define (f0 target) (item.feat target "f0"))
(define (mean values) (/ (apply + values) (length values)))
(define (move_pitch utt)
  (if (> wanted_pitch 0)
    (let ((found (targets utt)))
      (let ((middle (mean (mapcar f0 found))))
        (let ((spread (sqrt (mean (mapcar (lambda (x) (* (- (f0 x) middle) (- (f0 x) middle)))
                                          found)))))
          (mapcar (lambda (x) (item.set_feat x "f0" (at_least 50
                     (+ wanted_pitch (* (- (f0 x) middle) (/ wanted_spread (+ spread 1)))))))
                  found)))))
  utt)
(set! after_analysis_hooks (cons move_pitch after_analysis_hooks))
(define (say text file stretch pitch)
  (Parameter.set 'Duration_Stretch stretch)
  (set! wanted_pitch pitch)
  (set! spoken (SynthText text))
  (utt.save.wave spoken file 'riff)
  (format t "line\\n")
  (mapcar (lambda (s) (format t "phone %s 0 %f\\n" (item.name s) (item.feat s "end")))
          (utt.relation.items spoken 'Segment))
  (mapcar (lambda (w) (format t "word - %f %f\\n" (item.feat w "word_start")
                              (item.feat w "word_end"))) (utt.relation.items spoken 'Word)))
"""


def lacking(timbres: set[str]) -> list[str]:
    """Debian packages of the voices (and of festival itself) that are not here."""
    if not timbres:
        return []
    if not shutil.which("festival"):
        return ["festival", *sorted(PACKAGES[timbre] for timbre in timbres)]
    done = subprocess.run(["festival", "-b", "(print (voice.list))"], capture_output=True,
                          text=True, check=False)
    here = set(done.stdout.strip("() \n").split())
    return sorted(PACKAGES[timbre] for timbre in timbres - here)


def speak(voice: Voice, lines: list[Line]) -> list[Speech]:
    """All lines in one voice, in one run of festival."""
    moved = voice.pitch and voice.pitch_range  # 0: the melody as recorded
    script = [f"(voice_{voice.timbre})", _SCHEME, f"(set! wanted_spread {voice.pitch_range})"]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{n}.wav" for n in range(len(lines))]
        for line, path in zip(lines, paths, strict=True):
            stretch = voice.stretch * line.stretch * voice.tract
            pitch = voice.pitch * line.pitch / voice.tract if moved else 0
            # the Italian rules fail on some questions
            text = line.text.replace("?", ".") if voice.accent == "it" else line.text
            script.append(f'(say "{text}" "{path}" {stretch:.3f} {pitch:.1f})')
        program = Path(folder) / "say.scm"
        program.write_text("\n".join(script), ENCODINGS.get(voice.accent, "utf-8"))
        reports = run(["festival", "-b", str(program)]).split("line\n")[1:]
        return [_speech(line, path, report)
                for line, path, report in zip(lines, paths, reports, strict=True)]


def _speech(line: Line, path: Path, report: str) -> Speech:
    rows = [row.split() for row in report.splitlines()]
    marks = [(label, float(end)) for kind, label, _, end in rows if kind == "phone"]
    times = [(float(start), float(end)) for kind, _, start, end in rows if kind == "word"]
    words = [(word, *span) for word, span in zip(line.words, times, strict=True)]
    phones = spans(marks, pauses=("pau", "#", "_"))
    wave, rate = read(path)
    # some voices were recorded with a loud room: nothing of it is kept around the speech
    first, last = max(0.0, phones[0][1] - EDGE_S), phones[-1][2] + EDGE_S
    words, phones = ([(label, start - first, end - first) for label, start, end in found]
                     for found in (words, phones))
    return Speech(wave[round(first * rate) : round(last * rate)], words, phones, rate)
