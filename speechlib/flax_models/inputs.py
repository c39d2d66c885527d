"""What comes into a model, checked: lists and NumPy arrays become JAX arrays.

input -> output: anything like an array -> an array of the right kind and shape.
Special: the mirror of `torch_models/inputs.py`. Under `jit` the values are not known, so there only
kinds and shapes are checked.
"""

import jax
import jax.numpy as jnp
import numpy as np


def as_array(values, expected):
    """JAX and NumPy arrays stay as they are; `expected`: for the message, "tokens (batch, …)"."""
    if isinstance(values, jax.Array | np.ndarray):
        return values
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biufc":
            raise TypeError
        return array
    except (TypeError, ValueError, RuntimeError) as error:
        what = type(values).__name__
        if isinstance(values, list):  # NumPy's own error is about the shape
            ragged = isinstance(error, ValueError)
            what = "rows of unequal length" if ragged else "a list of something else than numbers"
        raise ValueError(f"expected {expected}, got {what}") from error


def known(values):
    """Whether the values can be looked at: outside `jit`."""
    return not isinstance(values, jax.core.Tracer)


def numbers(values, expected, dtype):
    """Real numbers -> an array of the number type `dtype` (None: as they come, float32 at most)."""
    values = as_array(values, expected)
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(f"expected {expected} as floating-point numbers, got {values.dtype}")
    return jnp.asarray(values, dtype)


def tokens(values, vocabulary, ignored=None):
    """Token ids -> (batch, tokens) int32. `ignored`: a further number that may stand for a token
    (-100 in labels). Raises ValueError for another shape, another kind, or an unknown id."""
    name = "tokens" if ignored is None else "labels"
    values = as_array(values, f"{name} (batch, tokens)")
    if values.ndim != 2:
        raise ValueError(f"expected {name} of shape (batch, tokens), got {tuple(values.shape)}")
    if not jnp.issubdtype(values.dtype, jnp.integer):
        raise ValueError(f"expected {name} as whole numbers, got {values.dtype}")
    if known(values):
        real = np.asarray(values)
        real = real if ignored is None else real[real != ignored]
        if real.size and not (0 <= real.min() and real.max() < vocabulary):
            raise ValueError(
                f"{name} must lie in 0 to {vocabulary - 1}, got {real.min()} to {real.max()}"
            )
    return jnp.asarray(values, jnp.int32)


def token_mask(values, batch, count, places):
    """True (or 1) = real token, (batch, tokens so far) -> (batch, places) bool: with a cache, room
    for tokens to come.

    A bias of 0 and -inf is refused: read as a mask it would hide just what is meant to be seen.
    """
    values = as_array(values, "a token mask (batch, tokens)")
    so_far = count if known(count) else values.shape[1]
    if tuple(values.shape) not in ((batch, so_far), (batch, places)):
        raise ValueError(
            f"expected a token mask of shape (batch, tokens) = ({batch}, {so_far}), past tokens "
            f"included, got {tuple(values.shape)}"
        )
    values = _yes_or_no(values, "a token mask of True = real token")
    return jnp.pad(values, ((0, 0), (0, places - values.shape[1])))


def _yes_or_no(values, expected):
    """True and False, or 1 and 0 -> bool. `expected`: for the message."""
    ones = not known(values) or bool(((values == 0) | (values == 1)).all())
    if jnp.issubdtype(values.dtype, jnp.floating) or not ones:
        raise ValueError(f"expected {expected}, or 1 and 0, got {values.dtype}")
    return jnp.asarray(values, bool)


def memory(values, batch, width, dtype):
    """The encoder's output -> (batch, frames, width), in the number type `dtype`."""
    values = numbers(values, "memory (batch, frames, width)", dtype)
    if values.ndim != 3 or len(values) != batch or values.shape[2] != width:
        raise ValueError(
            f"expected memory of shape (batch, frames, width) = ({batch}, frames, {width}), got "
            f"{tuple(values.shape)}; model.encode makes it"
        )
    return values


def memory_mask(values, batch, frames):
    """True (or 1) = real frame -> (batch, frames) bool."""
    values = as_array(values, "a memory mask (batch, frames)")
    if tuple(values.shape) != (batch, frames):
        raise ValueError(
            f"expected a memory mask of shape (batch, frames) = ({batch}, {frames}), got "
            f"{tuple(values.shape)}; model.encode makes it"
        )
    return _yes_or_no(values, "a memory mask of True = real frame")


def waveform(values, dtype):
    """A sound wave -> (batch, samples), in the number type `dtype`."""
    values = numbers(values, "a waveform (batch, samples)", dtype)
    if values.ndim != 2:
        raise ValueError(
            f"expected a waveform of shape (batch, samples), got {tuple(values.shape)}; one "
            "recording is wave[None], several are padded with zeros to the longest"
        )
    if not len(values):
        raise ValueError("expected a waveform (batch, samples), got a batch of 0 recordings")
    if known(values) and not jnp.isfinite(values).all():
        raise ValueError("expected a waveform of finite numbers, got NaN or infinity in it")
    return values


def lengths(values, batch=None, samples=None):
    """Real samples in each row -> (batch,) int32; at least 1 and at most `samples`."""
    values = as_array(values, "lengths (batch,)")
    whole = jnp.issubdtype(values.dtype, jnp.integer)
    if values.ndim != 1 or not whole or len(values) != (batch or len(values)):
        raise ValueError(
            f"expected lengths of shape ({batch or 'batch'},) as whole numbers, one for each row, "
            f"got {tuple(values.shape)} of {values.dtype}"
        )
    if len(values) and samples is not None and known(values):
        if not (1 <= values.min() and values.max() <= samples):
            raise ValueError(
                f"lengths must lie in 1 to {samples}, what each row has, got {values.tolist()}"
            )
    return jnp.asarray(values, jnp.int32)
