"""What comes into a model, checked: lists and NumPy arrays become tensors on its device.

input -> output: anything like an array -> a tensor of the right kind and shape.
Special: everything else is a ValueError that says what was expected and what came, before a
matrix product deep inside complains about it, or gives a wrong answer without complaint.
"""

import numpy as np
import torch

from speechlib import limits


def as_tensor(values, expected):
    """Tensors stay as they are; `expected`: for the message, "tokens (batch, tokens)"."""
    if isinstance(values, torch.Tensor):
        return values
    try:
        return torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError, RuntimeError) as error:
        what = type(values).__name__
        if isinstance(values, list):  # NumPy's own error is about the shape
            ragged = isinstance(error, ValueError)
            what = "rows of unequal length" if ragged else "a list of something else than numbers"
        raise ValueError(f"expected {expected}, got {what}") from error


def numbers(values, expected, like):
    """Real numbers -> a tensor with the number type and the device of `like`."""
    values = as_tensor(values, expected)
    if not values.is_floating_point():
        raise ValueError(f"expected {expected} as floating-point numbers, got {values.dtype}")
    return values.to(like.device, like.dtype)


def tokens(values, vocabulary, device, ignored=None):
    """Token ids -> (batch, tokens) int64. `ignored`: a further number that may stand for a token
    (-100 in labels). Raises ValueError for another shape, another kind, or an unknown id."""
    name = "tokens" if ignored is None else "labels"
    values = as_tensor(values, f"{name} (batch, tokens)")
    if values.dim() != 2:
        raise ValueError(f"expected {name} of shape (batch, tokens), got {tuple(values.shape)}")
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"expected {name} as whole numbers, got {values.dtype}")
    values = values.to(device, torch.long)
    real = values if ignored is None else values[values != ignored]
    if real.numel() and not (0 <= real.min() and real.max() < vocabulary):
        raise ValueError(
            f"{name} must lie in 0 to {vocabulary - 1}, got {int(real.min())} to {int(real.max())}"
        )
    return values


def token_mask(values, batch, count, device):
    """True (or 1) = real token -> (batch, tokens so far) bool.

    A bias of 0 and -inf is refused: read as a mask it would hide just what is meant to be seen.
    """
    values = as_tensor(values, "a token mask (batch, tokens)")
    if tuple(values.shape) != (batch, count):
        raise ValueError(
            f"expected a token mask of shape (batch, tokens) = ({batch}, {count}), past tokens "
            f"included, got {tuple(values.shape)}"
        )
    return _yes_or_no(values, "a token mask of True = real token", device)


def _yes_or_no(values, expected, device):
    """True and False, or 1 and 0 -> bool. `expected`: for the message."""
    if values.is_floating_point() or not ((values == 0) | (values == 1)).all():
        raise ValueError(f"expected {expected}, or 1 and 0, got {values.dtype}")
    return values.to(device, torch.bool)


def memory(values, batch, width, like):
    """The encoder's output -> (batch, frames, width), in the number type of `like`."""
    values = numbers(values, "memory (batch, frames, width)", like)
    if values.dim() != 3 or len(values) != batch or values.shape[2] != width:
        raise ValueError(
            f"expected memory of shape (batch, frames, width) = ({batch}, frames, {width}), got "
            f"{tuple(values.shape)}; model.encode makes it"
        )
    return values


def memory_rows(memory, batch):
    """Rows of a memory that `batch` token rows share evenly, as beams do; None: no memory."""
    limits.whole_number("batch", batch, 0)
    if memory is None:
        return batch
    if batch != len(memory) and (not len(memory) or batch % len(memory)):
        raise ValueError(
            f"expected a batch that is a multiple of the memory's {len(memory)} rows, got {batch}"
        )
    return len(memory)


def memory_mask(values, batch, frames, device):
    """True (or 1) = real frame -> (batch, frames) bool."""
    values = as_tensor(values, "a memory mask (batch, frames)")
    if tuple(values.shape) != (batch, frames):
        raise ValueError(
            f"expected a memory mask of shape (batch, frames) = ({batch}, {frames}), got "
            f"{tuple(values.shape)}; model.encode makes it"
        )
    return _yes_or_no(values, "a memory mask of True = real frame", device)


def classes(values, batch, count, device):
    """One class a row -> (batch,) int64. Raises ValueError for another shape, another kind, or a
    class that there is not."""
    values = as_tensor(values, "labels (batch,)")
    if values.is_floating_point() or values.dtype == torch.bool or values.numel() != batch:
        raise ValueError(
            f"expected labels of shape ({batch},), whole numbers, got {tuple(values.shape)} of "
            f"{values.dtype}"
        )
    values = values.reshape(batch).to(device, torch.long)
    if batch and not (0 <= values.min() and values.max() < count):
        raise ValueError(
            f"labels must lie in 0 to {count - 1}, got {int(values.min())} to {int(values.max())}"
        )
    return values


def waveform(values, like):
    """A sound wave -> (batch, samples), in the number type of `like`."""
    values = numbers(values, "a waveform (batch, samples)", like)
    if values.dim() != 2:
        raise ValueError(
            f"expected a waveform of shape (batch, samples), got {tuple(values.shape)}; one "
            "recording is wave[None], several are padded with zeros to the longest"
        )
    if not len(values):
        raise ValueError("expected a waveform (batch, samples), got a batch of 0 recordings")
    if not torch.isfinite(values).all():
        raise ValueError("expected a waveform of finite numbers, got NaN or infinity in it")
    return values


def lengths(values, batch=None, samples=None, device="cpu"):
    """Real samples (or mel frames) in each row -> (batch,) int64; at least 1 and at most
    `samples`."""
    values = as_tensor(values, "lengths (batch,)")
    kinds = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    if values.dim() != 1 or values.dtype not in kinds or len(values) != (batch or len(values)):
        raise ValueError(
            f"expected lengths of shape ({batch or 'batch'},) as whole numbers, one for each row, "
            f"got {tuple(values.shape)} of {values.dtype}"
        )
    if len(values) and samples is not None and not (1 <= values.min() and values.max() <= samples):
        raise ValueError(
            f"lengths must lie in 1 to {samples}, what each row has, got {values.tolist()}"
        )
    return values.to(device, torch.long)
