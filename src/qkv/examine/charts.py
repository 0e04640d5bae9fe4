"""The distributions behind a finding, as SVG that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from qkv.explain.faithfulness.finding import Finding
from qkv.explain.faithfulness.subject import Floats

WIDTH, HEIGHT, LEFT, BOTTOM = 360, 150, 34, 30
BINS = 40
OWN, CHANCE, INK = "#2d6fb3", "#c26f24", "#57606a"


def histogram(finding: Finding) -> str:
    """Draw how a finding's values are spread over the examples, and its baseline's as a line."""
    low, high = finding.span
    own, chance = (_shares(values, low, high) for values in (finding.values, finding.random))
    top = max(own.max(initial=0), chance.max(initial=0), 1e-9)
    width = (WIDTH - LEFT) / BINS
    bars = [
        f'<rect x="{LEFT + n * width:.1f}" y="{_y(share / top):.1f}" width="{width - 0.5:.1f}" '
        f'height="{_y(0) - _y(share / top):.1f}" fill="{OWN}"/>'
        for n, share in enumerate(own)
        if share
    ]
    points = " ".join(
        f"{LEFT + (n + side) * width:.1f},{_y(share / top):.1f}"
        for n, share in enumerate(chance)
        for side in (0, 1)
    )
    line = f'<polyline points="{points}" fill="none" stroke="{CHANCE}" stroke-width="1.5"/>'
    ticks = [_tick(x, (x - low) / (high - low)) for x in np.linspace(low, high, 5)]
    label = _text(2, 10, f"{top:.0%}", "start")
    described = (
        f"{finding.measure}: mean {finding.value}; {finding.chance}: mean {finding.baseline}"
    )
    return _svg(described, [*bars, line, *ticks, label])


def by_sharpness(finding: Finding) -> str:
    """Draw the median and the quartiles by the examples' largest weight, where they are known."""
    table: Sequence[dict[str, Any]] = finding.facts.get("by_largest_weight", ())
    if not table:
        return ""
    low, high = finding.span
    parts = []
    for row in table:
        place = LEFT + (WIDTH - LEFT) * (row["from"] + row["to"]) / 2
        if row["n"]:
            q1, middle, q3 = (_y((row[k] - low) / (high - low)) for k in ("q1", "median", "q3"))
            parts += [
                f'<rect x="{place - 20:.1f}" y="{q3:.1f}" width="40" '
                f'height="{max(1.0, q1 - q3):.1f}" fill="{OWN}" fill-opacity="0.35"/>',
                f'<line x1="{place - 20:.1f}" x2="{place + 20:.1f}" y1="{middle:.1f}" '
                f'y2="{middle:.1f}" stroke="{OWN}" stroke-width="2.5"/>',
            ]
        parts.append(_text(place, HEIGHT - 16, f"{row['from']:.2f}–{row['to']:.2f}", "middle"))
        parts.append(_text(place, HEIGHT - 4, f"n {row['n']:.0f}", "middle"))
    ends = [_text(2, 12, f"{high:.2g}", "start"), _text(2, _y(0), f"{low:.2g}", "start")]
    said = f"{finding.measure}, median and quartiles by the example's largest weight"
    return _svg(said, [*parts, *ends])


def _svg(described: str, parts: Sequence[str]) -> str:
    axis = f'<line x1="{LEFT}" x2="{WIDTH}" y1="{_y(0)}" y2="{_y(0)}" stroke="{INK}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}"><title>{escape(described)}</title>'
        f"{axis}{''.join(parts)}</svg>"
    )


def _shares(values: Floats, low: float, high: float) -> Floats:
    """Return the share of the values in each bin; what lies outside counts as at the end."""
    counts, _ = np.histogram(np.clip(values, low, high), bins=BINS, range=(low, high))
    return counts / max(1, len(values))


def _tick(value: float, share: float) -> str:
    place = LEFT + share * (WIDTH - LEFT)
    anchor = "start" if share == 0 else "end" if share == 1 else "middle"
    return _text(place, HEIGHT - 12, f"{value:.2f}", anchor)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="10" fill="{INK}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def _y(share: float) -> float:
    """Return the height of a share of the largest one."""
    return 6 + (1 - share) * (HEIGHT - BOTTOM - 6)
