"""What a Transformer's layers do besides products and attention: compiled loops."""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np
from numba import njit

from qkv.attention.kernels.additive.vectors import EXACT, SUMS
from qkv.models.compiled.products import apart
from qkv.models.compiled.task import WIDE

_LARGEST = np.float32(127)
_ROUND = np.float32(1.5 * 2**23)  # added and taken away, it rounds to a whole number


@njit(**SUMS)
def _total(row):
    """The sum of a row."""
    found = np.float32(0)
    for d in range(row.shape[0]):
        found += row[d]
    return found


@njit(**SUMS)
def _squares(row, middle):
    found = np.float32(0)
    for d in range(row.shape[0]):
        found += (row[d] - middle) * (row[d] - middle)
    return found


@njit(**EXACT)
def norm(row, gain, shift, epsilon, out):
    """out = (row - mean) / sqrt(variance + epsilon) gain + shift."""
    width = np.float32(row.shape[0])
    middle = _total(row) / width
    scale = np.float32(1) / np.float32(math.sqrt(_squares(row, middle) / width + epsilon))
    for d in range(row.shape[0]):
        out[d] = (row[d] - middle) * scale * gain[d] + shift[d]


@njit(**EXACT)
def _farthest(row, lanes):
    """The largest magnitude; what is no number is passed over."""
    lanes[:] = 0
    whole = row.shape[0] // WIDE * WIDE
    for first in range(0, whole, WIDE):
        part = row[first : first + WIDE]
        for n in range(WIDE):
            size = abs(part[n])
            lanes[n] = size if size > lanes[n] else lanes[n]
    found = np.float32(0)
    for n in range(WIDE):
        found = lanes[n] if lanes[n] > found else found
    for n in range(whole, row.shape[0]):
        size = abs(row[n])
        found = size if size > found else found
    return found


@njit(**EXACT)
def round_row(row, out, lanes):
    """out = 128 + round(127 row / max |row|); return what one unit is worth: no number if one of
    the row is none."""
    apart()
    largest = _farthest(row, lanes)
    scale = _LARGEST / largest if largest > 0 else np.float32(0)
    for n in range(row.shape[0]):
        # The sum's lowest bits are the whole number, and 128 is their eighth.
        shifted = np.float32(row[n] * scale + _ROUND)
        out[n] = np.uint8(shifted.view(np.int32) + np.int32(128))
    return largest / _LARGEST + _total(row) * np.float32(0)
