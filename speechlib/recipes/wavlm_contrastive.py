"""wavlm-contrastive: the same small listener with a quantiser that makes its own targets.

input -> output: clips of speech, no texts -> wav2vec 2.0 with its codebooks.
Special: wav2vec 2.0's contrastive learning (Baevski et al. 2020, arXiv:2006.11477, section 3):
which of these code vectors stood at this hidden frame? It is saved as Wav2Vec2ForPreTraining, the
one class of its kind, so it has no bias by distance. It goes on from wavlm-pretrained, whose front
end hears already: codes of an untrained one collapse, or take hours. The temperature of the draws
falls from 2 to 0.5.

Notebook: 15_quantizer
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from speechlib import audio, spec_augment, training
from speechlib.configs import PretrainingConfig
from speechlib.corpus.waveforms import padded
from speechlib.recipes import scoring, wavlm_base, wavlm_pretrained
from speechlib.recipes.wavlm_base import FRAME
from speechlib.recipes.wavlm_clips import SETS
from speechlib.torch_models import losses
from speechlib.torch_models.loading import write_folder
from speechlib.torch_models.pretraining import PretrainingModel
from speechlib.torch_models.quantizer import perplexity

NAME = "wavlm-contrastive"
DEFAULTS = {"steps": 500, "batch": 10, "rate": 1e-3, "decay": 0.4, "start": wavlm_base.START}
TAKES = ("data", "start", "library")
CONFIG = PretrainingConfig(
    groups=2, codes=64, codevector_dim=64, width=64, negatives=30, diversity_weight=0.5
)
SHARP = 1.5  # deviation of a fresh quantiser's scores
WARM, COLD = 2.0, 0.5  # temperature of the draws at the start and at the end
TEST_SEED = 3


class Contrastive(nn.Module):
    """A pre-training model whose quantiser gets cooler, and whose loss is a frame's."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def loss(self, waveform, hidden, temperature):
        """hidden: (batch, frames) bool."""
        self.model.quantizer.temperature = temperature
        return self.model.loss(waveform, hidden=hidden) / hidden.sum()


def fresh(start=None):
    """A pre-training model on a listener: fresh, or from `start` but for the quantiser."""
    encoder = wavlm_base.listener(start, buckets=0)
    model = PretrainingModel(encoder, CONFIG)
    with torch.no_grad():
        # Published: choices of deviation 23 for 512 features, so sharp that most codes are never
        # drawn, hence never learned, in a run as short as this; and vectors all of one sign, which
        # are hard to tell apart.
        model.quantizer.scores.weight.mul_(SHARP / encoder.config.conv_widths[-1] ** 0.5)
        model.quantizer.codevectors.sub_(0.5)
    return model


def without_units(clips):
    """What `Tracks` wants to know of clips whose units nobody asks for."""
    return {clip: np.zeros(max(1, len(clip.samples) // FRAME), np.uint8) for clip in clips}, 0


def batches(tracks, steps):
    """-> function step -> waveform, hidden, the temperature of that step."""

    def batch_at(step):
        waveform, _, hidden = tracks(step)
        return waveform, hidden, WARM * (COLD / WARM) ** (step / max(1, steps - 1))

    return batch_at


# -------------------------------------------------------------------------------------- measuring


@torch.no_grad()
def told_apart(model, waves, seed=TEST_SEED):
    """Half of each wave's frames are hidden -> (right, hidden frames) of each, and the perplexity
    of the codes of all frames."""
    rng, items, used = np.random.default_rng(seed), [], []
    c, quantizer = model.config, model.quantizer
    for wave in waves:
        waveform, _ = padded([wave])
        frames = int(model.encoder.output_lengths(waveform.shape[1]))
        if frames < 16:
            continue
        hidden = spec_augment.span_mask((1, frames), 0.5, 8, min_spans=1, rng=rng)
        negatives = losses.sample_negatives(hidden, c.negatives, rng)
        guesses, targets, _ = model(torch.from_numpy(waveform), hidden=hidden)
        choices = torch.cat(
            [targets[:, :, None], targets[torch.zeros(1, 1, 1, dtype=int), negatives]], 2
        )
        scores = torch.cosine_similarity(guesses[:, :, None], choices, dim=-1)
        # an equal code vector is no wrong answer
        same = (choices[:, :, 1:] == choices[:, :, :1]).all(-1)
        wrong = scores[..., 1:].masked_fill(same, -2.0).amax(-1)
        right = (scores[..., 0] > wrong)[torch.from_numpy(hidden)]
        items.append((right.sum().item(), len(right)))
        features = model.encoder.projection.norm(model.encoder.front(torch.from_numpy(waveform)))
        chosen = quantizer.scores(features).unflatten(-1, (c.groups, c.codes)).argmax(-1)
        used.append(torch.nn.functional.one_hot(chosen, c.codes).float()[0])
    return items, perplexity(torch.cat(used)[None]).item()


def share(items):
    """Right frames of all hidden ones."""
    right, counts = zip(*items, strict=True)
    return sum(right) / sum(counts)


def test_waves(split):
    """Recordings of a split of the bundled corpus: strings, commands, numbers."""
    return [u.wave() for of_split in SETS.values() for u in of_split(split)]


def measure(model, args=None):
    """How often the right code vector is told from 30 others, and how many codes are in use."""
    waves = test_waves("test")
    items, codes = told_apart(model, waves)
    torch.manual_seed(0)
    untrained, few = told_apart(fresh().eval(), waves[:40])
    most = CONFIG.groups * CONFIG.codes
    figure = scoring.figure(
        "contrastive_accuracy", share, items, counted="recordings",
        hidden_frames=int(sum(count for _, count in items)),
        baseline={"chance": 1 / (1 + CONFIG.negatives), "random weights": share(untrained)},
        on="hidden frames of the corpus' test splits: the right code vector among 30 of other "
        "hidden frames of the recording",
    )  # fmt: skip
    return {
        "test": figure,
        "codebooks": {
            "on": f"all frames of the same recordings; {most} codes in {CONFIG.groups} books",
            "perplexity": round(codes, 1),
            "most": most,
            "perplexity_of_random_weights": round(few, 1),
        },
    }


# --------------------------------------------------------------------------------------- the run


def run(args) -> int:
    """`python -m speechlib train wavlm-contrastive`: trains and writes the checkpoint."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    clips = wavlm_pretrained.clips_for(args, "train")
    tracks = wavlm_pretrained.Tracks(clips, args.batch, args.seed + 7, units=without_units(clips))
    model = Contrastive(fresh(args.start))
    watched = test_waves("valid")[::3]

    def evaluate(trained):
        items, codes = told_apart(trained.model, watched)
        return {"accuracy": share(items), "perplexity": codes}

    plan = training.Plan.of(args, warmup=60, evaluate_every=125)
    training.train(model, batches(tracks, args.steps), plan, args.out, evaluate=evaluate)
    folder = Path(args.out) / NAME
    write_folder(model.model, folder, dtype="float16")
    wavlm_base.write_preprocessor(folder)
    hours = sum(len(clip.samples) for clip in clips) / audio.SAMPLE_RATE / 3600
    print(f"{len(clips)} clips, {hours:.1f} h")
    return 0
