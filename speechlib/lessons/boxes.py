"""A calm bordered box, the same content as HTML (light and dark themes) and as plain text."""

import html
import re
import sys
from dataclasses import dataclass, field

_BORDER = "var(--jp-border-color1, var(--vscode-panel-border, #9e9e9e))"
_TONES = {  # a sign and a colour; the title says it in words, so neither is needed to understand
    "good": ("✓", "var(--jp-success-color1, #2e7d32)"),
    "wait": ("○", "var(--jp-info-color1, #1976d2)"),
    "bad": ("✗", "var(--jp-warn-color1, #c45500)"),
    "plain": ("·", _BORDER),
}
_PRE = (
    "margin:.2em 0;padding:.4em .6em;overflow-x:auto;white-space:pre;line-height:1.35;"
    f"border:1px solid {_BORDER};border-radius:3px;background:transparent;color:inherit;"
    "font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px)"
)
_CELL = f"border:1px solid {_BORDER};padding:.3em .7em;text-align:left;vertical-align:top"


@dataclass
class Box:
    """A title, a tone (good, wait, bad, plain) and blocks: words, codes side by side, tables."""

    title: str
    tone: str = "plain"
    blocks: list = field(default_factory=list)

    def words(self, text):
        """Add a paragraph; `code` in backticks."""
        self.blocks.append(("words", text))
        return self

    def items(self, texts):
        """Add a list."""
        self.blocks.append(("items", list(texts)))
        return self

    def codes(self, *pairs):
        """Add (label, text) pairs of literal text, side by side where there is room."""
        self.blocks.append(("codes", [pair for pair in pairs if pair[1]]))
        return self

    def beside(self, *pairs):
        """Like codes, but each takes its share of the whole width."""
        self.blocks.append(("beside", [pair for pair in pairs if pair[1]]))
        return self

    def table(self, columns, rows):
        """Add a table; all cells are text."""
        self.blocks.append(("table", (columns, rows)))
        return self

    def fold(self, label, text):
        """Add text behind a label that opens by click or key (plain text: shown below)."""
        self.blocks.append(("fold", (label, text)))
        return self

    def _repr_html_(self):
        sign, colour = _TONES[self.tone]
        inner = "".join(_HTML[kind](content) for kind, content in self.blocks)
        return (
            f'<section aria-label="{html.escape(self.title)}" style="border:1px solid {_BORDER};'
            f"border-left:5px solid {colour};border-radius:4px;padding:.6em 1em;margin:.3em 0;"
            'max-width:60em;color:inherit;background:transparent">'
            f'<div style="font-weight:600;margin-bottom:.3em"><span aria-hidden="true" '
            f'style="color:{colour}">{sign}</span> {html.escape(self.title)}</div>{inner}</section>'
        )

    def __repr__(self):
        sign, _ = _TONES[self.tone]
        lines = [f"{sign} {self.title}"]
        for kind, content in self.blocks:
            lines.append(_TEXT[kind](content))
        return "\n".join(line for line in lines if line)


def _inline(text):
    parts = re.split(r"`([^`]+)`", html.escape(text, quote=False))
    parts[::2] = [re.sub(r"\*(\w[^*]*)\*", r"<em>\1</em>", part) for part in parts[::2]]
    parts[1::2] = [f"<code>{part}</code>" for part in parts[1::2]]
    return "".join(parts)


def _html_codes(pairs, flex="0 1 auto"):
    parts = "".join(
        f'<div style="min-width:0;max-width:100%;flex:{flex}"><div style="font-size:.9em">'
        f"{html.escape(label)}</div>"
        f'<pre style="{_PRE}">{html.escape(text, quote=False)}</pre></div>'
        for label, text in pairs
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:.8em;margin:.4em 0">{parts}</div>'


def _html_table(content):
    columns, rows = content
    head = "".join(f'<th scope="col" style="{_CELL}">{_inline(c)}</th>' for c in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{_inline(str(c))}</td>' for c in row) + "</tr>"
        for row in rows
    )
    style = "border-collapse:collapse;margin:.4em 0;color:inherit;background:transparent"
    return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _html_fold(content):
    label, text = content
    return (
        f'<details style="margin:.2em 0 .6em 0"><summary style="cursor:pointer">'
        f"{_inline(label)}</summary>{_inline(text)}</details>"
    )


def _text_table(content):
    columns, rows = content
    table = [[str(cell) for cell in row] for row in [columns, *rows]]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    lines = [
        "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return "\n".join(lines)


def _indent(text):
    return "\n".join("    " + line for line in text.splitlines())


_HTML = {
    "words": lambda text: f'<p style="margin:.3em 0">{_inline(text)}</p>',
    "items": lambda texts: (
        '<ul style="margin:.3em 0">' + "".join(f"<li>{_inline(t)}</li>" for t in texts) + "</ul>"
    ),
    "codes": _html_codes,
    "beside": lambda pairs: _html_codes(pairs, flex="1 1 auto"),
    "table": _html_table,
    "fold": _html_fold,
}
_TEXT = {
    "words": lambda text: text,
    "items": lambda texts: "\n".join(f"  - {text}" for text in texts),
    "codes": lambda pairs: "\n".join(f"  {label}:\n{_indent(text)}" for label, text in pairs),
    "beside": lambda pairs: _TEXT["codes"](pairs),
    "table": _text_table,
    "fold": lambda content: f"  {content[0]}: {content[1]}",
}


def show(box):
    """Display in a notebook, print elsewhere."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        print(box)
    else:
        ipython.display.display(box)
