"""Figures with known or random numbers, for all tests of the viewer."""

from __future__ import annotations

import numpy as np

from qkv.view import AttentionMaps, Figure

# Every kind of label that plots of others got wrong: wide, right to left, marks, joined emoji.
SCRIPTS = [
    "日本語",
    "שלום!",
    "(مرحبا)",
    "e\u0301te\u0301",
    "नमस्ते",
    "👩‍👩‍👧",
    "WWMM",
    "</s>",
    "▁the",
    "a&b\"'",
    "தமிழ்",
]


def soft(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Return float32 weights whose rows sum to 1."""
    weights = np.random.default_rng(seed).dirichlet(np.full(columns, 0.3), rows)
    return weights.astype(np.float32)


def random_figure(rows: int, columns: int, title: str = "Title", note: str = "note") -> Figure:
    target = [f"t{row}" for row in range(rows)]
    source = [f"s{column}" for column in range(columns)]
    return Figure(soft(rows, columns), target, source, title, note)


def random_maps(
    layers: int, heads: int, rows: int, columns: int, **given: object
) -> AttentionMaps:
    """Return maps of which every head differs from every other."""
    weights = [
        np.stack([soft(rows, columns, seed=100 * layer + head) for head in range(heads)])
        for layer in range(layers)
    ]
    target = [f"t{row}" for row in range(rows)]
    source = [f"s{column}" for column in range(columns)]
    return AttentionMaps(weights, target, source, **{"title": "Maps"} | given)
