"""What wavlm-turns is worth: for which share of the speech it says the wrong person, or nobody.

input -> output: a model -> the figures of its card.
Special: the error counts every 10 ms, without a tolerance around the ends of turns, and counts
both people where both speak. The interval is the bootstrap over conversations.
"""

import numpy as np
import torch
from scipy.ndimage import median_filter

from speechlib import audio, corpus, metrics
from speechlib.audio import SAMPLE_RATE
from speechlib.corpus.utterances import FRAMES_A_SECOND
from speechlib.recipes import scoring, wavlm_base

SMOOTH = 11  # frames (0.22 s): a median of so many takes single odd frames out
WHO = ("nobody", "the first", "the second", "both")


def at_frames(spans, frames):
    """[(start_s, end_s)] -> (frames,) bool: the frame's middle lies in one of them."""
    return within(spans, wavlm_base.middles_s(frames))


def within(spans, times):
    """[(start_s, end_s)], times (frames,) in s -> (frames,) bool: in one of the spans."""
    found = np.zeros(len(times), bool)
    for start_s, end_s in spans:
        found |= (times >= start_s) & (times < end_s)
    return found


def spoken(model, wave, smooth=SMOOTH, threshold=0.5):
    """A wave (samples,) -> (frames of 10 ms, 2) bool: who speaks, by the model."""
    with torch.no_grad():
        logits = model(torch.from_numpy(audio.normalise(wave))[None])[0]
    likely = logits.float().sigmoid().numpy()
    likely = median_filter(likely, size=(smooth, 1), mode="nearest")
    frames = int(np.ceil(len(wave) / SAMPLE_RATE * FRAMES_A_SECOND))
    middles = (np.arange(frames) + 0.5) / FRAMES_A_SECOND * SAMPLE_RATE
    nearest = np.round((middles - wavlm_base.HEARD / 2) / wavlm_base.FRAME).astype(int)
    return (likely > threshold)[nearest.clip(0, len(likely) - 1)]


def errors_of(model, conversations):
    """conversations: (wave, (frames of 10 ms, 2) bool) each -> `metrics.DiarizationErrors` each."""
    found = []
    for wave, right in conversations:
        told = spoken(model, wave)
        frames = min(len(told), len(right))
        found.append(metrics.diarization_errors(right[:frames], told[:frames]))
    return found


def rate(errors):
    """Diarisation error rate of several recordings together."""
    return sum(errors[1:], start=errors[0]).rate


def bundled(split):
    """(wave, who spoke when) of the bundled conversations of a split."""
    return [(talk.wave(), talk.who_spoke_when()[1]) for talk in corpus.conversations(split)]


def measure(model, args=None) -> dict:
    """Figures on voices never trained on."""
    test = bundled("test")
    voices = {voice for talk in corpus.conversations("test") for voice in talk.who_spoke_when()[0]}
    found = errors_of(model, test)
    simple = {
        "all_by_the_first": [_by_the_first(right, np.ones(len(right), bool)) for _, right in test],
        "perfect_times_all_by_the_first": [
            _by_the_first(right, right.any(axis=1)) for _, right in test
        ],
    }
    figure = scoring.figure(
        "diarization_error",
        rate,
        found,
        f"the bundled test conversations of {len(voices)} synthetic voices never trained on, every "
        "10 ms, overlaps counted, no tolerance",
        baseline={how: rate(errors) for how, errors in simple.items()},
        counted="conversations",
        **parts(found),
        confusion=_confusion(model, test),
    )
    valid = errors_of(model, bundled("valid"))
    on = "the bundled valid conversations"
    return {
        "test": figure,
        "valid": scoring.figure("diarization_error", rate, valid, on, counted="conversations"),
    }


def parts(errors):
    """Of what the error is made, as shares of the speech."""
    total = sum(errors[1:], start=errors[0])
    names = {"missed_share": "missed", "false_alarm_share": "false_alarm",
             "wrong_speaker_share": "confused"}  # fmt: skip
    return {
        name: getattr(total, field) / total.speech for name, field in names.items()
    } | {"seconds_of_speech": round(total.speech / FRAMES_A_SECOND)}


def _by_the_first(right, speech):
    told = np.stack([speech, np.zeros_like(speech)], axis=1)
    return metrics.diarization_errors(right, told)


def _confusion(model, conversations):
    """Who was taken for whom, in frames of 10 ms; the first is whoever spoke first, and the model's
    outputs are in the order that fits better."""
    wanted, told = [], []
    for wave, right in conversations:
        found = spoken(model, wave)
        frames = min(len(found), len(right))
        found = max(found, found[:, ::-1], key=lambda f: (f[:frames] == right[:frames]).sum())
        for side, into in ((right, wanted), (found, told)):
            into += [WHO[n] for n in side[:frames] @ np.array([1, 2])]
    return scoring.confusion(wanted, told, WHO)
