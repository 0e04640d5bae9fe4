"""Configs that learn the small rules of `write_labels` in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def values(corpus: Path, kind: str, **training: Any) -> dict[str, Any]:
    """A config that learns the small rule in seconds."""
    from small_runs import tree

    settings = {"epochs": 8, "learning_rate": 0.02, "label_smoothing": 0.0, "average": 1}
    given = tree(corpus, kind, **settings | training)
    given["data"]["tokens_per_batch"] = 200
    return given
