"""Losses of the heads: CTC (Graves et al. 2006), AM-softmax (Wang et al. 2018), label smoothing
(Szegedy et al. 2016) and the contrastive loss of wav2vec 2.0 (Baevski et al. 2020).

input -> output: scores and the right answers -> how wrong, one number to make smaller.
Special: CTC adds up every way in which the frames can spell the target. Its gradient is written
out: what each frame said, minus what it should have said given all of those ways.

Notebook: 12_ctc, 14_xvector
"""

import numpy as np
import torch
from torch.nn import functional as F

from speechlib import attention_masks
from speechlib.torch_models import inputs

NEVER = float("-inf")  # the logarithm of the probability of what cannot happen


def ctc_loss(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """-log of the probability that the frames spell the target; arguments as PyTorch's `ctc_loss`.

    log_probs: (frames, batch, classes) after log_softmax, frames first; one row: (frames, classes).
    targets: (batch, labels), where what lies past a row's length is not looked at; or (labels,),
        the rows one after another. input_lengths: (batch,) frames; target_lengths: (batch,) labels.
    blank: the class that says nothing. reduction: "none" -> (batch,), "sum", or "mean": each row
        divided by its number of labels, then the mean over rows.
    zero_infinity: a row with too few frames for its target (equal neighbours need a blank between
        them) costs 0 and teaches nothing; else it costs infinity, and has no gradient (NaN).
    Raises ValueError for shapes, lengths, labels or a blank that do not fit, and for a blank among
    the labels (PyTorch's gives a number there that means nothing).
    """
    log_probs = inputs.as_tensor(log_probs, "log-probabilities (frames, batch, classes)")
    if log_probs.dim() not in (2, 3) or not log_probs.is_floating_point():
        raise ValueError(
            "expected log-probabilities of shape (frames, batch, classes), got "
            f"{tuple(log_probs.shape)} of {log_probs.dtype}"
        )
    if reduction not in ("none", "sum", "mean"):
        raise ValueError(f'reduction must be "none", "sum" or "mean", got {reduction!r}')
    alone = log_probs.dim() == 2
    log_probs = log_probs[:, None] if alone else log_probs
    frames, batch, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise ValueError(f"the blank must be one of the classes 0 to {classes - 1}, got {blank}")
    heard = _lengths(input_lengths, batch, frames, "input_lengths", log_probs.device)
    targets = torch.atleast_1d(inputs.as_tensor(targets, "targets (batch, labels)"))
    said = _lengths(target_lengths, batch, targets.shape[-1], "target_lengths", log_probs.device)
    targets = _rows_of_labels(targets.to(said.device), said, classes, blank)
    losses = _CTC.apply(log_probs, targets, heard, said, blank, zero_infinity)
    if reduction == "mean":
        return (losses / said.clamp(min=1)).mean()
    return losses.sum() if reduction == "sum" else losses[0] if alone else losses


def _lengths(values, batch, most, name, device):
    values = inputs.as_tensor(values, f"{name} (batch,)").reshape(-1)
    whole = not (values.is_floating_point() or values.dtype == torch.bool)
    if len(values) != batch or not whole or (values < 0).any() or (values > most).any():
        raise ValueError(
            f"expected {name}: {batch} whole numbers from 0 to {most}, got {values.tolist()}"
        )
    return values.to(device, torch.long)


def _rows_of_labels(targets, lengths, classes, blank):
    """(batch, labels) with 0 past each row's length, from rows or from one long row."""
    longest = int(lengths.max()) if len(lengths) else 0
    real = attention_masks.padding_mask(lengths, longest)
    if targets.dim() == 2 and len(targets) == len(lengths) and targets.shape[1] >= longest:
        labels = targets[:, :longest][real]
    elif targets.dim() == 1 and len(targets) == lengths.sum():
        labels = targets
    else:
        raise ValueError(
            f"expected targets of shape ({len(lengths)}, {longest} or more) or "
            f"({int(lengths.sum())},) for target_lengths {lengths.tolist()}, got "
            f"{tuple(targets.shape)}"
        )
    whole = not (labels.is_floating_point() and len(labels))  # an empty list is all kinds
    if not whole or not ((0 <= labels) & (labels < classes)).all():
        raise ValueError(
            f"targets must be whole numbers from 0 to {classes - 1}, got {labels.unique().tolist()}"
        )
    if (labels == blank).any():
        raise ValueError(
            f"targets must not have the blank, {blank}, in them: it is said between labels, and "
            "never wanted; fill rows up with anything past their target_lengths (labels: -100)"
        )
    return torch.zeros_like(real, dtype=torch.long).masked_scatter(real, labels.long())


class _CTC(torch.autograd.Function):
    """The forward-backward algorithm over the states (blank, label, blank, label, ..., blank)."""

    @staticmethod
    def forward(ctx, log_probs, targets, heard, said, blank, zero_infinity):
        states = targets.new_full((len(targets), 2 * targets.shape[1] + 1), blank)
        states[:, 1::2] = targets
        # in double precision: in float32, sums of a thousand logarithms keep four digits
        exact = log_probs.detach().double()
        scores = exact.gather(2, states.expand(len(exact), -1, -1))  # (frames, batch, states)
        ways = _ways(scores, states)
        last = 2 * said  # the last blank; the target may also end in its last label, just before
        rows = torch.arange(len(said), device=said.device)
        ends = ways[heard, rows, last], ways[heard, rows, (last - 1).clamp(min=0)]
        losses = -torch.logaddexp(ends[0], ends[1].masked_fill(said == 0, NEVER))
        impossible = losses == float("inf")
        if ctx.needs_input_grad[0]:
            # the ways from here to the end are the ways to here when all is read backwards
            mirrored = _turned(states[None], torch.ones_like(said), last)[0]
            onward = _turned(_ways(_turned(scores, heard, last), mirrored)[1:], heard, last)
            ways = ways[1:] + onward - scores + losses[:, None]
            real = attention_masks.padding_mask(heard, len(exact)).T[..., None]
            possible = real & attention_masks.padding_mask(last + 1, states.shape[1])
            share = ways.exp().where(possible & (scores > NEVER), 0.0)  # of each state in the sum
            gradient = exact.exp().scatter_add(2, states.expand(share.shape), -share)
            gradient[:, impossible] = 0.0 if zero_infinity else float("nan")
            ctx.save_for_backward(gradient.where(real, 0.0).to(log_probs.dtype))
        if zero_infinity:
            losses = losses.masked_fill(impossible, 0.0)
        return losses.to(log_probs.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient_of_losses):
        (gradient,) = ctx.saved_tensors
        return gradient * gradient_of_losses[:, None], None, None, None, None, None


def _ways(scores, states):
    """log of the summed probability of all ways to be in each state after each frame.

    scores (frames, batch, states), states (batch, states): their classes
    -> (frames + 1, batch, states); row 0 is before the first frame, when only blank is open.
    """
    batch, count = states.shape
    before = scores.new_full((batch, count + 2), NEVER)  # two more on the left: where none is
    before[:, 2] = 0.0
    jump = torch.zeros_like(before)  # over a blank, unless the label on its other side is the same
    jump[:, :4] = NEVER
    jump[:, 4:].masked_fill_(states[:, 2:] == states[:, :-2], NEVER)
    ways = [before[:, 2:]]
    for frame in scores:
        both = torch.logaddexp(before[:, 2:], before[:, 1:-1])  # stay, or one state on
        now = torch.logaddexp(both, before[:, :-2] + jump[:, 2:]) + frame
        before = F.pad(now, (2, 0), value=NEVER)
        ways.append(now)
    return torch.stack(ways)


def _turned(x, heard, last):
    """x (frames, batch, states) read backwards: frames 0 to heard - 1, states 0 to last."""
    frames = torch.arange(len(x), device=x.device)[:, None]
    states = torch.arange(x.shape[2], device=x.device)
    frames = torch.where(frames < heard, heard - 1 - frames, frames)  # (frames, batch)
    states = torch.where(states <= last[:, None], last[:, None] - states, states)
    x = x.gather(0, frames[..., None].expand(x.shape))
    return x.gather(2, states.expand(x.shape))


def am_softmax_loss(embeddings, weight, labels, scale=30.0, margin=0.4):
    """Cross-entropy of scaled cosines, the right class `margin` worse off than it is.

    embeddings (batch, width), weight (width, classes): one direction a class, labels (batch,).
    Raises ValueError for shapes that do not fit and labels that are not classes.
    """
    embeddings, weight = (inputs.as_tensor(x, "numbers") for x in (embeddings, weight))
    if embeddings.dim() != 2 or weight.dim() != 2 or embeddings.shape[1] != len(weight):
        raise ValueError(
            "expected embeddings (batch, width) and weight (width, classes), got "
            f"{tuple(embeddings.shape)} and {tuple(weight.shape)}"
        )
    labels = inputs.classes(labels, len(embeddings), weight.shape[1], embeddings.device)
    cosines = F.normalize(embeddings, dim=1) @ F.normalize(weight, dim=0)
    right = F.one_hot(labels, weight.shape[1])
    return F.cross_entropy(scale * (cosines - margin * right), labels)


def label_smoothed_cross_entropy(logits, labels, smoothing=0.1, ignored=-100):
    """Cross-entropy against 1 - smoothing for the right class, and smoothing spread over all.

    logits (..., classes), labels (...); labels equal to `ignored` are not counted.
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must lie in 0 to 1, got {smoothing}")
    counted = labels != ignored
    log_probs = logits.log_softmax(-1)[counted]
    right = log_probs.gather(-1, labels[counted][:, None]).mean()
    return -(1 - smoothing) * right - smoothing * log_probs.mean()


def sample_negatives(hidden, count, rng=None):
    """For every hidden frame, `count` other hidden frames of the same utterance.

    hidden (batch, frames) bool -> (batch, frames, count) frame numbers, 0 where nothing is hidden.
    rng: Generator or RandomState; RandomState(seed) draws what Hugging Face draws under
    np.random.seed(seed). Raises ValueError for an utterance with a single hidden frame.
    """
    hidden = np.asarray(hidden, dtype=bool)
    rng = np.random.default_rng() if rng is None else rng
    draw = getattr(rng, "randint", None) or rng.integers
    negatives = np.zeros((*hidden.shape, count), dtype=np.int64)
    for row, row_hidden in enumerate(hidden):
        places = np.flatnonzero(row_hidden)
        if len(places) == 1:
            raise ValueError(f"utterance {row} hides one frame only: nothing to tell it from")
        if len(places):
            other = draw(0, len(places) - 1, size=(len(places), count))
            other += other >= np.arange(len(places))[:, None]  # never the frame itself
            negatives[row, places] = places[other]
    return negatives


def contrastive_loss(predicted, quantized, hidden, negatives, temperature=0.1):
    """Which of these code vectors stood at this hidden frame? Cross-entropy, summed over frames.

    predicted, quantized (batch, frames, width); hidden (batch, frames) bool: the frames to guess;
    negatives (batch, frames, count) frame numbers from `sample_negatives`. Score: cosine /
    temperature. A negative that equals the right code vector is no negative, and left out.
    Raises ValueError for frame numbers outside the row.
    """
    rows = torch.arange(len(hidden), device=predicted.device)[:, None, None]
    hidden, negatives = (torch.as_tensor(x, device=predicted.device) for x in (hidden, negatives))
    frames = quantized.shape[1]
    if ((negatives < 0) | (negatives >= frames)).any():
        raise ValueError(
            f"negatives must lie in 0 to {frames - 1}, got {int(negatives.min())} to "
            f"{int(negatives.max())}: they are frame numbers inside their own row; of Hugging "
            f"Face's take away row * {frames}"
        )
    wrong = quantized[rows, negatives]  # (batch, frames, count, width)
    same = (wrong == quantized[:, :, None]).all(-1)
    choices = torch.cat([quantized[:, :, None], wrong], dim=2)
    scores = F.cosine_similarity(predicted[:, :, None], choices, dim=-1) / temperature
    scores = scores.masked_fill(F.pad(same, (1, 0)), NEVER)
    return -scores.log_softmax(-1)[..., 0][hidden.bool()].sum()


def diversity_loss(perplexity, codes, hidden_frames):
    """How far the use of the codes is from even, a hidden frame: (codes - perplexity) / codes.

    perplexity: of all groups, summed; codes: of all groups together.
    """
    return (codes - perplexity) / codes * hidden_frames
