"""Which numbers a search and a cache can work with; everything else is refused in one line.

input -> output: what a caller asked for -> nothing, or a ValueError that says the range.
Special: knows no framework, so PyTorch and Flax refuse the same with the same words.
"""

import numbers

TEMPERATURES = 1e-30, 1e30  # beyond these, logits / temperature leaves float32
LENGTH_PENALTY = 10  # 2000^10 still is a float32
SEEDS = -(2**63), 2**64 - 1  # what PyTorch's generators take


def whole_number(name, number, least):
    """`name` is for the message. True and False are no numbers here."""
    whole = isinstance(number, numbers.Integral) and not isinstance(number, bool)
    if not whole or number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {number!r}")


def search_options(beams, length_penalty, early_stopping, temperature, seed, drafted):
    """The options of `generate` that say how the next token is chosen."""
    whole_number("beams", beams, 1)
    if not _between(length_penalty, -LENGTH_PENALTY, LENGTH_PENALTY):
        raise ValueError(
            f"length_penalty must be a number from {-LENGTH_PENALTY} to {LENGTH_PENALTY}, "
            f"got {length_penalty!r}"
        )
    if not _between(temperature, 0, 0) and not _between(temperature, *TEMPERATURES):
        least, most = TEMPERATURES
        raise ValueError(
            f"temperature must be 0 (greedy), or a number from {least:g} to {most:g}, "
            f"got {temperature!r}"
        )
    if not isinstance(early_stopping, bool) and early_stopping != "never":
        raise ValueError(f'early_stopping must be True, False or "never", got {early_stopping!r}')
    whole = isinstance(seed, numbers.Integral)
    if seed is not None and not (whole and SEEDS[0] <= seed <= SEEDS[1]):
        raise ValueError(
            f"seed must be a whole number from -2**63 to 2**64 - 1, or None, got {seed!r}"
        )
    chosen = [n for n, on in (("beams", beams > 1), ("temperature", temperature > 0),
                              ("draft", bool(drafted))) if on]  # fmt: skip
    if len(chosen) > 1:
        raise ValueError(f"{' and '.join(chosen)} exclude each other; choose one")


def _between(number, least, most):
    """Also False for NaN, True and False, and what is no number."""
    real = isinstance(number, numbers.Real) and not isinstance(number, bool)
    return real and least <= number <= most


def cache_size(batch, slots):
    """Room for `slots` tokens in each of `batch` rows."""
    whole_number("batch", batch, 0)
    whole_number("slots", slots, 1)


def cache_rows(rows, came):
    """A cache belongs to the rows of tokens (with beams: to every beam) it was made for."""
    if came != rows:
        raise ValueError(
            f"the cache was made for a batch of {rows}, {came} came; make one "
            "with init_cache(batch, slots, memory) for this batch"
        )


def cache_memory(held, came):
    """The keys and values in a cache were made of one memory: (batch, frames, width) it had, and
    (batch, frames, width) of the one that comes."""
    if tuple(came) != tuple(held):
        raise ValueError(
            "expected the memory that the cache holds, of shape (batch, frames, width) = "
            f"{tuple(held)}, got {tuple(came)}; leave it out, or make a cache for the other one "
            "with init_cache(batch, slots, memory)"
        )
