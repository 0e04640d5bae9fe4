"""A mask as text and as SVG."""

from __future__ import annotations

import math
import textwrap
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from qkv.attention.masks.mask import Mask

_MAY, _MAY_NOT = "■", "·"
_DEFAULT, _LARGEST, _ITEMS = 8, 48, 3
_CELL, _GAP, _TITLE = 10, 2, 22
_FONT, _LINE, _LINES = 12, 15, 6
_LETTER, _WIDEST = 0.68 * _FONT, 420  # the mean letter of a wide sans-serif font; of a drawing


def draw(mask: Mask, queries: int | None = None, keys: int | None = None) -> str:
    """One line a query, one square a key; the first few items of a batch, one under another."""
    items, title = _drawn(mask, queries, keys)
    blocks = [
        "\n".join(
            " ".join(_MAY if allowed else _MAY_NOT for allowed in row[:_LARGEST])
            for row in item[:_LARGEST].tolist()
        )
        for item in items[:_ITEMS]
    ]
    if max(items.shape[1:]) > _LARGEST:
        title += f", the first {_LARGEST} shown"
    if len(items) > _ITEMS:
        blocks.append(f"... and {len(items) - _ITEMS} more")
    return "\n\n".join([title, *blocks])


def svg(mask: Mask, queries: int | None = None, keys: int | None = None) -> str:
    """One square for a pair that may meet, all of them; the items of a batch under one another.

    A long name is folded, and shortened where it is very long; the whole is in <title>.
    """
    items, title = _drawn(mask, queries, keys)
    rows, columns = items.shape[1:]
    step = _CELL + _GAP
    name = repr(mask)
    wide = max(columns * step, min(math.ceil(len(name) * _LETTER), _WIDEST))
    lines = textwrap.wrap(
        name, int(wide / _LETTER), max_lines=_LINES, placeholder=" …", break_on_hyphens=False
    )
    above, tall = _LINE * len(lines) + _TITLE - _LINE, (rows + 1) * step
    squares = "".join(
        f"M{j * step} {above + b * tall + i * step}h{_CELL}v{_CELL}h-{_CELL}z"
        for b, i, j in items.nonzero().tolist()
    )
    heading = "".join(
        f'<tspan x="0" y="{14 + _LINE * n}">{escape(line)}</tspan>' for n, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" '
        f'height="{above + len(items) * tall}" role="img"><title>{escape(title)}</title>'
        f'<text font-family="sans-serif" font-size="{_FONT}">{heading}</text>'
        f'<path d="{squares}" fill="#1f5a96"/></svg>\n'
    )


def _drawn(mask: Mask, queries: int | None, keys: int | None) -> tuple[Tensor, str]:
    """The items [batch, queries, keys], and what to write above them."""
    rows, columns = mask.size()
    queries, keys = queries or rows or columns or _DEFAULT, keys or columns or rows or _DEFAULT
    items = mask.dense(queries, keys).reshape(-1, queries, keys)
    kept = f"{mask.density(queries, keys):.0%}"
    return items, f"{mask!r}  {queries} queries x {keys} keys, {kept} kept"
