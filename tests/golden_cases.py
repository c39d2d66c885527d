"""What tests share: the golden checkpoints, what they compute, and how far numbers may be apart."""

from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("whisper-a", "whisper-b")  # the Whisper models
TOLERANCE = 1e-5  # relative to max(1, largest value)


def folder(name):
    return GOLDEN / name


def outputs(name):
    """name -> array of everything that transformers 4.46.3 computed."""
    with np.load(GOLDEN / name / "outputs.npz") as arrays:
        return dict(arrays)


def inputs(arrays):
    """(mel, tokens, token mask, labels) of a Whisper as tensors."""
    mask = torch.from_numpy(arrays["token_mask"]).bool()
    mel, tokens, labels = (torch.from_numpy(arrays[n]) for n in ("mel", "tokens", "labels"))
    return mel, tokens, mask, labels


def assert_close(ours, theirs, what="", tolerance=TOLERANCE):
    ours = np.asarray(ours.detach() if isinstance(ours, torch.Tensor) else ours)
    theirs = np.asarray(theirs.detach() if isinstance(theirs, torch.Tensor) else theirs)
    assert ours.shape == theirs.shape, f"{what}: {ours.shape}, expected {theirs.shape}"
    assert np.isfinite(ours).all(), f"{what}: not finite"
    largest = max(1.0, float(np.abs(theirs).max(initial=0)))
    apart = float(np.abs(ours.astype(np.float64) - theirs).max(initial=0)) / largest
    assert apart <= tolerance, f"{what}: {apart:.2e} apart, allowed {tolerance:.0e}"
