"""Who may look at whom: boolean masks, True = may look, put together with `&`.

lengths, positions -> masks that spread over scores (batch, head, query, key). Only operators and
methods that NumPy, PyTorch and JAX arrays share, so that one file serves all three; a mask is an
array of the kind it was made from. The causal mask is that of Vaswani et al. 2017, "Attention Is
All You Need" (arXiv:1706.03762), section 3.2.3; the frame mask that of wav2vec 2.0 (Baevski et al.
2020, arXiv:2006.11477) in Hugging Face's implementation.

Notebook: 05_masks
"""

import numpy as np

FLOAT32_LOWEST = float(np.finfo(np.float32).min)  # about -3.4e38: the lowest that is still finite


def causal_mask(query_positions, key_positions):
    """Each query may look at its own position and at earlier ones.

    query_positions: (query,) and key_positions: (key,), absolute positions in the sequence. With
    a past in the cache the queries merely have larger positions, and empty cache slots, which lie
    after every query, are hidden for free. A leading (batch,) axis on either is kept.
    Returns (query, key) or (batch, query, key) bool.
    """
    query_positions, key_positions = _array(query_positions), _array(key_positions)
    for name, positions in (("query", query_positions), ("key", key_positions)):
        if positions.ndim not in (1, 2):
            raise ValueError(
                f"expected {name} positions ({name},) or (batch, {name}), came shape "
                f"{tuple(positions.shape)}: give one position for each {name}"
            )
    return key_positions[..., None, :] <= query_positions[..., :, None]


def padding_mask(lengths, size):
    """What is real in a padded batch.

    lengths: (batch,) whole numbers from 0 to size; size: places in a row (samples, frames, tokens).
    Returns (batch, size) bool, True = real.
    """
    lengths = _wide(_array(lengths))
    if lengths.ndim != 1 or "int" not in str(lengths.dtype):
        raise ValueError(
            f"expected lengths (batch,) of whole numbers, came shape {tuple(lengths.shape)} of "
            f"{lengths.dtype}: count the real places in each row"
        )
    if not _holds((lengths >= 0) & (lengths <= size)):
        raise ValueError(
            f"expected lengths from 0 to {size}, came {lengths.tolist()}: a row cannot hold more "
            "than its size (are these samples where frames are meant?)"
        )
    return lengths[:, None] > _count_up(size, lengths)


def for_keys(mask):
    """Which keys may be looked at, by all heads and queries: (batch, key) -> (batch, 1, 1, key)."""
    mask = _boolean(mask, "key mask")
    if mask.ndim != 2:
        raise ValueError(
            f"expected a key mask (batch, key), came shape {tuple(mask.shape)}: it says which keys "
            "are real, once for each row of the batch"
        )
    return mask[:, None, None, :]


def for_queries(mask):
    """Who may look at which key: (query, key) -> (1, 1, query, key), for the whole batch;
    (batch, query, key) -> (batch, 1, query, key). The same for all heads."""
    mask = _boolean(mask, "query and key mask")
    if mask.ndim not in (2, 3):
        raise ValueError(
            f"expected a mask (query, key) or (batch, query, key), came shape {tuple(mask.shape)}"
        )
    return mask[None, None] if mask.ndim == 2 else mask[:, None]


def combine(query_key=None, key=None):
    """Both masks in one: a key is seen where every mask allows it.

    query_key: (query, key) or (batch, query, key), such as a causal mask; key: (batch, key), such
    as a padding mask. Either may be None.
    Returns (batch or 1, 1, query or 1, key) bool, or None (no mask at all) for two Nones.
    """
    if query_key is None:
        return None if key is None else for_keys(key)
    if key is None:
        return for_queries(query_key)
    who, which = for_queries(query_key), for_keys(key)
    if who.shape[-1] != which.shape[-1]:
        raise ValueError(
            f"expected masks over the same keys, came {who.shape[-1]} keys in the query and key "
            f"mask and {which.shape[-1]} in the key mask: with a cache, count the past too"
        )
    return who & which


def to_bias(mask, lowest=FLOAT32_LOWEST):
    """The mask as something to *add* to the scores: 0 where one may look, else `lowest`.

    lowest: what hides a key. The lowest finite number leaves a row in which everything is hidden
    uniform after softmax; minus infinity makes such a row NaN. Here the models fill, they do not
    add; older code and additive relative positions add.
    Returns float32 of the mask's shape.
    """
    mask = _boolean(mask, "mask")
    if hasattr(mask, "masked_fill"):  # PyTorch; 0 * infinity would be NaN, so no multiplication
        return (mask * 0.0).masked_fill(~mask, lowest)
    namespace = getattr(mask, "__array_namespace__", lambda: np)()
    return namespace.where(mask, np.float32(0), np.float32(lowest))


def conv_output_length(length, kernel, stride, padding=0):
    """Frames that a convolution makes of `length` frames: a number, or an array of them.

    kernel, stride, padding (on each side): frames, as in PyTorch's Conv1d. Too little for one
    kernel makes 0 frames (Hugging Face goes negative there).
    """
    if kernel < 1 or stride < 1 or padding < 0:
        raise ValueError(
            f"expected kernel and stride of at least 1 and padding of at least 0, came kernel "
            f"{kernel}, stride {stride}, padding {padding}"
        )
    frames = (_wide(length) + 2 * padding - kernel) // stride + 1
    return frames * (frames > 0)


def conv_output_lengths(lengths, kernels, strides):
    """Frames after a stack of convolutions without padding.

    lengths: samples, a number or (batch,). kernels, strides: one a layer; WavLM's seven make one
    frame of every 320 samples (20 ms), each of which hears 400 samples (25 ms).
    """
    if len(kernels) != len(strides):
        raise ValueError(
            f"expected one stride for each kernel, came {len(kernels)} kernels and {len(strides)} "
            "strides"
        )
    for kernel, stride in zip(kernels, strides, strict=True):
        lengths = conv_output_length(lengths, kernel, stride)
    return lengths


def frame_mask(lengths, frames, kernels, strides):
    """Which frames come from real samples alone, after a stack of convolutions.

    lengths: (batch,) real samples of each row; frames: what the convolutions made of the padded
    row. Returns (batch, frames) bool, True = real: Hugging Face's feature vector mask, except that
    a row too short for a single frame has none (there, an index wraps and makes them real).
    """
    return padding_mask(conv_output_lengths(_array(lengths), kernels, strides), frames)


def _array(values):
    """Lists and numbers become NumPy arrays; arrays of any kind stay what they are."""
    return values if hasattr(values, "ndim") else np.asarray(values)


def _wide(values):
    """Narrow and unsigned whole numbers -> int64 (JAX: int32), for they wrap around: as uint16,
    300 - 400 is 65436, and as int8, 100 + 100 is -56."""
    kind = str(getattr(values, "dtype", "")).removeprefix("torch.")
    if not kind.startswith(("uint", "int8", "int16")):
        return values
    return values.long() if hasattr(values, "long") else values.astype(int)


def _boolean(mask, name):
    mask = _array(mask)
    if "bool" not in str(mask.dtype):
        raise ValueError(
            f"expected a boolean {name} (True = may look), came {mask.dtype}: compare, for example "
            "mask == 1; a bias of 0 and -inf is not a mask"
        )
    return mask


def _count_up(size, like):
    """(size,) 0, 1, 2, … as an array that can be compared with `like`."""
    if hasattr(like, "new_ones"):  # PyTorch compares only with its own kind, on its own device
        return like.new_ones(size).cumsum(0) - 1
    return np.arange(size)


def _holds(condition):
    """Whether all are true; taken to be so inside jax.jit, where values are not known yet."""
    try:
        return bool(condition.all())
    except TypeError:
        return True
