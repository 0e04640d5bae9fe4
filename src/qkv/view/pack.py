"""Maps as what a page carries: names in JSON, and each head packed by itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from qkv.view.figure import Figure
from qkv.view.labels import isolate, visible
from qkv.view.maps import AttentionMaps
from qkv.view.words import Words

MOST_BYTES = 50_000_000
PRECISIONS = ("exact", "float16", "uint8")
_THUMB = 40  # cells of an overview's picture: one shows the largest weight of its block
_ROUNDED = {
    "exact": "",
    "float16": "{name}s rounded to float16 (3 digits)",
    "uint8": "{name}s rounded to 1/{levels} of the largest of each head",
}


class Shown(Protocol):
    """What the viewer shows: a figure, or maps."""

    def maps(self) -> AttentionMaps:
        """Return it as maps."""
        ...

    def figures(self) -> list[Figure]:
        """Return it as heat maps for images."""
        ...


def refuse_large(shown: Sequence[AttentionMaps], precision: str, most_bytes: int) -> None:
    """Say how large a page would be before it is packed, and how to have less of it.

    Raises:
        ValueError: it would be larger than allowed, or an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; allowed: {', '.join(PRECISIONS)}")
    size = sum(4 / 3 * bytes_of(maps, precision) for maps in shown)
    if size > most_bytes:
        layers, heads, targets, sources = max(shown, key=lambda maps: np.prod(maps.shape)).shape
        raise ValueError(
            f"a page of {len(shown)} map(s), the largest of {layers} layers x {heads} heads x "
            f"{targets:,} x {sources:,}, would take about {size / 1e6:,.0f} MB, more than "
            f"{most_bytes / 1e6:,.0f} MB; narrow it with .select(layers=[...], heads=[...]) or to "
            'fewer tokens, pack it with precision="float16" or "uint8" (the page says so), or '
            "allow it with a larger most_bytes; a notebook fetches one head at a time"
        )


def bytes_of(maps: AttentionMaps, precision: str) -> int:
    """Return how many bytes the packed heads of the maps are."""
    layers, heads, targets, sources = maps.shape
    return layers * heads * targets * sources * _bits(maps, precision) // 8


def pack(maps: AttentionMaps, layer: int, head: int, precision: str = "exact") -> bytes:
    """Return one head's weights row by row, little-endian."""
    weights, bits = maps.head(layer, head), _bits(maps, precision)
    if bits > 8:
        _refuse_overflow(weights, bits)
        return np.ascontiguousarray(weights, f"<f{bits // 8}").tobytes()
    return _levels(maps, weights).tobytes()


def entry(maps: AttentionMaps, precision: str = "exact") -> dict[str, Any]:
    """Return everything but the weights, as plain values for JSON."""
    layers, heads, *_ = maps.shape
    rounded = _ROUNDED[precision].format(name=maps.measure.name, levels=_steps(maps))
    notes = [maps.note, rounded]
    every = list(np.ndindex(layers, heads))
    return {
        "title": _text(maps.title),
        "note": _text("; ".join(filter(None, notes))),
        "kind": maps.kind,
        "measure": maps.measure.name,
        "signed": maps.measure.signed,
        "layers": layers,
        "heads": heads,
        "target": _labels(maps.target),
        "source": _labels(maps.source),
        "bits": _bits(maps, precision),
        "largest": [_largest(maps.head(*place)) for place in every],
        "words": None if maps.words is None else [_words(axis) for axis in maps.words],
        "allowed": _allowed(maps),
        "thumbs": _thumbs(maps) if len(every) > 1 else None,
    }


def _bits(maps: AttentionMaps, precision: str) -> int:
    exact = 8 * max(layer.dtype.itemsize for layer in maps.weights)
    return {"exact": exact, "float16": 16, "uint8": 8}[precision]


def _largest(weights: np.ndarray) -> float:
    """Return the largest magnitude; weights are never below 0."""
    return float(max(weights.max(initial=0.0), -weights.min(initial=0.0)))


def _steps(maps: AttentionMaps) -> int:
    return 127 if maps.measure.signed else 255


def _levels(maps: AttentionMaps, weights: np.ndarray) -> np.ndarray:
    """Return each number as a byte: its part of the largest, with a sign where they have one."""
    shares = weights / (_largest(weights) or 1.0)
    return np.rint(_steps(maps) * shares).astype(np.int8 if maps.measure.signed else np.uint8)


def _refuse_overflow(weights: np.ndarray, bits: int) -> None:
    if bits == 16 and _largest(weights) > float(np.finfo(np.float16).max):
        raise ValueError(
            f"a value of {_largest(weights):g} is more than float16 holds; give "
            'precision="exact" or "uint8"'
        )


def _labels(labels: Sequence[str]) -> list[str]:
    return [isolate(visible(label)) for label in labels]


def _text(text: str) -> str:
    return isolate(visible(text)) if text else ""  # no title is none, an empty label is shown


def _words(words: Words) -> dict[str, Any]:
    return {"labels": _labels(words.labels), "of": list(words.of)}


def _allowed(maps: AttentionMaps) -> dict[str, Any] | None:
    if maps.allowed is None:
        return None
    layers, heads = maps.allowed.shape[:2]
    bits = [
        np.packbits(maps.allowed[place], bitorder="little") for place in np.ndindex(layers, heads)
    ]
    return {"layers": layers, "heads": heads, "bits": [_base64(one.tobytes()) for one in bits]}


def _thumbs(maps: AttentionMaps) -> dict[str, Any]:
    """Return a small picture of each head: the largest number of each block, as a byte."""
    small = [_pool(maps.head(*place)) for place in np.ndindex(maps.shape[:2])]
    rows, columns = small[0].shape
    packed = b"".join(_levels(maps, one).tobytes() for one in small)
    return {"rows": rows, "columns": columns, "levels": _base64(packed)}


def _pool(weights: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        size = weights.shape[axis]
        if size > _THUMB:
            starts = np.arange(_THUMB) * size // _THUMB
            most = np.maximum.reduceat(weights, starts, axis=axis)
            least = np.minimum.reduceat(weights, starts, axis=axis)
            weights = np.where(most >= -least, most, least)
    return weights


def _base64(packed: bytes) -> str:
    return base64.b64encode(packed).decode()
