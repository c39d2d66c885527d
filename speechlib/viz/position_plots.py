"""Pictures of positions: clock hands, tables side by side, and a row compared with all others.

Arrays -> artists; `pick_position` is the live view.
Notebook: 03_positions
"""

import numpy as np

from speechlib.viz import palette
from speechlib.viz.display import Drawn, describe, new_axes
from speechlib.viz.plots import array_of, label, plain


def plot_clocks(right, up, ax=None, *, row_labels=None, column_labels=None, title="Clock hands"):
    """A dial for every hand, with its tip's two numbers (right, up) under it.

    right, up: (rows, columns), the sines and the cosines of the hands; at most 8 x 8.
    """
    right = array_of(right, 2, "right", "(rows, columns)")
    up = array_of(up, 2, "up", "(rows, columns)")
    if right.shape != up.shape:
        raise ValueError(f"right and up must have one shape, got {right.shape} and {up.shape}")
    rows, columns = right.shape
    if max(rows, columns) > 8:
        raise ValueError(f"dials can be read up to 8 x 8; these are {rows} x {columns}")
    (ax,), own = new_axes(ax, (1.2 + 1.15 * columns, 0.75 + 1.15 * rows))
    artists = []
    for i, j in np.ndindex(rows, columns):
        artists += _dial(ax, j, i, right[i, j], up[i, j])
    ax.set_xlim(-0.55, columns - 0.45)
    ax.set_ylim(rows - 0.32, -0.5)
    ax.set_aspect("equal")
    names = column_labels if column_labels is not None else [f"hand {j}" for j in range(columns)]
    ax.set_xticks(range(columns), map(plain, names))
    down = row_labels if row_labels is not None else range(rows)
    ax.set_yticks(range(rows), map(plain, down))
    ax.xaxis.tick_top()
    ax.tick_params(length=0, labelsize=10)
    ax.spines[:].set_visible(False)
    ax.set_title(plain(title), fontsize=12)
    words = "; ".join(
        ", ".join(f"({_tip(right[i, j], up[i, j])})" for j in range(columns)) for i in range(rows)
    )
    describe(
        ax,
        f"{title}: {rows} rows of {columns} dials. The tips (right, up), row by row: {words}.",
    )
    return Drawn(artists, [ax], own)


def _dial(ax, x, y, right, up, radius=0.33):
    from matplotlib.patches import Circle

    face = ax.add_patch(Circle((x, y), radius, facecolor="white", edgecolor="#808080"))
    twelve = ax.plot([x, x], [y - radius, y - 0.85 * radius], color="#808080", linewidth=1)
    hand = ax.plot(
        [x, x + 0.9 * radius * right], [y, y - 0.9 * radius * up],
        color=palette.OKABE_ITO[0], linewidth=2.5, solid_capstyle="round",
    )  # fmt: skip
    text = ax.text(x, y + radius + 0.13, _tip(right, up), ha="center", va="center", fontsize=9)
    return [face, *twelve, *hand, text]


def _tip(right, up):
    """The two numbers, without a minus in front of a zero."""
    return f"{round(float(right), 2) + 0:.2f}, {round(float(up), 2) + 0:.2f}"


def plot_tables(tables, ax=None, *, row_name="position", column_name="column"):
    """Tables of numbers from -1 to 1 side by side, under one scale.

    tables: dict title -> (positions, width). ax: a sequence with one axes a table.
    """
    arrays = {t: array_of(v, 2, t, "(positions, width)") for t, v in tables.items()}
    one_wide = 7.5 if max(a.shape[1] for a in arrays.values()) > 64 else 3.1  # columns stay apart
    axes, own = new_axes(ax, (min(10, 1 + one_wide * len(arrays)), 3.3), len(arrays))
    artists = []
    for number, (one, (title, table)) in enumerate(zip(axes, arrays.items(), strict=True)):
        image = one.imshow(
            table, aspect="auto", cmap=palette.DIVERGING, vmin=-1, vmax=1, interpolation="nearest"
        )
        artists.append(image)
        label(one, title, column_name, row_name if number == 0 else "")
        describe(
            one,
            f"{title}: {table.shape[0]} {row_name}s by {table.shape[1]} {column_name}s; row 0 "
            f"starts {_few(table[0, :4])} and ends {_few(table[0, -4:])}.",
        )
    bar = axes[0].figure.colorbar(artists[-1], ax=axes, pad=0.02, label="value")
    bar.ax.tick_params(labelsize=9)
    return Drawn([*artists, bar], axes, own)


def _few(values):
    return ", ".join(f"{v:.2f}" for v in values)


def plot_similarity(table, position, ax=None, *, title="the table"):
    """Dot products of one row with all rows: against the position, and against the distance.

    table: (positions, width). ax: a sequence of two axes.
    """
    table = array_of(table, 2, "table", "(positions, width)")
    if not 0 <= position < len(table):
        raise ValueError(f"position must lie in 0 to {len(table) - 1}, got {position}")
    axes, own = new_axes(ax, (9, 2.9), 2)
    product = table @ table[position]
    places = np.arange(len(table))
    top = float((table**2).sum(axis=1).max())
    low = min(0.0, float((table @ table.T).min()))
    artists = []
    for one, x, name in ((axes[0], places, "position"), (axes[1], places - position, "distance")):
        artists += one.plot(x, product, color=palette.OKABE_ITO[0], linewidth=1.5)
        here = position if name == "position" else 0
        artists += one.plot(
            [here], [product[position]], marker="o", color=palette.OKABE_ITO[1], markersize=7
        )
        label(one, f"against the {name}", name, "dot product")
        one.set_ylim(low - 0.06 * top, 1.08 * top)
    margin, last = 0.02 * len(table), len(table) - 1  # the dot at an end is a whole one
    axes[0].set_xlim(-margin, last + margin)
    axes[1].set_xlim(-last - 2 * margin, last + 2 * margin)
    axes[0].figure.suptitle(f"Row {position} of {title}, with every row", fontsize=12)
    artists += _any_two_rows(axes[1], table)
    step = max(1, len(table) // 6)
    told = ", ".join(
        f"{product[position + d]:.1f} at {d:+d}"
        for d in (-2 * step, -step, 0, step, 2 * step)
        if 0 <= position + d < len(table)
    )
    best, place = product.max(), int(product.argmax())
    describe(axes[0], f"Dot product of row {position} of {title} with every row, against the "
                      f"position: highest, {best:.1f}, at {place}.")  # fmt: skip
    describe(axes[1], f"The same against the distance: {told}.")
    return Drawn(artists, axes, own)


def _any_two_rows(ax, table):
    """From the smallest to the largest dot product at each distance: a line if distance decides."""
    count = len(table)
    spread = [(table[: count - d] * table[d:]).sum(axis=1) for d in range(count)]
    least, most = (np.array([edge(s) for s in spread]) for edge in (np.min, np.max))
    mirrored = [np.concatenate([half[:0:-1], half]) for half in (least, most)]
    band = ax.fill_between(
        np.arange(1 - count, count), *mirrored, color="#b8b8b8", linewidth=2.5, zorder=0,
        label="all pairs of rows",
    )  # fmt: skip
    return [band, ax.legend(loc="upper left", fontsize=9, frameon=False)]
