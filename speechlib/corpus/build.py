"""Make the bundled toy corpus: voices -> data/digits/ (sounds, manifest, voices, checksums).

`python -m speechlib corpus build` writes <split>/<voice>_<number>.ogg, manifest.jsonl (a line for
each utterance), voices.json and SHA256SUMS. Everything is drawn from fixed seeds: two runs on one
machine give the same bytes. Needs espeak-ng and flite; learners never do.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from random import Random

import numpy as np

from speechlib import paths
from speechlib.audio import SAMPLE_RATE
from speechlib.corpus import synthesisers, voices
from speechlib.corpus.noise import mains
from speechlib.corpus.speech import Line, Speech, ogg_bytes, tidy, widen_gaps
from speechlib.corpus.synthesise import OTHER_WORDS, each_in_its_own_process
from speechlib.corpus.voices import DIGITS, Voice

UTTERANCES = 13  # a voice
LONGEST_S = 5.5  # whisper-digits' window is 6 s
OTHERS = 2  # utterances without digits, a test voice
NOISES = (("silence", "zero"), ("silence", "hiss"), ("noise", "white"), ("noise", "pink"),
          ("noise", "hum"), ("noise", "clicks"))

# timbre and accent of espeak-ng; the name says the sex
TOY_VOICES = {
    "f01": ("f1", "en"), "f02": ("f2", "en-us"), "f03": ("f3", "en-gb-scotland"),
    "f04": ("Alicia", "en-us"), "f05": ("Annie", "en-gb-x-rp"), "f06": ("steph", "en-029"),
    "f07": ("anika", "fr"), "f08": ("belinda", "en-us"), "f09": ("f4", "en"),
    "f10": ("linda", "en-gb-x-gbclan"), "f11": ("aunty", "hi"), "f12": ("Andrea", "de"),
    "f13": ("f5", "es"),
    "m01": ("default", "en"), "m02": ("m1", "en-us"), "m03": ("m3", "en-us-nyc"),
    "m04": ("Gene", "en-gb-x-gbcwmd"), "m05": ("adam", "en-029"), "m06": ("Alex", "de"),
    "m07": ("john", "it"), "m08": ("paul", "es"), "m09": ("max", "nl"), "m10": ("pablo", "pl"),
    "m11": ("victor", "en-us"), "m12": ("m7", "en-gb-scotland"), "m13": ("david", "en"),
    "m14": ("m6", "en-us-nyc"), "m15": ("benjamin", "pt"),
}
TOY_RECORDED = {"f20": ("slt", 0), "f21": ("slt", 3), "m20": ("awb", 0), "m21": ("kal16", 0),
                "m22": ("kal16", 5), "m23": ("rms", 0), "m24": ("rms", 4)}


def toy_voices() -> dict[str, Voice]:
    """Name in the corpus -> voice; the same people as in the training library."""
    rows = {row[1]: row for row in voices.RECORDED}
    named = {name: voices.espeak_voice(*pair) for name, pair in TOY_VOICES.items()}
    named |= {name: voices.recorded_voice(rows[timbre], copy)
              for name, (timbre, copy) in TOY_RECORDED.items()}
    return named


def draw_lines(name: str, voice: Voice) -> list[tuple[str, Line]]:
    """(kind, line) of everything a voice says: strings of one to four digits, each digit often."""
    draw = Random(f"toy {name}")
    pool = [digit for _ in range(4) for digit in draw.sample(DIGITS, len(DIGITS))]
    lines = []
    for n in range(UTTERANCES):
        words = [pool.pop() for _ in range(1 + n % 4)]
        lines.append(("digits", _line(draw, voice, words)))
    if voice.split == "test" and voice.accent not in voices.SPELLINGS:
        lines += [("words", _line(draw, voice, draw.sample(OTHER_WORDS, 1 + n % 3)))
                  for n in range(OTHERS)]
    return lines


def _line(draw: Random, voice: Voice, words: list[str]) -> Line:
    spelling = {**{word: word for word in words}, **voices.spellings(voice)[0]}
    marks = [draw.choice(["", "", ",", ";"]) for _ in words[:-1]] + [draw.choice([".", ".", "?"])]
    return Line(tuple(words), tuple(spelling[word] for word in words), tuple(marks),
                round(draw.uniform(0.85, 1.15), 2), round(draw.uniform(0.92, 1.1), 2))


def build_voice(job: tuple[str, Voice, Path]) -> list[dict]:
    """Speak and store one voice's utterances; returns their lines of the manifest."""
    name, voice, out = job
    draw, rows = Random(f"gaps {name}"), []
    kinds, lines = zip(*draw_lines(name, voice), strict=True)
    for n, (kind, line, speech) in enumerate(
            zip(kinds, lines, synthesisers.speak(voice, lines), strict=True)):
        speech = tidy(speech, margin_s=0.05, peak=round(draw.uniform(0.3, 0.8), 2))
        room = (LONGEST_S - 0.6 - len(speech.wave) / SAMPLE_RATE) / len(line.words)
        speech = widen_gaps(speech, draw, longest_s=max(0.0, min(0.6, room)))
        text = " ".join(line.words) if kind == "digits" else ""
        rows.append(store(out, f"{name}_{n:04d}", text, name, voice.split, kind, speech))
    return rows


def store(out, stem, text, voice, split, kind, speech: Speech) -> dict:
    """Write one sound; returns its line of the manifest."""
    path = out / split / f"{stem}.ogg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ogg_bytes(speech.wave))
    timed = text != ""  # words without digits are not to be written, so they get no times
    return {"file": f"{split}/{stem}.ogg", "text": text, "voice": voice, "split": split,
            "kind": kind, "duration_s": round(len(speech.wave) / SAMPLE_RATE, 3),
            "words": speech.words if timed else [], "phones": speech.phones if timed else []}


def noise(kind: str, seconds: float = 2.5) -> np.ndarray:
    """(samples,) float32 without speech: "zero", "hiss", "white", "pink", "hum" or "clicks"."""
    size = round(seconds * SAMPLE_RATE)
    rng = np.random.default_rng(NOISES.index(next(row for row in NOISES if row[1] == kind)))
    white = rng.standard_normal(size)
    if kind == "pink":  # power falls as 1 / frequency
        spectrum = np.fft.rfft(white) / np.sqrt(np.maximum(np.arange(size // 2 + 1), 20))
        white = np.fft.irfft(spectrum, size)
    if kind == "hum":
        white = mains(size)
    if kind == "clicks":
        white = white * (rng.random(size) < 0.0005)
    level = {"zero": 0.0, "hiss": 0.0005}.get(kind, 0.05)
    return (level * white / white.std()).clip(-0.7, 0.7).astype(np.float32)


def build(out: Path, names: list[str] | None = None, workers: int = 2) -> list[dict]:
    """Write the toy corpus (or only the voices `names`) to the folder `out`.

    Returns the lines of the manifest. Raises ValueError when a synthesiser is not installed.
    """
    people = toy_voices()
    people = {name: people[name] for name in (names or sorted(people))}
    synthesisers.require(list(people.values()))
    jobs = [(name, voice, out) for name, voice in people.items()]
    rows = [row for rows in each_in_its_own_process(build_voice, jobs, workers) for row in rows]
    if names is None:
        rows += [store(out, f"{kind}_{sound}", "", "", "test", kind, Speech(noise(sound), [], []))
                 for kind, sound in NOISES]
    write_index(out, rows, people)
    return rows


def write_index(out: Path, rows: list[dict], people: dict[str, Voice]) -> None:
    """The manifest, the voices and the checksums of a folder whose sounds are written."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (out / "manifest.jsonl").write_text(text, "utf-8")
    entries = {name: {**asdict(voice), "name": voice.name} for name, voice in people.items()}
    (out / "voices.json").write_text(json.dumps(entries, indent=1) + "\n", "utf-8")
    sums = [f"{hashlib.sha256((out / row['file']).read_bytes()).hexdigest()}  {row['file']}\n"
            for row in rows]
    (out / "SHA256SUMS").write_text("".join(sums), "utf-8")


def add_arguments(parser) -> None:
    parser.add_argument("--set", default="digits", dest="name",
                        choices=["digits", "commands", "numbers", "conversations"],
                        help="what to speak (default: digits)")
    parser.add_argument("--out", type=Path, help="folder to write to (default: data/<set>)")
    parser.add_argument("--takes", type=int, default=1,
                        help="times as much of each voice (default: 1; not for digits)")
    parser.add_argument("--everyone", action="store_true",
                        help="all English voices, not only the bundled ones (not for digits)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")


def run(arguments) -> int:
    from speechlib.corpus.cast import everyone
    from speechlib.corpus.sets import build_set

    more = arguments.everyone or arguments.takes != 1
    if more and (arguments.name == "digits" or arguments.out is None):
        raise ValueError("expected --takes and --everyone with --out and a --set other than digits "
                         "(more digits: python -m speechlib.corpus.synthesise)")
    if arguments.takes < 1:
        raise ValueError(f"expected --takes of 1 or more, got {arguments.takes}")
    out = arguments.out or paths.data_folder() / arguments.name
    try:
        if arguments.name == "digits":
            rows = build(out, workers=arguments.workers)
        else:
            voices = everyone() if arguments.everyone else None
            rows = build_set(arguments.name, out, voices, arguments.takes, arguments.workers)
    except RuntimeError as error:  # a synthesiser that is not as it should be: one line is enough
        raise ValueError(str(error)) from error
    size = sum((out / row["file"]).stat().st_size for row in rows)
    for split in ("train", "valid", "test"):
        part = [row for row in rows if row["split"] == split]
        heard = {row["voice"] for row in part}
        heard |= {voice for row in part for voice, _, _ in row.get("turns", [])}
        people = len(heard - {""})
        seconds = sum(row["duration_s"] for row in part)
        print(f"{split}: {len(part)} utterances, {people} voices, {seconds:.0f} s")
    print(f"{out}: {size / 1e6:.2f} MB of sound")
    return 0
