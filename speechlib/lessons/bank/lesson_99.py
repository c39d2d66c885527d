"""Checks of the demonstration lesson: the smallest complete example of a bank."""

import numpy as np

from speechlib.lessons.banking import Bank, case

bank = Bank("99")

shares = bank.exercise("99.1", axes=("query", "key"))


@shares.cases
def shares_cases():
    yield case(np.array([[1.0, 3.0], [2.0, 2.0]]), note="two queries, two keys")
    rng = np.random.default_rng(991)
    for queries, keys in ((1, 3), (3, 2), (4, 5)):
        yield case(rng.uniform(0.1, 2.0, (queries, keys)).astype("float32"))


@shares.reference
def normalise(scores):
    return scores / scores.sum(axis=-1, keepdims=True)


@shares.mistake("columns")
def shares_columns(scores):
    return scores / scores.sum(axis=0, keepdims=True)


@shares.mistake("everything")
def shares_everything(scores):
    return scores / scores.sum()


@shares.variant("a loop over rows")
def shares_loop(scores):
    return np.stack([row / sum(row) for row in scores])


shares.equivalent("-1 -> 1", because="a table has two axes, so axis 1 is the last one")
