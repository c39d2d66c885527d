"""Pictures of small numbers: matrices by hand, masks, sinusoids.

Arrays -> artists, like `plots`. Masks are told apart by hatch and letter, never by colour alone.
Notebook: 03_positions, 05_masks, 06_attention
"""

import numpy as np

from speechlib.viz import palette
from speechlib.viz.display import Drawn, describe, new_axes
from speechlib.viz.plots import array_of, label, plain


def plot_matrix(matrix, ax=None, *, row_labels=None, column_labels=None, decimals=2,
                row_name="row", column_name="column", title="Matrix"):
    """A small matrix with its numbers printed in the cells. matrix: (rows, columns), <= 20 x 20."""
    matrix = array_of(matrix, 2, "matrix", "(rows, columns)").astype(float)
    rows, columns = matrix.shape
    if max(rows, columns) > 20:
        raise ValueError(f"printed numbers fit up to 20 x 20; this is {rows} x {columns}: "
                         "cut it, or use plot_attention")
    (ax,), own = new_axes(ax, (1.6 + 0.3 * (1 + decimals) * columns * 0.75, 1.2 + 0.42 * rows))
    finite = matrix[np.isfinite(matrix)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    signed = low < 0 < high
    limit = max(abs(low), abs(high)) or 1.0
    image = ax.imshow(np.ma.masked_invalid(matrix), aspect="auto",
                      cmap=palette.DIVERGING if signed else palette.SEQUENTIAL,
                      vmin=-limit if signed else low, vmax=limit if signed else high or 1.0)
    artists = [image, *_numbers(ax, image, matrix, decimals)]
    across = column_labels if column_labels is not None else range(columns)
    ax.set_xticks(range(columns), map(plain, across))
    down = row_labels if row_labels is not None else range(rows)
    ax.set_yticks(range(rows), map(plain, down))
    label(ax, title, column_name, row_name)
    values = "; ".join(", ".join(f"{v:.{decimals}f}" for v in row) for row in matrix[:8])
    more = "; …" if rows > 8 else ""
    describe(ax, f"{title}: a matrix of {rows} rows ({row_name}) and {columns} columns "
                 f"({column_name}). Row by row: {values}{more}.")
    return Drawn(artists, [ax], own)


def plot_masks(masks, ax=None, *, row_name="query", column_name="key", row_labels=None,
               column_labels=None):
    """Boolean masks side by side. masks: dict title -> (query, key), True = may look.

    Open cells with T may look, hatched cells with F may not; letters up to 24 cells a side.
    ax: a sequence with one axes a mask.
    """
    if not hasattr(masks, "items"):
        masks = {"Mask": masks}
    arrays = {t: _boolean(m, t) for t, m in masks.items()}
    rows, columns = (max(m.shape[k] for m in arrays.values()) for k in (0, 1))
    cell = 0.34 if max(rows, columns) <= 12 else 0.2
    size = (len(arrays) * max(1.1 + cell * columns, 2.4), 1.1 + max(cell * rows, 1.2))
    axes, own = new_axes(ax, (min(size[0], 10), min(size[1], 6)), len(arrays))
    artists = []
    for one, (title, mask) in zip(axes, arrays.items(), strict=True):
        artists += _mask(one, mask)
        _sparse_ticks(one.xaxis, mask.shape[1], column_labels)
        _sparse_ticks(one.yaxis, mask.shape[0], row_labels)
        label(one, title, column_name, row_name)
        describe(one, f"{title}: boolean mask, {mask.shape[0]} {row_name} rows by "
                      f"{mask.shape[1]} {column_name} columns; {_mask_in_words(mask)}")
    axes[0].figure.supxlabel("T, open: may look      F, hatched: may not", fontsize=10)
    return Drawn(artists, axes, own)


def plot_sinusoids(table, ax=None, *, channel=None, title="Sinusoidal positions"):
    """A table of positions three ways: matrix, dot product against distance, one channel.

    table: (positions, width). channel: the column drawn on its own (default: a slow one).
    ax: a sequence of three axes.
    """
    table = array_of(table, 2, "table", "(positions, width)")
    positions, width = table.shape
    channel = width // 4 if channel is None else channel
    if not -width <= channel < width:
        raise ValueError(f"channel {channel} is not one of the {width} columns of the table")
    axes, own = new_axes(ax, (10, 3.2), 3)
    image = axes[0].imshow(table, aspect="auto", cmap=palette.DIVERGING, vmin=-1, vmax=1,
                           interpolation="nearest")
    bar = axes[0].figure.colorbar(image, ax=axes[0], pad=0.02)
    label(axes[0], title, "channel", "position")
    product = table @ table.T
    middle = positions // 2
    spread = [product.diagonal(d) for d in range(positions)]
    mean = np.array([d.mean() for d in spread])
    lines = axes[1].plot(np.arange(positions), mean, color=palette.OKABE_ITO[0])
    lines.append(axes[1].fill_between(np.arange(positions), [d.min() for d in spread],
                                      [d.max() for d in spread], alpha=0.3,
                                      color=palette.OKABE_ITO[0]))
    label(axes[1], "Dot product by distance", "distance (positions)", "dot product")
    lines += axes[2].plot(table[:, channel], color=palette.OKABE_ITO[1])
    axes[2].set_ylim(-1.15, 1.15)
    label(axes[2], f"Channel {channel}", "position", "value")
    wide = max(float(d.max() - d.min()) for d in spread[:middle + 1])
    describe(axes[0], f"{title}: table of {positions} positions by {width} channels, values "
                      f"{table.min():.2f} to {table.max():.2f}.")
    describe(axes[1], f"Dot product of two rows against their distance: {mean[0]:.2f} at 0, "
                      f"{mean[min(1, positions - 1)]:.2f} at 1, {mean[middle]:.2f} at {middle}; "
                      f"pairs at the same distance differ by at most {wide:.2g}.")
    describe(axes[2], f"Channel {channel} alone over the positions.")
    return Drawn([image, bar, *lines], axes, own)


def _numbers(ax, image, matrix, decimals):
    size = 10 if max(matrix.shape) <= 12 else 8
    texts = []
    for (i, j), value in np.ndenumerate(matrix):
        ink = palette.text_on(image.cmap(image.norm(value))) if np.isfinite(value) else "black"
        text = f"{value:.{decimals}f}" if np.isfinite(value) else str(value)
        texts.append(ax.text(j, i, text, ha="center", va="center", color=ink, fontsize=size))
    return texts


def _boolean(mask, title):
    mask = array_of(mask, 2, f"mask {title!r}", "(query, key)")
    if mask.dtype != bool:
        if not np.isin(mask, (0, 1)).all():
            raise ValueError(f"mask {title!r} must be boolean, True = may look; it holds "
                             f"{mask.min():g} to {mask.max():g}. Is it an additive bias?")
        mask = mask.astype(bool)
    return mask


def _mask(ax, mask):
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    rows, columns = mask.shape
    artists = [ax.imshow(mask, cmap=ListedColormap(["#c9c9c9", "#ffffff"]), vmin=0, vmax=1,
                         aspect="auto")]
    for (i, j), look in np.ndenumerate(mask):
        if not look:
            artists.append(ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False,
                                                  hatch="////", edgecolor="#808080", linewidth=0)))
        if max(rows, columns) <= 24:
            artists.append(ax.text(j, i, "T" if look else "F", ha="center", va="center",
                                   fontsize=9 if max(rows, columns) <= 16 else 7,
                                   color=palette.INK, fontweight="bold" if look else "normal"))
    ax.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="#808080", linewidth=0.5)
    ax.tick_params(which="minor", length=0)
    return artists


def _sparse_ticks(axis, count, texts):
    step = 1 if texts is not None or count <= 12 else -(-count // 8)
    if texts is not None and len(texts) != count:
        raise ValueError(f"{len(texts)} labels for {count} cells")
    names = [plain(t) for t in texts] if texts is not None else [str(i) for i in range(count)]
    axis.set_ticks(range(0, count, step), names[::step])


def _mask_in_words(mask):
    if len(mask) <= 8:
        return "rows: " + ", ".join("".join("T" if m else "F" for m in row) for row in mask) + "."
    return (f"{mask.mean():.0%} of the cells may look; the first row may look at "
            f"{int(mask[0].sum())}, the last at {int(mask[-1].sum())}.")
