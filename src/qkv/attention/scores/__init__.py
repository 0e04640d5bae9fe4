"""Scores: e = score(query, key), how well each key answers each query.

`SCORES` is the one list of them: configs, the command line, docs and tests read it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qkv.attention.registry import find

if TYPE_CHECKING:
    from qkv.attention.scores.additive import Additive
    from qkv.attention.scores.concat import Concat
    from qkv.attention.scores.cosine import Cosine
    from qkv.attention.scores.deep import Deep
    from qkv.attention.scores.dot import Dot
    from qkv.attention.scores.general import General
    from qkv.attention.scores.location import Location
    from qkv.attention.scores.scaled_dot import ScaledDot
    from qkv.attention.scores.score import Score

SCORES = {
    "dot": "qkv.attention.scores.dot:Dot",
    "scaled_dot": "qkv.attention.scores.scaled_dot:ScaledDot",
    "general": "qkv.attention.scores.general:General",
    "additive": "qkv.attention.scores.additive:Additive",
    "concat": "qkv.attention.scores.concat:Concat",
    "location": "qkv.attention.scores.location:Location",
    "cosine": "qkv.attention.scores.cosine:Cosine",
    "deep": "qkv.attention.scores.deep:Deep",
}

__all__ = [
    "SCORES",
    "Additive",
    "Concat",
    "Cosine",
    "Deep",
    "Dot",
    "General",
    "Location",
    "ScaledDot",
    "Score",
    "build",
]


def build(name: str, *, query_dim: int, key_dim: int, hidden: int | None = None) -> Score:
    """Build the score called `name` for queries and keys of these widths.

    `hidden` is the width of the small network in additive, concat and deep (default:
    query_dim); the others have none and do not look at it. deep has two layers, and location
    takes up to 512 keys.

    Raises:
        ValueError: unknown name, or widths that this score cannot compare.
    """
    score: Score = find("score", name, SCORES).sized(query_dim, key_dim, hidden or query_dim)
    return score


def __getattr__(name: str) -> Any:
    homes = {target.partition(":")[2]: target.partition(":")[0] for target in SCORES.values()}
    homes["Score"] = "qkv.attention.scores.score"
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
