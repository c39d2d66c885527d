"""Figures for a checkpoint's card: a number, what it was measured on, its interval, its baseline.

input -> output: what was right and what a model said -> a dict that `card.json` keeps as it is.
Special: an interval is the bootstrap over items (`metrics.bootstrap`). Items of one voice resemble
each other, so the truth is wider. Where no item is wrong (or none is right) every draw is the same,
which proves nothing: there the interval is that of the binomial (Clopper and Pearson 1934).
"""

from collections import Counter

from speechlib import metrics
from speechlib.metrics import bootstrap

NOTHING = "nothing"  # the row or column of a word that was invented or left out


def figure(name, statistic, items, on, *, seed=0, baseline=None, counted="items", **more):
    """Any number with its interval.

    statistic(items) -> the number called `name`; on: on what it was measured, in words.
    baseline: {how: the number that this way reaches}. counted: what the items are, as a plural.
    more: further entries of the figure, `words=248` for example.
    """
    value, interval = statistic(items), bootstrap(statistic, items, seed=seed)
    if value in (0, 1) and interval == (value, value) and not name.endswith("_s"):
        interval = (_sure(len(items)), 1.0) if value else (0.0, 1 - _sure(len(items)))
    return _figure(name, value, interval, on, baseline, {counted: len(items), **more})


def wer_figure(pairs, on, *, seed=0, baseline=None, **more):
    """Word error rate. pairs: (wanted text, written text) of each recording.

    Baseline: "empty text", who writes nothing misses every word and nothing else.
    """
    wanted, written = zip(*pairs, strict=True)
    value, interval = metrics.wer(wanted, written), metrics.wer_interval(wanted, written, seed=seed)
    if value == 0:
        interval = 0.0, 1 - _sure(sum(len(text.split()) for text in wanted))
    counts = {"recordings": len(wanted), "words": sum(len(text.split()) for text in wanted)}
    simple = {"empty text": 1.0} | (baseline or {})
    return _figure("word_error_rate", value, interval, on, simple, counts | more)


def accuracy_figure(wanted, found, on, labels=None, *, name="accuracy", seed=0, baseline=None,
                    picture=True, **more):  # fmt: skip
    """Share of items that are right, beside two ways to get there without listening.

    wanted, found: a label each; labels: all that there are (None: those of `wanted`).
    Baselines: "majority" always says the commonest wanted label, "chance" any of them. picture:
    keep the confusion matrix, of which `evaluate` draws one.
    """
    wanted, found = list(wanted), list(found)
    labels = sorted(set(wanted)) if labels is None else list(labels)
    right = [float(one == other) for one, other in zip(wanted, found, strict=True)]
    simple = {"majority": Counter(wanted).most_common(1)[0][1] / len(wanted)}
    simple["chance"] = 1 / len(labels)
    if picture:
        more["confusion"] = confusion(wanted, found, labels)
    return figure(name, _mean, right, on, seed=seed, baseline=simple | (baseline or {}), **more)


def confusion(wanted, found, labels) -> dict:
    """What was taken for what: {"labels": …, "counts": rows are wanted, columns are found}.

    A label that is not in `labels` is counted as "nothing", which then is the last one.
    """
    labels = [str(label) for label in labels]
    pairs = Counter(
        (
            str(one) if str(one) in labels else NOTHING,
            str(other) if str(other) in labels else NOTHING,
        )
        for one, other in zip(wanted, found, strict=True)
    )
    if any(NOTHING in pair for pair in pairs) and NOTHING not in labels:
        labels.append(NOTHING)
    return {
        "labels": labels,
        "counts": [[pairs[row, column] for column in labels] for row in labels],
    }


def word_confusion(pairs, words) -> dict:
    """The same for texts: the words of (wanted text, written text) pairs, aligned with the fewest
    edits. What was left out or invented is taken for, or made of, "nothing"."""
    edits = [edit for one, other in pairs for edit in metrics.edits(one.split(), other.split())]
    return confusion([wanted for _, wanted, _ in edits], [found for *_, found in edits], words)


def _sure(count):
    """The least share of right items with which `count` in a row are right once in 40 times."""
    return 0.025 ** (1 / count)


def _mean(values):
    return sum(values) / len(values)


def _figure(name, value, interval, on, baseline, counts):
    found = {"on": on, name: _short(value), "interval_95": [_short(end) for end in interval]}
    simple = {how: _short(reached) for how, reached in (baseline or {}).items()}
    return found | counts | ({"baseline": simple} if simple else {})


def _short(value):
    return round(float(value), 6)  # as `cards.write` keeps all numbers
