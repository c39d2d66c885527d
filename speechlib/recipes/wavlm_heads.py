"""What the recipes of heads on the small WavLM share: whose clips they learn from, and their files.

input -> output: folders of sets -> `Piece`s; a model, names of its classes, a card -> a folder in
Hugging Face's format, weights in float16.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speechlib import audio, paths
from speechlib.audio import SAMPLE_RATE
from speechlib.corpus.utterances import read_manifest
from speechlib.recipes import cards, people, wavlm_base, wavlm_clips
from speechlib.torch_models.loading import write_folder


@dataclass(frozen=True)
class Piece:
    """One utterance in memory. The timbre tells whose voices resemble each other."""

    samples: np.ndarray  # (samples,) int16: half the memory of float32
    text: str
    voice: str
    timbre: str
    speech: tuple[int, int]  # first sample of the first word, end of the last

    def wave(self):
        """(samples,) float32."""
        return self.samples.astype(np.float32) / 32768


def pieces(folders, split, kinds):
    """Utterances of sets made by `corpus build --set commands|numbers --out FOLDER`; without
    folders the bundled ones. kinds: "command", "keyword", "number". Raises ValueError for none."""
    folders = folders or [paths.data_folder() / name for name in ("commands", "numbers")]
    found = []
    for folder in map(Path, folders):
        voices = json.loads((folder / "voices.json").read_text("utf-8"))
        rows = read_manifest(folder)
        found += [_piece(u, voices) for u in rows if u.split == split and u.kind in kinds]
    if not found:
        raise ValueError(
            f"expected a {' or a '.join(kinds)} of the split {split} in "
            f"{', '.join(map(str, folders))}, found none; "
            "python -m speechlib corpus build --set commands --out FOLDER makes some"
        )
    return found


def _piece(spoken, voices):
    samples = audio.to_int16(spoken.wave())
    first = round(spoken.words[0][1] * SAMPLE_RATE)
    end = min(len(samples), round(spoken.words[-1][2] * SAMPLE_RATE))
    timbre = voices[spoken.voice]["timbre"]
    return Piece(samples, spoken.text, spoken.voice, timbre, (first, end))


def real_pieces(folder, only=(), indices=people.EVERY[:2]):
    """Single digits that people said, each of them twice; see `people.recordings`."""
    found = []
    for path, word, speaker in people.recordings(folder, only=only, indices=indices):
        samples = audio.to_int16(audio.load(path))
        found.append(Piece(samples, word, speaker, speaker, (0, len(samples))))
    return found


def by_voice(clips):
    """Voice -> its pieces, voices in the order of their names."""
    return dict(sorted(wavlm_clips.by_voice(clips).items()))


def untrained(model):
    """The same model with fresh weights, always the same ones: what is reached without learning."""
    torch.manual_seed(0)
    return type(model)(type(model.encoder)(model.encoder.config), model.config).eval()


def command(args):
    """What makes a checkpoint again, as it is typed."""
    parts = [f"python -m speechlib train {args.name}"]
    if args.data:
        parts.append("--data " + " ".join(Path(folder).name.upper() for folder in args.data))
    parts += [f"--{name} {getattr(args, name):g}" for name in ("steps", "batch", "rate", "decay")]
    parts += [f"--start {Path(args.start).name}"] if args.start else []
    return " ".join(parts)


def write_checkpoint(model, args, card, labels=None):
    """The folder args.out/NAME: weights (float16), configs, and the card with what was typed.
    labels: names of the classes, in their order."""
    folder = Path(args.out, args.name)
    write_folder(model, folder, dtype="float16")
    wavlm_base.write_preprocessor(folder)
    if labels is not None:
        path = folder / "config.json"
        config = json.loads(path.read_text("utf-8"))
        del config["num_labels"]  # the table says how many there are
        config["id2label"] = {str(n): label for n, label in enumerate(labels)}
        config["label2id"] = {label: n for n, label in enumerate(labels)}
        paths.write_json(path, config)
    training = {"command": command(args), "steps": args.steps, "batch": args.batch}
    parameters = sum(p.numel() for p in model.parameters())
    cards.write(folder, card | {"training": training, "parameters": parameters})
