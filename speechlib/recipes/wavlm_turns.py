"""wavlm-turns: a WavLM that says for every 20 ms which of two people speaks, or both, or nobody.

input -> output: commands and numbers of many voices -> conversations mixed on the fly -> a
checkpoint folder. The model's logits (batch, frames, 2) are two yes-or-no questions a frame.
Special: which output stands for whom is the model's to choose, so long as it keeps to it through a
conversation: the better of the two orders counts (Fujita et al. 2019). Left to itself it learns
for long that somebody speaks, and not who; so in the first steps the lower voice is the first
output, which can be heard in a moment, without the other voice in mind. The loss is binary
cross-entropy: both may speak at once, for which the model's own `.loss`, one class a frame as
published, has no answer.

Notebook: 13_heads
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from speechlib import training
from speechlib.audio import SAMPLE_RATE
from speechlib.configs import HeadConfig
from speechlib.corpus import conversing, waveforms
from speechlib.corpus.utterances import FRAMES_A_SECOND
from speechlib.recipes import turn_figures, wavlm_base, wavlm_heads
from speechlib.recipes.turn_figures import measure  # noqa: F401, what `evaluate` asks for
from speechlib.torch_models.heads import FrameClassifier

NAME = "wavlm-turns"
DEFAULTS = {"steps": 1550, "batch": 8, "rate": 8e-4, "decay": 0.5, "start": "wavlm-voices"}
TAKES = ("data", "start", "watch")
SECONDS = (3.0, 4.0, 6.0, 12.0)  # of the conversations of a batch
SHARES = ((0.45, 0.35, 0.15, 0.05), (0.2, 0.3, 0.25, 0.25))  # first, and in the second half
BATCH_SECONDS = 5.0  # `--batch` counts conversations of this length
ORDERED = 0.5  # share of the steps in which the lower voice is the first output
ALONE = 0.06  # share in which only one speaks
CARD = {
    "task": "tell every 20 ms which of two people speaks: the one, the other, both or nobody",
    "system": "WavLM with a frame classifier over a weighted sum of its layers",
    "about": "Its two outputs are yes-or-no questions: a sigmoid above 0.5 means that the first, "
    "or the second, speaks. The first is mostly the lower voice. The figures are for outputs "
    "smoothed by a median over 11 frames (0.22 s).",
    "licence": "CC BY 4.0",
    "data": [
        "conversations mixed on the fly of the train split of `python -m speechlib corpus build "
        "--set commands|numbers --takes 8 --everyone` (espeak-ng, flite, festival): 273 synthetic "
        "voices",
        "the listener begins as that of wavlm-voices; its front end stays so",
    ],
    "limits": "Two people, no more. Learned from stretches of 3 to 12 s. "
    "Both are equally near and loud. Two voices of one timbre were never put into one "
    "conversation. Heard synthesisers only, no people.",
}
HOW = waveforms.Disturbance(
    speed=(0.9, 1.12), rooms=0.2, narrow=0.2, colour_db=2.5, tilt_db=5.0, clean=0.4,
    snr_db=(12.0, 45.0), hum=0.05, babble=0.0, clipped=0.0, pad_s=(0.0, 0.2),
)  # fmt: skip


def config() -> HeadConfig:
    """Two outputs; voices are heard in the lower layers, too."""
    return HeadConfig(classes=2, weighted_layer_sum=True, projector=128)


def fresh(encoder):
    """Begins undecided: the layers' sum is large, and the usual start would be sure of nonsense."""
    model = FrameClassifier(encoder, config())
    with torch.no_grad():
        model.classifier.weight.mul_(0.05)
    return model


class TwoQuestions(nn.Module):
    """A FrameClassifier whose loss asks of every frame: does the one speak? does the other?"""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def loss(self, waveform, spoken, free=True):
        """spoken: (batch, frames, 2) of 0 and 1. free: in which order is the model's choice, for
        every conversation; False: in this one."""
        logits = self.model(waveform).float()
        found = [
            F.binary_cross_entropy_with_logits(logits, order, reduction="none").mean(dim=(1, 2))
            for order in (spoken, spoken.flip(2))
        ]
        return (torch.minimum(*found) if free else found[0]).mean()


# ------------------------------------------------------------------------------- what to train on


def conversation(voices, seconds, rng):
    """-> a wave of at least `seconds`, [(start_s, end_s) of the turns of each of two people], and
    the two voices. By the rules of `corpus/conversing.py`. voices: `wavlm_heads.by_voice`."""
    first, second = _two(voices, rng)
    alone = rng.random() < ALONE
    peaks = rng.uniform(0.2, 0.5, 2)
    waves, starts, ends, place = [], [], [], round(rng.uniform(0, 0.3) * SAMPLE_RATE)
    while not ends or max(ends) < seconds * SAMPLE_RATE:
        n = len(waves)
        wave = _turn(voices[first if alone or n % 2 == 0 else second], rng)
        wave = wave * (peaks[0 if alone else n % 2] / max(1e-3, np.abs(wave).max()))
        if n:
            early = not alone and rng.random() < conversing.OVERLAPS
            shift = -rng.uniform(*conversing.EARLY_S) if early else _pause(rng)
            place = conversing.next_place(starts, ends, shift)
        waves.append(wave)
        starts.append(place)
        ends.append(place + len(wave))
    mixed = np.zeros(max(ends) + SAMPLE_RATE // 5, np.float32)
    turns = ([], [])
    for n, (wave, start, end) in enumerate(zip(waves, starts, ends, strict=True)):
        mixed[start:end] += wave
        turns[0 if alone else n % 2].append((start / SAMPLE_RATE, end / SAMPLE_RATE))
    return mixed, turns, (first, second)


def _two(voices, rng):
    """Two voices that are not of one timbre."""
    names = list(voices)
    first = names[rng.integers(len(names))]
    while True:
        second = names[rng.integers(len(names))]
        if voices[first][0].timbre != voices[second][0].timbre:
            return first, second


def pitch_of(clips, most=4):
    """How high a voice is, in Hz: the median over frames of 40 ms, by autocorrelation."""
    found = []
    for clip in clips[:: max(1, len(clips) // most)]:
        wave = clip.wave()[slice(*clip.speech)]
        frames = np.lib.stride_tricks.sliding_window_view(wave, 640)[::320]
        frames = frames - frames.mean(axis=1, keepdims=True)
        power = np.abs(np.fft.rfft(frames, 2048)) ** 2
        alike = np.fft.irfft(power)[:, :267] / (power.mean(axis=1, keepdims=True) + 1e-9)
        lags = alike[:, 40:].argmax(axis=1) + 40  # 60 to 400 Hz
        found += list(SAMPLE_RATE / lags[alike[np.arange(len(lags)), lags] > 0.5])
    return float(np.median(found)) if found else 0.0


def _pause(rng):
    """Seconds between two turns; some people let each other wait."""
    return rng.uniform(0.6, 1.5) if rng.random() < 0.1 else rng.uniform(*conversing.PAUSE_S)


def _turn(clips, rng):
    """One or two utterances of a voice, without the silence around them."""
    waves = []
    for _ in range(rng.integers(1, 3)):
        clip = clips[rng.integers(len(clips))]
        waves.append(clip.wave()[slice(*clip.speech)])
    return np.concatenate(waves)


def batches(voices, batch, seed, frames_of, steps):
    """-> function step -> (waveform (rows, samples), spoken (rows, frames, 2) float32, the lower
    voice first, and whether the model may choose another order).

    frames_of(samples): how many frames the model makes of them. steps: of the whole run; longer
    conversations come in its second half."""
    voices = {name: mine for name, mine in voices.items() if any(map(_spoken, mine))}
    voices = {name: [clip for clip in mine if _spoken(clip)] for name, mine in voices.items()}
    if len({mine[0].timbre for mine in voices.values()}) < 2:
        raise ValueError("expected voices of at least two timbres to talk with each other")

    pitch = {name: pitch_of(mine) for name, mine in voices.items()}

    def batch_at(step):
        rng = np.random.default_rng((seed, step))
        seconds = rng.choice(SECONDS, p=SHARES[step * 2 >= steps])
        samples, rows = round(seconds * SAMPLE_RATE), max(2, round(batch * BATCH_SECONDS / seconds))
        frames = int(frames_of(samples))
        waves, spoken = [], np.zeros((rows, frames, 2), np.float32)
        for row in spoken:
            wave, turns, names = conversation(voices, 1.2 * seconds, rng)
            wave, moved = waveforms.perturbed(wave, rng, HOW)
            waves.append(wave[:samples])
            lower_first = turns if pitch[names[0]] <= pitch[names[1]] else turns[::-1]
            for who, mine in enumerate(lower_first):
                row[:, who] = turn_figures.at_frames(moved(mine), frames)
        waveform, _ = waveforms.padded(waves, samples=samples)
        free = bool(step >= ORDERED * steps)
        return torch.from_numpy(waveform), torch.from_numpy(spoken), free

    return batch_at


def watched_talks(folders, count):
    """Conversations of valid voices: the bundled ones, and `count` more, mixed, of 6 to 14 s."""
    clips = wavlm_heads.pieces(folders, "valid", ("command", "number"))
    voices, rng = wavlm_heads.by_voice([c for c in clips if _spoken(c)]), np.random.default_rng(7)
    found = turn_figures.bundled("valid")
    for _ in range(count):
        wave, turns, _ = conversation(voices, rng.uniform(6, 14), rng)
        times = (np.arange(len(wave) * FRAMES_A_SECOND // SAMPLE_RATE) + 0.5) / FRAMES_A_SECOND
        right = [turn_figures.within(mine, times) for mine in turns]
        found.append((wave, np.stack(right, axis=1)))
    return found


def _spoken(clip):
    """Whether a clip holds enough for a turn: 0.2 s."""
    return clip.speech[1] - clip.speech[0] >= SAMPLE_RATE // 5


# --------------------------------------------------------------------------------------- the run


def run(args) -> int:
    """`python -m speechlib train wavlm-turns`: trains, watches, writes the checkpoint."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    voices = wavlm_heads.by_voice(wavlm_heads.pieces(args.data, "train", ("command", "number")))
    watched = watched_talks(args.data, args.watch // 4)
    print(f"{len(voices)} voices to train on; watching {len(watched)} conversations")
    encoder = wavlm_base.listener(args.start)
    model = TwoQuestions(fresh(encoder))
    model.model.freeze_feature_encoder()  # it hears enough, and each step takes a third less
    plan = training.Plan.of(args, warmup=100, evaluate_every=250)
    training.train(
        model,
        batches(voices, args.batch, args.seed, encoder.output_lengths, args.steps),
        plan,
        args.out,
        evaluate=lambda m: {"der": turn_figures.rate(turn_figures.errors_of(m.model, watched))},
    )
    names = ("one speaker", "the other speaker")
    wavlm_heads.write_checkpoint(model.model, args, CARD, names)
    return 0
