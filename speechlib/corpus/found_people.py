"""Digits that people recorded for free software: unpacked packages -> files `recipes.people` reads.

input -> output: a folder with packages, unpacked (`dpkg-deb -x FILE.deb FOLDER`) or installed (`/`)
-> FOLDER/{digit}_{person}_{index}.wav, 16 kHz. `python -m speechlib.corpus.found_people --help`.
Special: those of "test" are never trained on; they say how well a model hears strangers. Those of
"train" go into the folder with the recordings of the Free Spoken Digit Dataset.

The packages are of Debian 12 (kajongg, tuxpaint-stamps-default, csmash-data, scid-data), of
Debian's newest suite (bambam, not1mm) and of Ubuntu 18.04 (the others). Their licences are in
usr/share/doc/*/copyright: GPL, but for bambam's sounds, by Voxeo, which are LGPL.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from speechlib import audio
from speechlib.corpus.processes import read
from speechlib.corpus.speech import Speech, resample
from speechlib.corpus.voices import DIGITS

# seconds where the digits one to nine begin: a tile's suit is said before. Found by moving the
# beginning until whisper-digits heard that digit alone, and was sure of it.
TILES = {
    ("female1", "b"): "0.31 0.38 0.43 0.35 0.34 0.35 0.38 0.42 0.31",
    ("female1", "c"): "0.44 0.45 0.50 0.48 0.46 0.48 0.48 0.48 0.45",
    ("female1", "s"): "0.42 0.47 0.48 0.37 0.43 0.51 0.50 0.52 0.47",
    ("female2", "b"): "0.43 0.41 0.43 0.39 0.39 0.41 0.42 0.53 0.40",
    ("female2", "c"): "0.67 0.69 0.71 0.72 0.73 0.65 0.64 0.52 0.48",
    ("female2", "s"): "0.34 0.38 0.48 0.55 0.47 0.48 0.36 0.44 0.38",
    ("male1", "b"): "0.25 0.34 0.37 0.44 0.37 0.35 0.34 0.34 0.34",
    ("male1", "c"): "0.41 0.47 0.46 0.43 0.44 0.43 0.40 0.33 0.43",
    ("male1", "s"): "0.39 0.44 0.39 0.46 0.38 0.44 0.47 0.43 0.41",
}


@dataclass(frozen=True)
class Person:
    """One speaker. path: of a recording, with {digit} or {word}; digits: those there are;
    starts_s: where each of them begins; raw: mu-law at 8 kHz without a header."""

    name: str
    split: str
    package: str
    path: str
    digits: range = range(10)
    starts_s: tuple[float, ...] = (0.0,) * 10
    index: int = 0
    raw: bool = False


def _of_tiles():
    for (voice, suit), starts in TILES.items():
        yield Person(
            f"kajongg-{voice}", "train", "kajongg",
            f"usr/share/kajongg/voices/{voice}/{suit}{{digit}}.ogg", range(1, 10),
            tuple(map(float, starts.split())), index="bcs".index(suit),
        )  # fmt: skip


STAMPS = "usr/share/tuxpaint/stamps/symbols/math/"
LETTERS = "usr/share/sp_alphabetsounds/"
PEOPLE = [
    *_of_tiles(),
    Person("tuxpaint", "train", "tuxpaint-stamps-default", STAMPS + "{digit}.ogg"),
    Person("voxeo", "train", "bambam",
           "usr/share/bambam/extensions/alphanumeric-en_US/sounds/{digit}.ogg"),
    Person("saytime", "train", "saytime", "usr/share/saytime/{digit}.au", raw=True),
    Person("predict", "train", "predict", "usr/lib/predict/{word}.wav"),
    Person("childsplay", "train", "childsplay", LETTERS + "en/U003{digit}.ogg"),
    Person("csmash", "test", "csmash-data", "usr/share/games/csmash/wav/{word}.wav"),
    Person("scid", "test", "scid-data", "usr/share/scid/sounds/{digit}.wav", range(1, 9)),
    Person("tuxpaint-gb", "test", "tuxpaint-stamps-default", STAMPS + "{digit}_en_GB.ogg"),
    Person("not1mm", "test", "not1mm", "usr/share/not1mm/data/phonetics/{digit}.wav"),
    Person("childsplay-gb", "test", "childsplay-alphabet-sounds-en-gb",
           LETTERS + "en_GB/U003{digit}.ogg"),
]  # fmt: skip


def recordings(person, root):
    """-> [(digit, wave (samples,) at 16 kHz)].

    Raises FileNotFoundError for a missing package, ValueError for other sounds in its place."""
    found = []
    for digit, start_s in zip(person.digits, person.starts_s, strict=False):
        path = Path(root) / person.path.format(digit=digit, word=DIGITS[digit])
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: it is in the package {person.package}")
        wave = _raw(path) if person.raw else audio.load(path)
        wave = wave[round(start_s * audio.SAMPLE_RATE) :]
        if not len(wave):
            raise ValueError(f"{path} ends before {start_s} s: it is another recording")
        found.append((digit, wave))
    return found


def _raw(path):
    wave, rate = read(path, format="RAW", subtype="ULAW", samplerate=8000, channels=1)
    return resample(Speech(wave, [], [], rate)).wave


def main(arguments=None) -> int:
    """`python -m speechlib.corpus.found_people ROOT --out FOLDER`"""
    import soundfile

    parser = argparse.ArgumentParser(prog="python -m speechlib.corpus.found_people",
                                     description=__doc__.partition("\n")[0])  # fmt: skip
    parser.add_argument("root", help="where the packages are unpacked; / where installed")
    parser.add_argument("--split", choices=("train", "test"), help="only these people")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
    args = parser.parse_args(arguments)
    wanted = [person for person in PEOPLE if args.split in (None, person.split)]
    try:
        found = [(person, recordings(person, args.root)) for person in wanted]
    except (FileNotFoundError, ValueError) as error:
        print(f"found_people: {error}", file=sys.stderr)
        return 2
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for person, said in found:
        for digit, wave in said:
            # of such folders 0 to 4 are the test part: what is to be trained on comes after it
            index = person.index + (5 if person.split == "train" else 0)
            name = f"{digit}_{person.name}_{index}.wav"
            soundfile.write(out / name, wave, audio.SAMPLE_RATE)
    print(f"{sum(len(said) for _, said in found)} recordings of "
          f"{len({person.name for person in wanted})} people in {out}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
