"""The page of a comparison: its table, and the same pairs as every variant reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qkv.compare.axes import Axis
from qkv.compare.record import Question
from qkv.compare.table import Row, cells_of, head_of, notes_of
from qkv.view import Figure, Panel, Strip, side_by_side


def page(axes: Sequence[Axis], question: Question, rows: Sequence[Row], title: str) -> str:
    """Return one page that needs nothing else."""
    drawings = [row.answer.get("drawings", []) for row in rows]
    first: list[dict[str, Any]] = max(drawings, key=len, default=[])
    strips = [
        Strip(
            f"{one['source']} → {one['target']}",
            [_panel(row, (one["source"], one["target"])) for row in rows],
        )
        for one in first
    ]
    return side_by_side(
        title,
        head_of(axes, question),
        cells_of(axes, question, rows),
        notes_of(question, rows),
        strips,
    )


def _panel(row: Row, pair: tuple[str, str]) -> Panel:
    label = row.variant.label
    if row.status != "done":
        return Panel(label, f"{row.status}: {row.error}" if row.error else row.status)
    drawings = {(one["source"], one["target"]): one for one in row.answer["drawings"]}
    drawing = drawings.get(pair)
    if drawing is None:  # where the data itself is varied
        return Panel(label, "its first dev pairs are others")
    writes = f"it writes: {drawing['written']}" if drawing["written"] else "it writes nothing"
    if "figure" not in drawing:
        kind = row.variant.config.model.kind
        return Panel(label, f"{kind} has no attention; {writes}")
    kept = drawing["figure"]
    shape = (len(kept["target"]), len(kept["source"]))
    weights = np.array(kept["weights"], np.float32).reshape(shape)
    figure = Figure(weights, kept["target"], kept["source"], label, kept["note"])
    return Panel(label, writes, figure)
