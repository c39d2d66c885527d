"""Which numbers a search and a cache can work with; everything else is refused in one line.

input -> output: what a caller asked for -> nothing, or a ValueError that says the range.
Special: knows no framework, so PyTorch and Flax refuse the same with the same words.
"""


def cache_rows(rows, came):
    """A cache belongs to the rows of tokens (with beams: to every beam) it was made for."""
    if came != rows:
        raise ValueError(
            f"the cache was made for a batch of {rows}, {came} came; make one "
            "with init_cache(batch, slots, memory) for this batch"
        )
