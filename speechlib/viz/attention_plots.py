"""Pictures of attention in Matplotlib: one head, all heads, tokens against time.

Weights -> artists, in the manner of `plots`: `ax=None`, titles, named axes, alt text from the data.
Weights are drawn as they are, without smoothing; a logarithmic scale is named as such.
Notebook: 00_start_here, 06_attention
"""

import numpy as np

from speechlib.viz import palette
from speechlib.viz.display import Drawn, describe, new_axes
from speechlib.viz.plots import array_of, label, plain
from speechlib.viz.time_axis import WHISPER_ENCODER, WHISPER_MEL


def plot_attention(weights, ax=None, *, query_time=None, key_time=None, query_tokens=None,
                   key_tokens=None, log=False, title="Attention"):
    """One head's weights. weights: (query, key).

    Each axis is in seconds (`*_time`, a TimeAxis), in tokens (`*_tokens`, one text a row), or in
    positions. log: logarithmic shades down to 1e-6, so that weights near 1 / keys can be seen.
    """
    weights = array_of(weights, 2, "weights", "(query, key)")
    queries, keys = weights.shape
    (ax,), own = new_axes(ax, _map_size(queries, keys, query_tokens, key_tokens))
    q_edges, q_name = _axis_of(queries, query_time, query_tokens, "query")
    k_edges, k_name = _axis_of(keys, key_time, key_tokens, "key")
    image = ax.imshow(weights, norm=_norm(weights, log), cmap=palette.SEQUENTIAL, aspect="auto",
                      interpolation="nearest",
                      extent=(k_edges[0], k_edges[-1], q_edges[-1], q_edges[0]))
    scale = "weight (log scale)" if log else "weight (linear scale)"
    # the line: what attention would be that is spread evenly
    bar = ax.figure.colorbar(image, ax=ax, pad=0.01, label=f"{scale}; line: 1 / keys")
    bar.ax.axhline(1 / keys, color=palette.MARK, linewidth=1.5)
    _token_ticks(ax.yaxis, query_tokens)
    _token_ticks(ax.xaxis, key_tokens)
    label(ax, title, k_name, q_name)
    describe(ax, f"{title}: attention map, {queries} queries (rows) by {keys} keys (columns), "
                 f"{scale}. " + _strongest(weights, query_time, query_tokens, key_time, key_tokens))
    return Drawn([image, bar], [ax], own)


def plot_cross_attention(weights, ax=None, *, tokens=None, mel=None, time=WHISPER_ENCODER,
                         mel_time=WHISPER_MEL, spans=(), valid_s=None, log=False, each_row=False,
                         title="Where each word listened"):
    """Tokens against time, with the mel above on the same clock. weights: (tokens, frames).

    tokens: one text a row. mel: (mel bins, mel frames). spans: (label, start_s, end_s, …) of
    words, drawn as boxes on the row that bears their text, in order. valid_s: seconds shown,
    the rest (padding) is cut and its share of the weight is named in the alt text.
    each_row: every row has its own scale, from 0 to its largest weight: one word that looks at a
    single frame leaves the others dark otherwise.
    ax: one axes, or with a mel two: (mel above, map below).
    """
    weights = array_of(weights, 2, "weights", "(tokens, frames)")
    rows, frames = weights.shape
    tokens = [str(t) for t in tokens] if tokens is not None else [f"token {i}" for i in range(rows)]
    if len(tokens) != rows:
        raise ValueError(f"one text a row is needed: {rows} rows, {len(tokens)} tokens")
    axes, own = new_axes(ax, (8, 1.4 + 0.36 * rows + (1.2 if mel is not None else 0)),
                         rows=[1.1, 0.4 * rows] if mel is not None else [1])
    ax = axes[-1]
    edges = time.edges(frames)
    shown = by_row(weights) if each_row else weights
    image = ax.imshow(shown, norm=_norm(shown, log), cmap=palette.SEQUENTIAL, aspect="auto",
                      interpolation="nearest", extent=(edges[0], edges[-1], rows - 0.5, -0.5))
    scale = "weight" if not each_row else "weight / the row's largest"
    scale += " (log scale)" if log else " (linear scale)"
    artists = [image, ax.figure.colorbar(image, ax=axes, pad=0.01, label=scale)]
    ax.set_yticks(range(rows), map(plain, tokens))
    artists += word_boxes(ax, tokens, spans)
    end = min(valid_s, edges[-1]) if valid_s else edges[-1]
    label(ax, title if mel is None else "", "time (seconds)", "token")
    ax.set_xlim(0, end)
    if mel is not None:
        artists.append(_mel_strip(axes[0], mel, mel_time, end, title))
    lost = weights[:, int(time.frame(end)):].sum(1).mean() if valid_s else 0.0
    padding = f" On average {lost:.0%} of a row lies on padding, not shown." if lost > 0 else ""
    describe(ax, f"{title}: cross-attention of {rows} tokens over {end:.2f} seconds, {scale}. "
                 + _peaks(weights, tokens, time) + padding)
    return Drawn(artists, axes, own)


def plot_head_grid(weights, ax=None, *, layer_names=None, side=56, log=False,
                   title="All heads, each scaled to its own maximum"):
    """Every head of every layer as one montage: layers down, heads across.

    weights: a dict path -> (batch, head, query, key) as `sl.trace` gives it (first of the batch
    is shown), or a list of (head, query, key), one a layer. Maps larger than `side` cells are
    pooled by maximum, so that a thin line stays visible.
    """
    names, layers = _layers(weights)
    layer_names = layer_names or names
    heads = max(len(layer) for layer in layers)
    cells = [[_thumbnail(head, side, log) for head in layer] for layer in layers]
    high, wide = (max(c.shape[k] for row in cells for c in row) for k in (0, 1))
    montage = np.full((len(layers) * (high + 2) - 2, heads * (wide + 2) - 2), np.nan)
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            montage[i * (high + 2):, j * (wide + 2):][:cell.shape[0], :cell.shape[1]] = cell
    size = (1.6 + 1.35 * heads, 0.9 + 1.35 * len(layers) * min(high / wide, 1.2))
    (ax,), own = new_axes(ax, size)
    image = ax.imshow(montage, cmap=palette.SEQUENTIAL, vmin=0, vmax=1, aspect="auto",
                      interpolation="nearest")
    ax.set_xticks([j * (wide + 2) + wide / 2 for j in range(heads)], range(heads))
    ax.set_yticks([i * (high + 2) + high / 2 for i in range(len(layers))],
                  map(plain, layer_names))
    label(ax, title, "head (keys run left to right)", "layer (queries run downwards)")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    describe(ax, f"{title}: {len(layers)} layers by {heads} heads, "
                 f"{'log' if log else 'linear'} scale. " + _head_spread(layers))
    return Drawn([image], [ax], own)


def by_row(weights):
    """Weights (rows, frames) as shares of their row's largest."""
    return weights / weights.max(axis=1, keepdims=True)


def _norm(values, log):
    from matplotlib.colors import LogNorm, Normalize

    top = max(float(values.max()), 2e-6)
    return LogNorm(1e-6, top, clip=True) if log else Normalize(min(0.0, float(values.min())), top)


def _axis_of(count, time, tokens, role):
    if tokens is not None:
        if len(tokens) != count:
            raise ValueError(f"{count} {role} positions but {len(tokens)} {role} tokens")
        return np.arange(count + 1) - 0.5, f"{role} (token)"
    if time is not None:
        return time.edges(count), f"{role} (seconds)"
    return np.arange(count + 1) - 0.5, f"{role} (position)"


def _map_size(queries, keys, query_tokens, key_tokens):
    high = 1.3 + 0.28 * queries if query_tokens is not None else 4.6
    wide = 2.0 + 0.45 * keys if key_tokens is not None else 6.2
    return min(max(wide, 4.5), 9), min(max(high, 2.8), 7)


def _token_ticks(axis, tokens):
    if tokens is None:
        return
    step = -(-len(tokens) // 40)
    axis.set_ticks(range(0, len(tokens), step), [plain(t) for t in tokens][::step])
    if axis.axis_name == "x" and sum(len(str(t)) for t in tokens) > 60:
        axis.set_tick_params(rotation=60)


def _place(index, time, tokens):
    if tokens is not None:
        return f"“{tokens[index]}”"
    return f"{time.seconds(index):.2f} s" if time is not None else f"position {index}"


def _strongest(weights, query_time, query_tokens, key_time, key_tokens):
    q, k = np.unravel_index(int(np.nanargmax(weights)), weights.shape)
    return (f"Strongest: query {_place(q, query_time, query_tokens)} to key "
            f"{_place(k, key_time, key_tokens)}, {weights[q, k]:.2g}.")


def _peaks(weights, tokens, time):
    some = [f"“{t}” at {time.seconds(int(np.argmax(w))):.2f} s"
            for t, w in list(zip(tokens, weights, strict=True))[:12]]
    more = f" and {len(tokens) - 12} more" if len(tokens) > 12 else ""
    return f"Each row is strongest: {', '.join(some)}{more}."


def word_boxes(ax, tokens, spans):
    from matplotlib.patches import Rectangle

    artists, row = [], 0
    for text, start, end, *_ in spans:
        names = [t.strip() for t in tokens]
        row = names.index(str(text).strip(), row) if str(text).strip() in names[row:] else row
        for colour, width in ((palette.MARK_EDGE, 3), (palette.MARK, 1.4)):
            artists.append(ax.add_patch(Rectangle((start, row - 0.5), end - start, 1,
                                                  fill=False, edgecolor=colour, linewidth=width)))
        row += 1
    return artists


def _mel_strip(ax, mel, time, end, title):
    mel = array_of(mel, 2, "mel", "(mel bins, mel frames)")
    edges = time.edges(mel.shape[1])
    image = ax.imshow(mel, origin="lower", aspect="auto", interpolation="nearest", cmap="gray",
                      extent=(edges[0], edges[-1], 0, mel.shape[0]))
    ax.set_xlim(0, end)
    label(ax, title, "", "mel bin")
    ax.tick_params(labelbottom=False)
    return image


def _layers(weights):
    if hasattr(weights, "items"):
        names, layers = [], []
        for path, value in weights.items():
            value = value[-1] if isinstance(value, list) else value
            layers.append(array_of(value, 4, path, "(batch, head, query, key)")[0])
            numbers = [part for part in path.split(".") if part.isdigit()]
            names.append(numbers[0] if numbers else path)
        if len(set(names)) < len(names):
            names = [path.removesuffix(".weights") for path in weights]
    else:
        layers = [array_of(w, 3, "each layer's weights", "(head, query, key)") for w in weights]
        names = [str(i) for i in range(len(layers))]
    if not layers:
        raise ValueError("no weights to draw: did the pattern given to sl.trace match anything?")
    return names, layers


def _thumbnail(head, side, log):
    q_step, k_step = (-(-n // side) for n in head.shape)
    pooled = np.maximum.reduceat(head, np.arange(0, head.shape[0], q_step), axis=0)
    pooled = np.maximum.reduceat(pooled, np.arange(0, head.shape[1], k_step), axis=1)
    top = max(pooled.max(), 1e-12)
    return np.clip(np.log10(np.maximum(pooled, 1e-12) / top) / 4 + 1, 0, 1) if log else pooled / top


def _head_spread(layers):
    """Which head keeps its weight on the fewest keys, and which spreads it widest."""
    entropy = {}
    for i, layer in enumerate(layers):
        for j, head in enumerate(layer):
            p = np.clip(head, 1e-12, 1)
            entropy[i, j] = float(-(p * np.log2(p)).sum(1).mean())
    narrow, wide = min(entropy, key=entropy.get), max(entropy, key=entropy.get)
    return (f"Narrowest on average: layer {narrow[0]} head {narrow[1]} "
            f"({entropy[narrow]:.1f} bits); widest: layer {wide[0]} head {wide[1]} "
            f"({entropy[wide]:.1f} bits).")
