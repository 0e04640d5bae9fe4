"""Several heat maps of the same pair side by side, one row a pair, below a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np

from qkv.view.colours import top
from qkv.view.document import document, hashed, part
from qkv.view.figure import Figure
from qkv.view.labels import isolate, visible
from qkv.view.svg import svg


@dataclass(frozen=True)
class Panel:
    """One model's part of a strip: its heat map (None: it has none) and a line of text."""

    title: str
    text: str
    figure: Figure | None = None


@dataclass(frozen=True)
class Strip:
    """The panels of one pair."""

    title: str
    panels: Sequence[Panel]


def side_by_side(
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    strips: Sequence[Strip],
) -> str:
    """Return a self-contained page without a script: the table, its notes, then the strips.

    All heat maps are on one colour scale, that of the largest weight of all, so that they may be
    compared. The page loads nothing and may load nothing (CSP).
    """
    style = part("panels.css")
    policy = f"default-src 'none'; style-src {hashed(style)}; base-uri 'none'; form-action 'none'"
    figures = [panel.figure for strip in strips for panel in strip.panels if panel.figure]
    scale = top(np.array([figure.weights.max(initial=0.0) for figure in figures]))
    body = [
        f"<h1>{_text(title)}</h1>",
        _table(head, rows),
        "<ul>",
        *(f"<li>{_text(note)}</li>" for note in notes),
        "</ul>",
        *(_strip(strip, scale) for strip in strips),
    ]
    return document(title, style, "\n".join(body), policy)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top_row = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in head)
    lines = ["".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{top_row}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _strip(strip: Strip, scale: float) -> str:
    panels = "\n".join(_panel(panel, scale) for panel in strip.panels)
    heading = f'<h2 dir="auto">{_text(strip.title)}</h2>'
    return f'<section>{heading}\n<div class="strip" tabindex="0">\n{panels}\n</div></section>'


def _panel(panel: Panel, scale: float) -> str:
    drawing = ""
    if panel.figure is not None:  # the panel has the title, so the drawing needs none
        drawing = svg(replace(panel.figure, title=""), scale=scale)
    caption = f'<p dir="auto">{_text(panel.text)}</p>'
    return f"<article><h3>{_text(panel.title)}</h3>\n{drawing}{caption}</article>"


def _text(text: str) -> str:
    return escape(isolate(visible(text))) if text else ""
