"""A library of training clips: voices -> one .npz a voice, with text, kind and word times.

`python -m speechlib.corpus.synthesise --out FOLDER` writes FOLDER/<split>/<voice>.npz:
    samples  (all samples,) int16, 16 kHz: the clips one after another, trimmed of silence
    starts   (clips + 1,) int64: clip n is samples[starts[n]:starts[n + 1]]
    texts    (clips,) str: the digit words; empty for a clip without digits
    kinds    (clips,) str: "digit", "string" or "other"
    words    JSON: for each clip its [word, start_s, end_s]
and FOLDER/voices.json, what each voice is. The same voice always gives the same file; `library.py`
reads them again.
"""

import argparse
import json
import multiprocessing
from dataclasses import asdict
from pathlib import Path
from random import Random

import numpy as np

from speechlib import audio
from speechlib.corpus import synthesisers
from speechlib.corpus.speech import Line, tidy
from speechlib.corpus.voices import (
    DIGITS,
    SPELLINGS,
    WHOLE_WORDS,
    Voice,
    all_voices,
    spellings,
)

TAKES, STRINGS, OTHERS = 3, 28, 14  # clips a voice: of each digit, of digit strings, without digits

# Words without digits: none contains a digit word, rhymes with one or sounds like one.
OTHER_WORDS = """hello please thank people water music garden window table kitchen morning evening
yesterday tomorrow weather summer winter autumn holiday letter paper pencil book library school
teacher student language computer keyboard doorbell message picture camera movie story chapter
animal rabbit horse elephant monkey kangaroo chicken butter bread cheese banana orange apple potato
tomato salad coffee sugar dinner breakfast family mother father sister brother children baby friend
doctor hospital medicine police fireman village city country mountain river ocean island beach
forest flower grass yellow purple green black silver golden color circle square triangle number
big small happy angry hungry thirsty quiet loud quick slow gentle strong beautiful dangerous
different difficult easy important interesting possible ready welcome goodbye sorry maybe never
always sometimes usually again because before after between under behind above inside outside
together another every nothing something question answer problem idea reason example moment minute
hour week month January February April August October Monday Tuesday Thursday Saturday market
shopping wallet dollar bank office meeting project system program button open close start stop
finish cancel search play pause volume record listen speak talk laugh cry walk jump swim dance
sing paint build carry bring throw catch push pull touch smell watch remember forget understand
believe imagine travel airport bicycle motorcycle railway ticket passport luggage hotel bathroom
bedroom blanket pillow mirror shower towel clothes jacket trousers skirt shoes glasses umbrella
hammer ladder bottle plastic metal wooden leather cotton power engine battery electric machine
science history physics chemistry biology nature planet universe rocket robot alphabet speech
grammar sentence vowel whisper melody guitar piano violin drum orchestra concert theatre museum
football tennis basketball hockey champion winner loser victory battle soldier army castle princess
dragon magic secret treasure pirate captain okay well yes no maybe really""".split()


def _draw_line(draw: Random, voice: Voice, words: tuple[str, ...], last: str) -> Line:
    written = draw.choice(spellings(voice)) if words[0] in DIGITS else {w: w for w in words}
    marks = [draw.choice(["", ",", ",", ";"]) for _ in words[:-1]] + [last]
    return Line(words, tuple(written[word] for word in words), tuple(marks),
                round(draw.uniform(0.8, 1.2), 2), round(draw.uniform(0.88, 1.14), 2))


def draw_lines(voice: Voice) -> tuple[list[Line], list[str]]:
    """What the voice says, and the kind of each line; drawn from the voice's name."""
    draw = Random(f"lines {voice.name}")
    ends = [".", ".", ".", "!", "?", ","]
    digits = [(digit,) for digit in DIGITS for _ in range(TAKES)]
    strings = [tuple(draw.choices(DIGITS, k=draw.randint(2, 4))) for _ in range(STRINGS)]
    others = [tuple(draw.sample(OTHER_WORDS, draw.choice([1, 1, 2, 3]))) for _ in range(OTHERS)]
    # a foreign voice would read English words by its own rules; of some only digits are here
    if voice.accent in SPELLINGS or voice.synthesiser in WHOLE_WORDS:
        others = []
    lines = [_draw_line(draw, voice, words, draw.choice(ends))
             for words in digits + strings + others]
    kinds = ["digit"] * len(digits) + ["string"] * len(strings) + ["other"] * len(others)
    return lines, kinds


def write_voice(voice: Voice, out: Path) -> dict:
    """Speak and store all lines of one voice; return its entry for voices.json."""
    lines, kinds = draw_lines(voice)
    said = [tidy(speech, margin_s=0.02) for speech in synthesisers.speak(voice, lines)]
    waves = [audio.to_int16(speech.wave) for speech in said]
    texts = [" ".join(line.words) if kind != "other" else ""
             for line, kind in zip(lines, kinds, strict=True)]
    path = out / voice.split / f"{voice.name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, samples=np.concatenate(waves), texts=np.array(texts), kinds=np.array(kinds),
             starts=np.cumsum([0] + [len(wave) for wave in waves]).astype(np.int64),
             words=json.dumps([speech.words for speech in said]))
    totals = {kind: kinds.count(kind) for kind in ("digit", "string", "other")}
    seconds = round(sum(map(len, waves)) / audio.SAMPLE_RATE, 2)
    return {**asdict(voice), "clips": totals, "seconds": seconds}


def _write_job(job: tuple[Voice, Path]) -> dict:
    return write_voice(*job)


def each_in_its_own_process(function, jobs: list, workers: int) -> list:
    """[function(job) for job in jobs], each in a fresh process, with a progress bar.

    espeak-ng draws random numbers as it speaks: a fresh process makes them independent of what
    was spoken before, and of the number of workers.
    """
    from tqdm import tqdm

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "soundfile", "soxr", "numpy"])
    with context.Pool(workers, maxtasksperchild=1) as pool:
        return list(tqdm(pool.imap(function, jobs, chunksize=1), total=len(jobs), unit=" voices"))


def synthesise(out: Path, voices: list[Voice] | None = None, workers: int = 2) -> list[dict]:
    """Write the library to `out`; returns an entry for each voice. Some minutes on two cores."""
    voices = all_voices() if voices is None else voices
    synthesisers.require(voices)
    jobs = [(voice, out) for voice in voices]
    entries = each_in_its_own_process(_write_job, jobs, workers)
    (out / "voices.json").write_text(json.dumps(entries, indent=1) + "\n")
    return entries


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    options = parser.parse_args(arguments)
    try:
        entries = synthesise(options.out, workers=options.workers)
    except ValueError as error:  # a synthesiser is missing
        parser.exit(2, f"{error}\n")
    for split in ("train", "valid", "test"):
        part = [entry for entry in entries if entry["split"] == split]
        clips = {kind: sum(e["clips"][kind] for e in part) for kind in ("digit", "string", "other")}
        print(f"{split}: {len(part)} voices, {clips}, {sum(e['seconds'] for e in part):.0f} s")


if __name__ == "__main__":
    main()
