"""What do frozen frames know? A linear classifier of phones on top of them.

input -> output: a listener -> the share of frames whose phone it tells on voices never heard.
Special: the probe is trained on the corpus' train voices, its layer chosen on the valid voices
(and its penalty, where there is one layer alone, as in the baseline); the listener never changes.
Phones are espeak-ng's, so espeak-ng's voices alone are used.

Method: linear probes as in HuBERT's and SUPERB's comparisons (Yang et al. 2021).
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from speechlib import audio, corpus
from speechlib.recipes import scoring
from speechlib.recipes.wavlm_base import FRAME, HEARD
from speechlib.recipes.wavlm_clips import SETS

FRAME_S, MIDDLE_S = FRAME / audio.SAMPLE_RATE, HEARD / 2 / audio.SAMPLE_RATE
PENALTIES = (1e-4, 1e-3, 1e-2)


def utterances(split):
    """Utterances of espeak-ng's voices that have phone times."""
    found = []
    for name, of_split in SETS.items():
        made_by = {key: voice["synthesiser"] for key, voice in corpus.speakers(name).items()}
        found += [u for u in of_split(split) if made_by.get(u.voice) == "espeak-ng" and u.phones]
    return found


def phones_of(spoken, frames):
    """The phone in the middle of each frame: a list of `frames` labels, "" for silence."""
    labels = [""] * frames
    for phone, start_s, end_s in spoken.phones:
        first = int(np.ceil((start_s - MIDDLE_S) / FRAME_S))
        last = int(np.ceil((end_s - MIDDLE_S) / FRAME_S))
        for frame in range(max(0, first), min(frames, last)):
            labels[frame] = phone.rstrip("0123456789#") or phone  # @2 is an @
    return labels


@torch.no_grad()
def layers_of(listener, wave):
    """(layers + 1, frames, width): what goes into the first block and comes out of each."""
    heard = torch.from_numpy(audio.normalise(wave))[None]
    return torch.cat([state.float() for state in listener.hidden_states(heard)])


def log_mel(wave):
    """The baseline that learned nothing: (1, frames, 80), the log-mel spectrum at the middle."""
    mel = audio.log_mel(wave, mel_bins=80, pad_to_seconds=len(wave) / audio.SAMPLE_RATE)
    return torch.from_numpy(mel.T[1::2].copy())[None]


def collected(features, split, known=None):
    """-> frames of each layer (frames, layers, width), their labels, and each one's utterance."""
    values, labels, owner = [], [], []
    for number, spoken in enumerate(utterances(split)):
        found = features(spoken.wave())
        told = phones_of(spoken, found.shape[1])
        values.append(found.transpose(0, 1))
        labels += told
        owner += [number] * found.shape[1]
    names = sorted(set(labels)) if known is None else known
    index = {name: n for n, name in enumerate(names)}
    return torch.cat(values), torch.tensor([index.get(x, -1) for x in labels]), owner, names


def probed(values, labels, classes, penalty, rounds=60):
    """Softmax regression by L-BFGS on standardised frames -> a function frames -> labels."""
    mean, deviation = values.mean(0), values.std(0) + 1e-4
    layer = nn.Linear(values.shape[1], classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    points = (values - mean) / deviation
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=rounds, history_size=8)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(points), labels) + penalty * layer.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return lambda other: layer((other - mean) / deviation).argmax(-1)


def best_probe(features):
    """The layer that does best on the valid voices, or of one layer alone the penalty -> (share of
    test frames right by utterance: list of (right, frames), layer, phones)."""
    train, train_labels, _, names = collected(features, "train")
    valid, valid_labels, _, _ = collected(features, "valid", names)
    best = None
    for layer in range(train.shape[1]):
        for penalty in PENALTIES[1:2] if train.shape[1] > 1 else PENALTIES:
            find = probed(train[:, layer], train_labels, len(names), penalty)
            right = (find(valid[:, layer]) == valid_labels).float().mean().item()
            if best is None or right > best[0]:
                best = right, layer, find
    test, labels, owner, _ = collected(features, "test", names)
    right = (best[2](test[:, best[1]]) == labels).numpy()
    counts = np.bincount(owner)
    return list(zip(np.bincount(owner, right), counts, strict=True)), best[1], names


def share(items):
    """Right frames of all frames."""
    right, counts = zip(*items, strict=True)
    return float(sum(right) / sum(counts))


def figure(listener, random_ones):
    """The figure for the card: this listener, beside random weights and the log-mel spectrum."""
    items, layer, names = best_probe(lambda wave: layers_of(listener, wave))
    baseline = {"log_mel": share(best_probe(log_mel)[0])}
    for fresh in random_ones:
        found = best_probe(lambda wave, fresh=fresh: layers_of(fresh, wave))[0]
        baseline["random_weights"] = max(share(found), baseline.get("random_weights", 0.0))
    _, labels, _, _ = collected(log_mel, "test", names)
    baseline["majority"] = (labels == names.index("")).float().mean().item()
    return scoring.figure(
        "phone_accuracy", share, items, baseline=baseline, counted="recordings",
        frames=int(sum(count for _, count in items)), phones=len(names) - 1, layer=layer,
        on="phones and silence in frames of 20 ms, espeak-ng voices of the corpus' test splits; a "
        "linear probe trained on the train voices, its layer chosen on the valid voices",
    )  # fmt: skip
