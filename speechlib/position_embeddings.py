"""Where a token or a frame stands: fixed tables, token positions, relative distances.

Papers: Vaswani et al. 2017 (section 3.5) for the sinusoids; Raffel et al. 2020 (T5) for the
distance buckets, used by WavLM (Chen et al. 2022).
In -> out: a length and a width -> (positions, width) float32; tokens -> their row numbers in
such a table; two lengths -> (query, key) bucket numbers.
Special: three published tables all go by the name "sinusoidal". They differ in the order of the
columns, in the step between frequencies and in the row kept for padding, and none of them
raises an error when it is put in the place of another.

Notebook: 03_positions
"""

import math
import operator

import numpy as np

CONVENTIONS = ("paper", "fairseq", "whisper")
TIME_SCALE = 10_000  # the slowest wave takes about 2 pi * 10,000 positions to come round


def sinusoidal_embeddings(length, width, convention="whisper", padding_index=1):
    """Fixed wave table -> (positions, width) float32.

    Every pair of columns is one clock hand: its sine and its cosine. The hands turn by
    1, ..., 1/10000 radians a position. How the conventions differ:

    ========= =========================== ============================== =================
    name      columns                     radians a position, hand i     rows
    ========= =========================== ============================== =================
    paper     sin, cos, sin, cos, ...     10000 ** (-2 i / width)        all used
    fairseq   all sin, then all cos       10000 ** (-i / (width/2 - 1))  padding row is 0
    whisper   all sin, then all cos       10000 ** (-i / (width/2 - 1))  all used
    ========= =========================== ============================== =================

    ``padding_index`` is read by "fairseq" only. Float32 step by step, as published: a table
    computed in float64 differs by up to 1e-4 at position 1,500, so a table stored in a
    checkpoint goes before one built here.

    Errors: ValueError for an unknown convention, a negative length, or a width that the
    convention has no table for.
    """
    if convention not in CONVENTIONS:
        raise ValueError(
            f"convention is one of {', '.join(CONVENTIONS)}, got {convention!r}; "
            "the docstring says how they differ"
        )
    for name, value in (("length", length), ("width", width), ("padding_index", padding_index)):
        if not (value is None and name == "padding_index"):
            _check_whole(name, value)
    if length < 0:
        raise ValueError(f"length counts positions and cannot be negative, got {length}")
    if convention == "paper":
        return paper_sinusoids(length, width)
    if convention == "fairseq":
        return fairseq_sinusoids(length, width, padding_index)
    return whisper_sinusoids(length, width)


def paper_sinusoids(length, width):
    """sin, cos, sin, cos, ... -> (positions, width) float32; an odd width ends on a sine.

    Source: Vaswani et al. 2017, section 3.5 (arXiv 1706.03762).
    """
    if width < 1:
        raise ValueError(f"width counts columns and must be at least 1, got {width}")
    hands = (width + 1) // 2
    angles = _angles(length, hands, np.float32(2 * math.log(TIME_SCALE) / width))
    pairs = np.stack([np.sin(angles), np.cos(angles)], axis=-1)  # (positions, hands, 2)
    return np.ascontiguousarray(pairs.reshape(length, 2 * hands)[:, :width])


def fairseq_sinusoids(length, width, padding_index=1):
    """All sines, then all cosines; row ``padding_index`` is 0 -> (positions, width) float32.

    padding_index None: no such row. An odd width ends on a column of zeros.
    Source: fairseq ``SinusoidalPositionalEmbedding``, after tensor2tensor.
    """
    table = _halves(length, width, "fairseq")
    if padding_index is not None:
        if padding_index < 0:
            raise ValueError(f"padding_index is a row from 0 on, or None, got {padding_index}")
        table[padding_index : padding_index + 1] = 0  # a table shorter than that has no such row
    return table


def whisper_sinusoids(length, width):
    """All sines, then all cosines, from position 0 -> (positions, width) float32.

    The fairseq table without its padding row. Errors: ValueError for an odd width.
    Source: openai/whisper ``sinusoids``.
    """
    if width % 2:
        raise ValueError(
            f"the whisper convention needs an even width, got {width}: "
            "half of the columns are sines, half cosines"
        )
    return _halves(length, width, "whisper")


def _halves(length, width, convention):
    """All sines, then all cosines; an odd width ends on zeros."""
    hands = width // 2
    if hands < 2:  # the step divides by hands - 1
        raise ValueError(
            f"the {convention} convention needs a width of at least 4, got {width}: "
            "its step runs from the fastest hand to the slowest, so it needs two"
        )
    step = np.float32(math.log(TIME_SCALE) / (hands - 1))
    angles = _angles(length, hands, step)
    table = np.zeros((length, width), dtype=np.float32)
    table[:, :hands] = np.sin(angles)
    table[:, hands : 2 * hands] = np.cos(angles)
    return table


def _angles(length, hands, step):
    """-> (positions, hands) float32 radians."""
    exponents = -step * np.arange(hands, dtype=np.float32)
    # NumPy's float32 exp is off by one bit more often than torch's: round a float64 one instead
    frequencies = np.exp(exponents.astype(np.float64)).astype(np.float32)
    return np.arange(length, dtype=np.float32)[:, None] * frequencies


def token_positions(tokens, padding_index, past_length=0):
    """Row numbers of a padded batch in a fairseq table: (batch, tokens) whole numbers -> the same.

    Real tokens count up from padding_index + 1, wherever the padding stands; padding itself
    gets padding_index, the row of zeros. ``past_length`` is the number of real tokens that
    went before, as in cached generation: one number, or one for each row, (batch,) or (batch, 1).
    Torch and JAX arrays stay what they are, inside jax.jit too.

    Errors: ValueError for tokens, padding_index or past_length that are not whole numbers.
    Source: fairseq ``utils.make_positions``.
    """
    _check_whole("padding_index", padding_index)
    tokens, past = (x if hasattr(x, "ndim") else np.asarray(x) for x in (tokens, past_length))
    for name, values in (("tokens", tokens), ("past_length", past)):
        if "int" not in str(values.dtype) and 0 not in values.shape:
            raise ValueError(f"{name} must be whole numbers, got {values.dtype}")
    real = (tokens != padding_index) * 1
    if past.ndim:
        past = past.reshape(-1, 1)  # one past a row, the same for all its tokens
    elif isinstance(past, np.ndarray):
        past = int(past)  # a plain number goes with arrays of any kind
    return (real.cumsum(-1) + past) * real + padding_index


def relative_position_buckets(query_length, key_length, buckets=320, max_distance=800):
    """Which bucket the distance key - query falls into -> (query, key) int64.

    Half of the buckets serve keys before the query (and the query itself), half keys after
    it. In each half the first half of the buckets are exact distances, the rest grow
    logarithmically up to ``max_distance``; everything beyond shares the last one. With the
    WavLM values distances 0..79 are exact and 800 frames are 16 s.

    Errors: ValueError when buckets < 4 or max_distance does not exceed the exact range.
    Source: Raffel et al. 2020; WavLM ``_relative_positions_bucket``.
    """
    for name, value in (("query_length", query_length), ("key_length", key_length)):
        _check_whole(name, value)
        if value < 0:
            raise ValueError(f"{name} counts frames and cannot be negative, got {value}")
    one_side = buckets // 2
    exact = one_side // 2
    if exact < 1:
        raise ValueError(f"buckets must be at least 4 (two sides, near and far), got {buckets}")
    if max_distance <= exact:
        raise ValueError(
            f"max_distance must exceed the {exact} exact distances that {buckets} buckets "
            f"give, got {max_distance}"
        )
    distance = np.arange(key_length)[None, :] - np.arange(query_length)[:, None]
    far = np.maximum(np.abs(distance), 1).astype(np.float32)  # 0 is never far; log(0) would warn
    # float32 as published: the rounding decides distances that lie exactly on an edge
    growth = np.log(far / np.float32(exact)) / np.float32(math.log(max_distance / exact))
    logarithmic = exact + growth * np.float32(one_side - exact)
    logarithmic = np.minimum(logarithmic.astype(np.int64), one_side - 1)
    side = (distance > 0).astype(np.int64) * one_side
    return side + np.where(np.abs(distance) < exact, np.abs(distance), logarithmic)


def _check_whole(name, value):
    try:
        operator.index(value)
    except TypeError as error:
        raise ValueError(f"{name} must be a whole number, got {value!r}") from error
