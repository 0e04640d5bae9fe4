"""What a decoder's step does besides products: norms, attention, softmax. Compiled loops."""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np
from numba import njit

from qkv.attention.kernels.additive.vectors import EXACT, SUMS, exp_twice, within
from qkv.models.compiled.task import LANES

_HALF = np.float32(0.5)
_REACH = np.float32(43.0)  # exp(2x) is finite, and no denormal, for |x| up to here


@njit(**SUMS)
def total(row):
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
    middle = total(row) / width
    scale = np.float32(1) / np.float32(math.sqrt(_squares(row, middle) / width + epsilon))
    for d in range(row.shape[0]):
        out[d] = (row[d] - middle) * scale * gain[d] + shift[d]


@njit(**SUMS)
def _dot(a, b):
    found = np.float32(0)
    for d in range(a.shape[0]):
        found += a[d] * b[d]
    return found


@njit(**EXACT)
def _highest(row):
    """The largest number; what is no number is passed over."""
    found = row[0]
    for j in range(row.shape[0]):
        found = row[j] if row[j] > found else found
    return found


@njit(**EXACT)
def _highest_of_many(row, lanes):
    """The same, many numbers at a time."""
    size = LANES
    for j in range(size):
        lanes[j] = -math.inf
    whole = row.shape[0] - row.shape[0] % size
    for start in range(0, whole, size):
        part = row[start : start + size]
        for j in range(size):
            lanes[j] = part[j] if part[j] > lanes[j] else lanes[j]
    found = _highest(lanes[:size])
    for j in range(whole, row.shape[0]):
        found = row[j] if row[j] > found else found
    return found


@njit(**SUMS)
def exponentials(row, highest, out):
    """out = exp(row - highest); return their sum."""
    found = np.float32(0)
    for j in range(row.shape[0]):
        e = exp_twice(within((row[j] - highest) * _HALF, _REACH))
        out[j] = e
        found += e
    return found


@njit(**EXACT)
def softmax(energies):
    """In place."""
    scale = np.float32(1) / exponentials(energies, _highest(energies), energies)
    for j in range(energies.shape[0]):
        energies[j] *= scale


@njit(**EXACT)
def score(query, key, energies):
    """energies[j] = query . key[j]."""
    for j in range(key.shape[0]):
        energies[j] = _dot(query, key[j])


@njit(**EXACT)
def mix(weights, value, context):
    """context += sum_j weights[j] value[j]."""
    for j in range(value.shape[0]):
        weight, row = weights[j], value[j]
        for d in range(context.shape[0]):
            context[d] += weight * row[d]


@njit(**EXACT)
def highest_and_sum(row, scratch):
    """max x and sum exp(x - max x) of a row, a piece at a time: scratch stays in the cache."""
    highest = _highest_of_many(row, scratch)
    found = np.float32(0)
    size = scratch.shape[0]
    for start in range(0, row.shape[0], size):
        part = row[start : min(start + size, row.shape[0])]
        found += exponentials(part, highest, scratch[: part.shape[0]])
    return highest, found
