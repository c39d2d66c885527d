"""wavlm-keywords: a WavLM that tells ten spoken words apart, and which of its layers it reads.

input -> output: keywords of sets of commands -> a checkpoint folder.
Special: the classifier reads a weighted sum of all layers; the weights are learned. A
word is heard in its own short recording: clips of like length share a batch, so that little is
padded.

Notebook: 13_heads
"""

from dataclasses import replace

import numpy as np
import torch

from speechlib import audio, corpus, training
from speechlib.configs import HeadConfig
from speechlib.corpus import waveforms
from speechlib.corpus.grammar import KEYWORDS
from speechlib.recipes import scoring, wavlm_base, wavlm_heads
from speechlib.torch_models.heads import SequenceClassifier

NAME = "wavlm-keywords"
DEFAULTS = {"steps": 800, "batch": 24, "rate": 7e-4, "decay": 0.5, "start": wavlm_base.START}
TAKES = ("data", "start", "watch")
NEIGHBOURS = 600  # clips of like length that a batch is drawn from
HOW = waveforms.Disturbance(pad_s=(0.0, 0.15), snr_db=(5.0, 45.0))
CARD = {
    "task": "tell ten spoken English words apart: " + ", ".join(KEYWORDS),
    "system": "WavLM with a sequence classifier over a weighted sum of its layers",
    "licence": "CC BY 4.0",
    "data": [
        "the train split of `python -m speechlib corpus build --set commands --takes 8 --everyone` "
        "(espeak-ng, flite, festival): 273 synthetic voices, their 4,368 single keywords",
        "the listener begins as wavlm-pretrained",
    ],
    "limits": "Knows ten words and takes every sound for one of them: there is no class for other "
    "words, noise or silence. Heard synthesisers only, no people.",
}


def config() -> HeadConfig:
    return HeadConfig(classes=len(KEYWORDS), weighted_layer_sum=True, projector=128)


def fresh(encoder):
    """All layers weigh the same at first."""
    return SequenceClassifier(encoder, config())


def batches(clips, batch, seed):
    """-> function step -> (waveform (batch, samples), labels (batch,)).

    A batch holds clips of like length, and what pads them counts as heard: silence before and
    after a word is a part of recordings."""
    clips = sorted((c for c in clips if c.text in KEYWORDS), key=lambda c: len(c.samples))
    if not clips:
        raise ValueError("expected pieces whose text is a keyword, got none")
    window = min(NEIGHBOURS, len(clips))
    talkers = [clip.wave() for clip in clips[:: len(clips) // 50 + 1]]

    def batch_at(step):
        rng = np.random.default_rng((seed, step))
        first = rng.integers(len(clips) - window + 1)
        chosen = [clips[first + rng.integers(window)] for _ in range(batch)]
        waves = [waveforms.perturbed(clip.wave(), rng, HOW, talkers)[0] for clip in chosen]
        size = int(np.quantile([len(wave) for wave in waves], 0.8))
        waves = [_cut(wave, size, rng) for wave in waves]
        waveform, _ = waveforms.padded(waves, samples=size)
        labels = [KEYWORDS.index(clip.text) for clip in chosen]
        return torch.from_numpy(waveform), torch.tensor(labels)

    return batch_at


def _cut(wave, size, rng):
    """At most `size` samples, from the middle, or a little aside; shorter waves as they are."""
    spare = max(0, len(wave) - size)
    first = int(spare * rng.uniform(0.3, 0.7))
    return wave[first : first + size]


def run(args) -> int:
    """`python -m speechlib train wavlm-keywords`: trains, watches, writes the checkpoint."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    clips = wavlm_heads.pieces(args.data, "train", ("keyword",))
    watched = wavlm_heads.pieces(args.data, "valid", ("keyword",))
    watched = watched[:: max(1, len(watched) // (3 * args.watch))]
    print(f"{len(clips)} clips to train on; watching {len(watched)}")
    model = fresh(wavlm_base.listener(args.start))
    plan = training.Plan.of(args, warmup=100, evaluate_every=200)
    training.train(
        model,
        batches(clips, args.batch, args.seed),
        plan,
        args.out,
        evaluate=lambda m: {"errors": errors(m, watched)},
    )
    wavlm_heads.write_checkpoint(model, args, CARD, KEYWORDS)
    return 0


# -------------------------------------------------------------------------------------- measuring


def heard(model, clips):
    """The word that the model hears in each piece, alone in its batch, as in use."""
    found = []
    with torch.no_grad():
        for clip in clips:
            wave = torch.from_numpy(audio.normalise(clip.wave()))[None]
            found.append(KEYWORDS[int(model(wave).argmax())])
    return found


def errors(model, clips):
    """Share of pieces that are taken for another word."""
    found = heard(model, clips)
    return sum(word != clip.text for word, clip in zip(found, clips, strict=True)) / len(clips)


def measure(model, args=None) -> dict:
    """Figures on voices never trained on, and the layer weights."""
    clips = {split: wavlm_heads.pieces((), split, ("keyword",)) for split in ("valid", "test")}
    chance = {"random_weights": 1 - errors(wavlm_heads.untrained(model), clips["test"])}
    voices = len({clip.voice for clip in clips["test"]})
    on = f"the single keywords of {voices} synthetic voices never trained on"
    noisy = [_in_noise(clip, n) for n, clip in enumerate(clips["test"])]
    weights = model.layer_weights.detach().float().softmax(0).tolist()
    return {
        "test": _figure(model, clips["test"], on, baseline=chance),
        "test_in_noise": _figure(
            model, noisy, "the same with babble or hiss, 10 dB below the word", picture=False
        ),  # fmt: skip
        "valid": _figure(
            model, clips["valid"], "the voices watched while training", picture=False
        ),  # fmt: skip
        "layers": {
            "on": "share that the classifier reads of what goes into the first block, and of what "
            "comes out of each one",
            "layer_weights": [round(weight, 3) for weight in weights],
        },
    }


def _figure(model, clips, on, **more):
    wanted = [clip.text for clip in clips]
    return scoring.accuracy_figure(wanted, heard(model, clips), on, KEYWORDS, **more)


def _in_noise(clip, number):
    kind = ("babble", "hiss")[number % 2]
    wave = corpus.disturb(clip.wave(), kind, snr_db=10, seed=number)
    samples = audio.to_int16(wave)
    return replace(clip, samples=samples)
