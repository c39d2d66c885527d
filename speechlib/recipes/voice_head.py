"""The second stage of wavlm-voices: the head learns on, from what the listener hears.

input -> output: a trained XVector and clips -> the same model with a better head.
Special: the listener stays as it is, so each clip is heard once and its frames are kept. A step
then takes a twentieth of the time of one that goes through the listener.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from speechlib import metrics
from speechlib.corpus import waveforms
from speechlib.recipes import voice_figures
from speechlib.torch_models import losses
from speechlib.torch_models.heads import XVector

FRAMES = (24, 32, 44, 60)  # of the pieces of a batch, 20 ms each


class Heard(nn.Module):
    """A listener that has listened already: frames (batch, frames, width) -> the same."""

    def __init__(self, config):
        super().__init__()
        self.config, self.output_width = config, config.width

    def forward(self, frames, lengths=None):
        return frames


class HeadAlone(nn.Module):
    """The head of an XVector, over kept frames; `give_back` puts what it learned into the model."""

    def __init__(self, model):
        super().__init__()
        config = replace(model.config, weighted_layer_sum=False)
        self.head = XVector(Heard(model.encoder.config), config)
        theirs = model.state_dict()
        self.head.load_state_dict({name: theirs[name] for name in self.head.state_dict()})
        self.head.classifier.requires_grad_(False)

    def loss(self, frames, labels, margin):
        """frames (batch, frames, width), labels (batch,)."""
        found = self.head(frames.float())
        return losses.am_softmax_loss(found, self.head.objective.weight, labels, margin=margin)

    def give_back(self, model):
        model.load_state_dict(model.state_dict() | self.head.state_dict())
        return model


@torch.no_grad()
def listen(model, clips, change=None, rows=24):
    """What the head reads of each clip: a list of (frames, width) float16, in the clips' order.

    change(wave, number) -> the wave that is heard instead. Clips of like length share a batch, cut
    to the shortest, since padding would change what is heard."""
    waves = [clip.wave() for clip in clips]
    if change is not None:
        waves = [change(wave, n) for n, wave in enumerate(waves)]
    waves = [voice_figures.long_enough(wave) for wave in waves]
    order = np.argsort([len(wave) for wave in waves])
    found = [None] * len(clips)
    model.eval()
    for first in range(0, len(order), rows):
        chosen = order[first : first + rows]
        shortest = len(waves[chosen[0]])
        batch, _ = waveforms.padded([waves[n][:shortest] for n in chosen])
        with torch.autocast("cpu", torch.bfloat16):
            frames = model.heard(torch.from_numpy(batch), None)
        for n, mine in zip(chosen, frames.half().numpy(), strict=True):
            found[n] = mine
    return found


def batches(kept, labels, rows, margin, seed):
    """-> function step -> (frames (rows, frames, width), labels (rows,), margin).

    kept: of `listen`; labels: the class of each."""
    long_enough = {
        size: np.array([n for n, frames in enumerate(kept) if len(frames) >= size])
        for size in FRAMES
    }
    if not len(long_enough[FRAMES[-1]]):
        raise ValueError(f"expected clips of at least {FRAMES[-1]} frames, got none")
    labels = np.asarray(labels)

    def batch_at(step):
        rng = np.random.default_rng((seed, step))
        size = int(rng.choice(FRAMES))
        chosen = rng.choice(long_enough[size], rows)
        pieces = []
        for n in chosen:
            first = rng.integers(len(kept[n]) - size + 1)
            pieces.append(kept[n][first : first + size])
        return torch.from_numpy(np.stack(pieces)), torch.from_numpy(labels[chosen]), margin

    return batch_at


@torch.no_grad()
def eer_of(head, kept, names):
    """Equal error rate of all pairs of these clips. names: the voice of each."""
    points = [head.embed(torch.from_numpy(frames).float()[None])[0] for frames in kept]
    points = nn.functional.normalize(torch.stack(points).double(), dim=1).numpy()
    rows, columns = np.triu_indices(len(points), 1)
    return metrics.eer((points @ points.T)[rows, columns], names[rows] == names[columns])
