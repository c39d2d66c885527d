"""wavlm-voices: a WavLM that turns a recording into a point; recordings of one voice lie together.

input -> output: sets of commands and numbers (`corpus build --everyone`) -> a checkpoint folder.
Special: every voice is also played slower and faster, always by the same factor: that is another
throat and pace, so it counts as another voice. Nothing else that tells voices apart is disturbed.
The margin of AM-softmax grows from zero: a fresh head cannot meet the whole of it.

Notebook: 14_xvector
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from speechlib import corpus, training
from speechlib.audio import SAMPLE_RATE
from speechlib.configs import XVectorConfig
from speechlib.corpus import waveforms
from speechlib.recipes import voice_figures, wavlm_base, wavlm_heads
from speechlib.recipes.voice_figures import measure  # noqa: F401, what `evaluate` asks for
from speechlib.torch_models import losses
from speechlib.torch_models.heads import XVector

NAME = "wavlm-voices"
DEFAULTS = {"steps": 11000, "batch": 24, "rate": 1e-3, "decay": 0.5, "start": wavlm_base.START}
TAKES = ("data", "start", "watch")
KINDS = ("command", "keyword", "number")
SPEEDS = (0.86, 1.0, 1.16)  # each makes another voice of every voice
SECONDS = (0.5, 0.75, 1.0, 1.5, 2.0)  # of the pieces of a batch
MARGIN, RISES = 0.2, 0.4  # of AM-softmax, and the share of the steps in which it grows to that
CARD = {
    "task": "tell whether two recordings are of one voice, by the cosine of their embeddings",
    "system": "WavLM with an x-vector head, AM-softmax",
    "about": "`model.embed(waveform)` gives 96 numbers for a recording; the cosine of two of them "
    "is high where the voice is the same. The labels are the voices of the bundled train split; "
    "it was trained to tell many more apart.",
    "licence": "CC BY 4.0",
    "data": [
        "the train split of `python -m speechlib corpus build --set commands|numbers --takes 8 "
        "--everyone` and the bundled train split (espeak-ng, flite, festival); each voice also "
        "played slower and faster, as a voice of its own",
        "the listener begins as wavlm-pretrained",
    ],
    "limits": "Heard synthesisers only, no people. Two voices of one timbre, which differ in "
    "accent, pitch, pace and vocal tract, are told apart less well. Recordings of under half a "
    "second are to be repeated until they last that long.",
}
SAME_PERSON = waveforms.Disturbance(  # only what a room or a microphone does to a voice
    speed=(1.0, 1.0), rooms=0.2, narrow=0.25, colour_db=2.5, tilt_db=5.0, clean=0.4,
    snr_db=(10.0, 45.0), hum=0.05, babble=0.0, clipped=0.0, pad_s=(0.0, 0.05),
)  # fmt: skip


def config(classes) -> XVectorConfig:
    """A smaller head than the published one: it hears 7 frames (0.14 s) at once."""
    return XVectorConfig(
        classes=classes,
        weighted_layer_sum=True,  # a voice is heard in the lower layers, too
        tdnn_widths=(96, 96, 192),
        tdnn_kernels=(3, 3, 1),
        tdnn_dilations=(1, 2, 1),
        embedding=96,
    )


def fresh(encoder, classes):
    """The layer between the embedding and the loss does nothing, so that it is the embedding
    itself, which recordings are compared by, that the loss forms."""
    model = XVector(encoder, config(classes))
    with torch.no_grad():
        model.classifier.weight.copy_(torch.eye(len(model.classifier.weight)))
    model.classifier.requires_grad_(False)
    return model


@torch.no_grad()
def spread_out(model, waveforms):
    """A head start from one piece of each class: waveforms are batches (rows, samples), rows in
    the order of the classes.

    The embedding layer is set so that the pieces' embeddings are white (mean zero, every direction
    equally wide); fresh ones all point the same way, and it takes long to get them apart. A class'
    direction is that of its piece."""
    held = []
    hook = model.embedding.register_forward_pre_hook(lambda _, inputs: held.append(inputs[0]))
    for waveform in waveforms:
        model.eval()(waveform)
    hook.remove()
    pooled = torch.cat(held).double()
    if len(pooled) != model.config.classes:
        raise ValueError(f"expected a row for each of {model.config.classes} classes, got "
                         f"{len(pooled)}")  # fmt: skip
    mean, width = pooled.mean(dim=0), len(model.embedding.weight)
    _, sizes, directions = torch.linalg.svd(pooled - mean, full_matrices=False)
    weight = directions[:width] / (sizes[:width] + 0.01 * sizes[0])[:, None] * len(pooled) ** 0.5
    for parameter in (model.embedding.weight, model.embedding.bias):
        parameter.zero_()  # where there are fewer pieces than features, the others rest
    model.embedding.weight[: len(weight)] = weight.to(model.embedding.weight)
    model.embedding.bias[: len(weight)] = -(weight @ mean).to(model.embedding.weight)
    found = model.embedding(pooled.to(model.embedding.weight))
    model.objective.weight.copy_(nn.functional.normalize(found, dim=1).T)


class GrowingMargin(nn.Module):
    """An XVector whose loss takes the margin with the batch."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def loss(self, waveform, labels, margin):
        """labels (batch,): the voice of each row."""
        directions = self.model.objective.weight
        return losses.am_softmax_loss(self.model(waveform), directions, labels, margin=margin)


def classes_of(voices):
    """(voice, speed) of every class; the voices as they are come first."""
    return [(voice, speed) for speed in sorted(SPEEDS, key=lambda s: s != 1) for voice in voices]


def batches(voices, batch, seed, steps):
    """-> function step -> (waveform (rows, samples), labels (rows,), margin).

    voices: `wavlm_heads.by_voice`; batch: seconds of sound. All rows are equally long, so nothing
    is padded."""
    classes = classes_of(voices)

    def batch_at(step):
        rng = np.random.default_rng((seed, step))
        seconds = rng.choice(SECONDS)
        chosen = rng.integers(len(classes), size=max(2, round(batch / seconds)))
        waveform = heard([classes[n] for n in chosen], voices, seconds, rng)
        margin = MARGIN * min(1.0, step / max(1.0, RISES * steps))
        return waveform, torch.from_numpy(chosen), margin

    return batch_at


def heard(classes, voices, seconds, rng):
    """A piece of each of these classes: (rows, samples)."""
    samples = int(seconds * SAMPLE_RATE)
    waves = [_piece(voices[voice], speed, samples, rng) for voice, speed in classes]
    return torch.from_numpy(waveforms.padded(waves)[0])


def one_of_each(voices, seed, rows=24):
    """A piece of 1.5 s of each class, in their order, in batches of `rows`."""
    classes, rng = classes_of(voices), np.random.default_rng((seed, 1 << 20))
    for first in range(0, len(classes), rows):
        yield heard(classes[first : first + rows], voices, 1.5, rng)


def _piece(clips, speed, samples, rng):
    """(samples,) of a voice, from somewhere within its clips, said one after another."""
    needed, parts = int(samples * speed) + 1600, []
    while sum(map(len, parts)) < needed:
        parts.append(clips[rng.integers(len(clips))].wave())
    wave = np.concatenate(parts)
    first = rng.integers(len(wave) - needed + 1)
    how = replace(SAME_PERSON, speed=(speed, speed))
    made, _ = waveforms.perturbed(wave[first : first + needed], rng, how)
    return made[:samples]


def run(args) -> int:
    """`python -m speechlib train wavlm-voices`: trains, watches, writes the checkpoint."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    voices = wavlm_heads.by_voice(wavlm_heads.pieces(args.data, "train", KINDS))
    watched = voice_figures.some(wavlm_heads.pieces(args.data, "valid", KINDS), args.watch)
    classes = classes_of(voices)
    print(f"{len(voices)} voices, {len(classes)} classes; watching {len(watched)} recordings")
    model = GrowingMargin(fresh(wavlm_base.listener(args.start), len(classes)))
    batch_at = batches(voices, args.batch, args.seed, args.steps)
    if not Path(args.out, "state.pt").is_file():  # else a run goes on
        spread_out(model.model, one_of_each(voices, args.seed))
    plan = training.Plan.of(args, warmup=100, evaluate_every=200)
    training.train(
        model,
        batch_at,
        plan,
        args.out,
        evaluate=lambda m: {"eer": voice_figures.eer_of(m.model, watched)},
    )
    bundled = corpus.voice_clips("train")
    labelled = [n for n, (name, speed) in enumerate(classes) if speed == 1 and name in bundled]
    shipped = narrowed(model.model, labelled)
    names = [classes[n][0] for n in labelled]
    wavlm_heads.write_checkpoint(shipped, args, CARD, names)
    return 0


def narrowed(model, classes):
    """The same model with only these classes: directions of voices that are not in the bundled
    data would make its file a fifth larger, and nobody could hear who they are."""
    small = XVector(model.encoder, replace(model.config, classes=len(classes)))
    found = model.state_dict()
    found["objective.weight"] = found["objective.weight"][:, classes]
    small.load_state_dict(found)
    return small.eval()
