"""What a model takes for what: a confusion matrix in Matplotlib.

Counts -> artists, in the manner of `plots`: `ax=None`, titles, named axes, alt text from the data.
"""

import numpy as np

from speechlib.viz import palette
from speechlib.viz.display import Drawn, describe, new_axes
from speechlib.viz.plots import array_of, label, plain

NUMBERED = 20  # with more classes the numbers in the cells could not be read
NOTHING = "nothing"  # the class of what was not said, as in `recipes.scoring`
NAMED = 45  # with more classes only every tenth is named


def plot_confusion(counts, labels, ax=None, *, title="What was taken for what"):
    """counts: (wanted class, found class), whole numbers; labels: a name each.

    A row is shaded by shares of its sum, so that rare classes show as well; that of "nothing"
    (words that were invented) by shares of a mean row at least. Numbers in the cells are counts.
    """
    counts = array_of(counts, 2, "counts", "(wanted class, found class)").astype(int)
    size = len(labels)
    if counts.shape != (size, size):
        raise ValueError(f"{size} labels need counts of shape {(size, size)}, got {counts.shape}")
    labels = [str(name) for name in labels]
    inches = min(8.0, 2.6 + 0.38 * size)
    (ax,), own = new_axes(ax, (inches + 0.8, inches))
    sums = counts.sum(axis=1, keepdims=True)
    least = [[sums.mean() if name == NOTHING else 1] for name in labels]
    shares = counts / np.maximum(sums, least)
    image = ax.imshow(shares, cmap=palette.SEQUENTIAL, vmin=0, vmax=1, interpolation="nearest")
    artists = [image, ax.figure.colorbar(image, ax=ax, pad=0.02, label="share of the row")]
    if size <= NUMBERED:
        artists += [
            ax.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=10,
                    color=palette.text_on(image.cmap(image.norm(shares[row, column]))))
            for row in range(size) for column in range(size) if counts[row, column]
        ]  # fmt: skip
    named = range(0, size, 1 if size <= NAMED else 10)
    small = 10 if size <= NUMBERED else 8
    ax.set_xticks(named, [plain(labels[n]) for n in named], rotation=90, fontsize=small)
    ax.set_yticks(named, [plain(labels[n]) for n in named], fontsize=small)
    label(ax, title, "found", "wanted")
    describe(ax, f"{title}: {in_words(counts, labels)}")
    return Drawn(artists, [ax], own)


def in_words(counts, labels, most=3):
    """The same, said: how many are right, and what is confused most often."""
    counts = np.asarray(counts)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [np.unravel_index(place, counts.shape) for place in order]
    said = [
        f"{labels[row]} was taken for {labels[column]} ({wrong[row, column]})"
        for row, column in pairs
        if wrong[row, column]
    ]
    right = f"{len(labels)} classes, {np.trace(counts)} of {counts.sum()} on the diagonal"
    return f"{right}; most often {', '.join(said)}." if said else f"{right}."
