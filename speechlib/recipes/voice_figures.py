"""What wavlm-voices is worth: how often two recordings are wrongly said to be of one voice, or of
two.

input -> output: a model -> the figures of its card.
Special: the interval is the bootstrap over voices, not over pairs: pairs of one voice are alike.
Some timbres stand for two voices, which differ in accent, pitch, pace and vocal tract; what that
costs is told apart.
"""

import numpy as np
import torch

from speechlib import audio, metrics
from speechlib.audio import SAMPLE_RATE
from speechlib.recipes import scoring, wavlm_heads

LEAST_SAMPLES = SAMPLE_RATE // 2  # what is shorter is heard again until it lasts that long


def long_enough(wave):
    """A short wave (samples,) is heard again, until it lasts half a second."""
    return np.tile(wave, max(1, -(-LEAST_SAMPLES // len(wave))))


def embedding(model, wave):
    """A wave (samples,) -> (width,) float64 of length 1."""
    wave = long_enough(wave)
    with torch.no_grad():
        found = model.embed(torch.from_numpy(audio.normalise(wave))[None])[0]
    found = found.double().numpy()
    return found / np.linalg.norm(found)


def mean_spectrum(wave):
    """The simplest embedding: mean and deviation of each mel band over the louder half of time."""
    mel = audio.log_mel(audio.normalise(wave), pad_to_seconds=None)
    loud = mel.mean(axis=0) >= np.median(mel.mean(axis=0))
    found = np.concatenate([mel[:, loud].mean(axis=1), mel[:, loud].std(axis=1)])
    return found.astype(np.float64)


def some(clips, count):
    """About `count` of the pieces, evenly of all voices."""
    voices = wavlm_heads.by_voice(clips)
    each = max(2, count // len(voices))
    return [clip for mine in voices.values() for clip in mine[:: max(1, len(mine) // each)][:each]]


def eer_of(model, clips):
    """Equal error rate of all pairs of these pieces."""
    points = np.array([embedding(model, clip.wave()) for clip in clips])
    rows, columns = np.triu_indices(len(clips), 1)
    names = np.array([clip.voice for clip in clips])
    return metrics.eer((points @ points.T)[rows, columns], names[rows] == names[columns])


class Trials:
    """All pairs of recordings, to draw voices from: a voice drawn twice never meets itself as
    another one."""

    def __init__(self, model, clips):
        """model: None for the mean spectrum, which is centred on the mean of all recordings."""
        self.clips = wavlm_heads.by_voice(clips)
        self.voices = list(self.clips)
        self.timbre = {voice: mine[0].timbre for voice, mine in self.clips.items()}
        embed = mean_spectrum if model is None else lambda wave: embedding(model, wave)
        points = {v: np.array([embed(c.wave()) for c in mine]) for v, mine in self.clips.items()}
        if model is None:
            centre = np.concatenate(list(points.values())).mean(axis=0)
            points = {voice: mine - centre for voice, mine in points.items()}
            points = {v: mine / np.linalg.norm(mine, axis=1)[:, None] for v, mine in points.items()}
        self.scores = {(a, b): points[a] @ points[b].T for a in self.voices for b in self.voices}

    def of(self, voices, timbres=("same", "other")):
        """-> scores (pairs,), same (pairs,). timbres: which pairs of two voices count."""
        right, wrong = [], []
        for n, one in enumerate(voices):
            mine = self.scores[one, one]
            right.append(mine[np.triu_indices(len(mine), 1)])
            for other in voices[:n]:
                alike = "same" if self.timbre[one] == self.timbre[other] else "other"
                if other != one and alike in timbres:
                    wrong.append(self.scores[one, other].ravel())
        right, wrong = np.concatenate(right), np.concatenate(wrong or [np.zeros(0)])
        return np.concatenate([right, wrong]), np.arange(len(right) + len(wrong)) < len(right)

    def eer(self, voices, timbres=("same", "other")):
        return metrics.eer(*self.of(voices, timbres))


def measure(model, args=None) -> dict:
    """Figures on voices never trained on; args.real and args.only: people, in recordings."""
    kinds = ("command", "keyword", "number")
    clips = {split: wavlm_heads.pieces((), split, kinds) for split in ("valid", "test")}
    trials = {split: Trials(model, mine) for split, mine in clips.items()}
    random = Trials(wavlm_heads.untrained(model), clips["test"])
    simple = Trials(None, clips["test"])
    test = trials["test"]
    timbres = len(set(test.timbre.values()))
    found = {
        "test": _figure(
            test,
            f"all pairs of the commands, keywords and numbers of {len(test.voices)} synthetic "
            f"voices never trained on; {timbres} timbres, of which some stand for two voices",
            {"mean_spectrum": simple, "random_weights": random},
        ),
        "other_timbres": _figure(
            test,
            "the same, but pairs of two voices of one timbre do not count",
            {"mean_spectrum": simple, "random_weights": random},
            ("other",),
        ),
        "one_timbre": _figure(
            test,
            "the same, but pairs of two voices count only where they are of one timbre and differ "
            "in accent, pitch, pace and vocal tract",
            {"mean_spectrum": simple, "random_weights": random},
            ("same",),
        ),
        "at_threshold": _at_threshold(trials["valid"], test),
    }
    if args is not None and getattr(args, "real", None):
        people = Trials(model, wavlm_heads.real_pieces(args.real, args.only))
        found["people"] = _figure(
            people,
            "recordings of single digits by people, none of them trained on: "
            + ", ".join(people.voices),
            {},
        )
    return found


def _figure(trials, on, simple, timbres=("same", "other")):
    def rate(voices, of=trials):
        return of.eer(voices, timbres)

    scores, same = trials.of(trials.voices, timbres)
    return scoring.figure(
        "equal_error_rate",
        rate,
        trials.voices,
        on,
        baseline={how: rate(of.voices, of) for how, of in simple.items()} | {"chance": 0.5},
        counted="voices",
        recordings=sum(map(len, trials.clips.values())),
        pairs_of_one_voice=int(same.sum()),
        pairs_of_two=int((~same).sum()),
    )


def _at_threshold(valid, test):
    """What is said of pairs of the test voices at the threshold where valid errs evenly."""
    thresholds, accepted, refused = metrics.detection_errors(*valid.of(valid.voices))
    threshold = float(thresholds[np.argmin(np.abs(accepted - refused))])
    scores, same = test.of(test.voices)
    names = np.array(["two voices", "one voice"])
    table = scoring.confusion(names[same * 1], names[(scores >= threshold) * 1], names)
    return {
        "on": "pairs of the test voices, said to be of one voice where the cosine is at least "
        "the threshold at which the valid voices have as many errors of both kinds",
        "pairs": len(scores),
        "taken_for_one_rate": float((scores[~same] >= threshold).mean()),
        "taken_for_two_rate": float((scores[same] < threshold).mean()),
        "threshold": round(threshold, 3),
        "confusion": table,
    }
