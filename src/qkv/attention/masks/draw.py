"""A mask as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qkv.attention.masks.mask import Mask

_MAY, _MAY_NOT = "■", "·"
_DEFAULT, _LARGEST, _ITEMS = 8, 48, 3


def draw(mask: Mask, queries: int | None = None, keys: int | None = None) -> str:
    """One line a query, one square a key; the first few items of a batch, one under another."""
    rows, columns = mask.size()
    queries, keys = queries or rows or columns or _DEFAULT, keys or columns or rows or _DEFAULT
    dense = mask.dense(queries, keys)
    items = dense.reshape(-1, queries, keys)
    blocks = [
        "\n".join(
            " ".join(_MAY if allowed else _MAY_NOT for allowed in row[:_LARGEST])
            for row in item[:_LARGEST].tolist()
        )
        for item in items[:_ITEMS]
    ]
    title = f"{mask!r}  {queries} queries x {keys} keys, {mask.density(queries, keys):.0%} kept"
    if max(queries, keys) > _LARGEST:
        title += f", the first {_LARGEST} shown"
    if len(items) > _ITEMS:
        blocks.append(f"... and {len(items) - _ITEMS} more")
    return "\n\n".join([title, *blocks])
