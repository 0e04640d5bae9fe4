"""From the gradients of energies and weights to those of queries, keys and values, in loops.

A unit of work is a block of dimensions of an item, so that nobody else adds to the same key.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import njit

from qkv.attention.kernels.additive.vectors import (
    EXACT,
    NEAR,
    SUMS,
    draw,
    ends_of,
    exp_twice,
    find_centre,
    inverse,
    pointer,
    wide,
    within,
)
from qkv.attention.kernels.narrow.task import BLOCK, ITEMS, SHARED, UNITS, V

_ROW = 2 * BLOCK  # a key and its gradient
_TO, _SUM = BLOCK, 2 * BLOCK  # after a query, its gradient, and one sum of all
PLACES = 3 * BLOCK


@njit(**SUMS)
def _dots(flat, keys, weights):
    """What a query and its keys give to each other: energies are products."""
    wide()
    for j in range(weights.shape[0]):
        g, key = weights[j], keys[j]
        for d in range(BLOCK):
            flat[_TO + d] += g * key[d]
            key[BLOCK + d] += g * flat[d]


@njit(**SUMS)
def _only_keys(flat, keys, weights):
    """What a vector gives to the keys alone."""
    wide()
    for j in range(weights.shape[0]):
        g, key = weights[j], keys[j]
        for d in range(BLOCK):
            key[BLOCK + d] += g * flat[d]


@njit(**SUMS)
def _shares(flat, keys, weights):
    """What a query and its keys give to each other: v . tanh of sums, from exponentials."""
    wide()
    one = flat.dtype.type(1)
    for j in range(weights.shape[0]):
        g, key = weights[j], keys[j]
        for d in range(BLOCK):
            r = inverse(one + flat[d] * key[d])
            t = g * r
            u = t - t * r
            flat[_SUM + d] += t
            flat[_TO + d] += u
            key[BLOCK + d] += u


@njit(**SUMS)
def _adds(flat, keys, weights, most):
    """The same from the sums themselves."""
    wide()
    one = flat.dtype.type(1)
    for j in range(weights.shape[0]):
        g, key = weights[j], keys[j]
        for d in range(BLOCK):
            r = inverse(one + exp_twice(within(flat[d] + key[d], most)))
            t = g * r
            u = t - t * r
            flat[_SUM + d] += t
            flat[_TO + d] += u
            key[BLOCK + d] += u


@njit(**EXACT)
def _lay(rows, start, width, keys):
    """Each key's block, and zeros for its gradient."""
    zero = keys.dtype.type(0)
    for j in range(rows.shape[0]):
        source, key = rows[j], keys[j]
        for d in range(_ROW):
            key[d] = zero
        for d in range(width):
            key[d] = source[start + d]


@njit(**EXACT)
def _fetch(row, start, width, flat):
    """A query's block, and zeros for its gradient."""
    zero = flat.dtype.type(0)
    for d in range(width):
        flat[d] = row[start + d]
    for d in range(width, BLOCK):
        flat[d] = zero
    for d in range(BLOCK):
        flat[_TO + d] = zero


@njit(**EXACT)
def _near(a, b, start, numbers, rest):
    """Find whether exponentials may be shared, and what is added to them before."""
    if a.shape[0] == 1:
        return False
    ends = rest[3:7]
    ends_of(a, start, ends[0], ends[1])
    ends_of(b, start, ends[2], ends[3])
    return find_centre(ends, numbers, rest[0], rest[1], rest[2]) == NEAR


@njit(**EXACT)
def _raise(row, sign, rest):
    """From numbers to exponentials."""
    wide()
    for d in range(rest.shape[1]):
        row[d] = exp_twice(within(row[d] + sign * rest[0, d], rest[1, d]))


@njit(**EXACT)
def _sides(  # noqa: C901, PLR0913 - compiled
    t, sides, runs, slope, found, n, start, numbers, keys, flat, spare
):
    """Write the gradients of an item's queries and keys, some dimensions of them."""
    a, b, v, rates = sides
    to_a, to_b, to_v, _ = found
    first, stop, _ = runs
    adds, zero, scale = t[V] != 0, flat.dtype.type(0), rates[1]
    one, most = flat.dtype.type(1), flat.dtype.type(0.5) * numbers[1]
    width, own = min(BLOCK, a.shape[2] - start), b[n * t[SHARED]]
    rest = spare[: 7 * width].reshape(7, width)
    near = adds and _near(a[n], own, start, numbers, rest)
    _lay(own, start, width, keys)
    if near:
        for j in range(own.shape[0]):
            _raise(keys[j], -one, rest)
    for d in range(BLOCK):
        flat[_SUM + d] = zero
    for i in range(a.shape[1]):
        _fetch(a[n, i], start, width, flat)
        low, high = first[n, i], max(first[n, i], stop[n, i])
        met, weights = keys[low:high], slope[n, i, : high - low]
        if near:
            _raise(flat, one, rest)
            _shares(flat, met, weights)
        elif adds:
            _adds(flat, met, weights, most)
        else:
            _dots(flat, met, weights)
        target = to_a[n, i]
        for d in range(width):
            target[start + d] = flat[_TO + d] * (
                flat.dtype.type(4) * v[start + d] if adds else scale
            )
    for j in range(b.shape[1]):
        target, key = to_b[n, j], keys[j]
        for d in range(width):
            target[start + d] = key[BLOCK + d] * (
                flat.dtype.type(4) * v[start + d] if adds else scale
            )
    if adds:
        for d in range(width):
            to_v[n, start + d] = flat[_SUM + d]


@njit(**EXACT)
def _values(sent, runs, mixed, to_value, n, start, width, keys, flat):  # noqa: PLR0913
    """Write the gradients of an item's values, some dimensions of them."""
    first, stop, _ = runs
    zero = flat.dtype.type(0)
    for j in range(to_value.shape[1]):
        key = keys[j]
        for d in range(BLOCK):
            key[BLOCK + d] = zero
    for i in range(sent.shape[1]):
        _fetch(sent[n, i], start, width, flat)
        one, two = first[n, i], max(first[n, i], stop[n, i])
        _only_keys(flat, keys[one:two], mixed[n, i, : two - one])
    for j in range(to_value.shape[1]):
        target, key = to_value[n, j], keys[j]
        for d in range(width):
            target[start + d] = key[BLOCK + d]


@njit(**EXACT)
def sums(t, task, numbers, sides, runs, pairs, sent, found, scratch):  # noqa: PLR0913
    """Gradients, unit by unit: a BLOCK of dimensions of an item's queries and keys, or values."""
    slope, mixed = pairs
    to_value = found[3]
    count, hidden, read = to_value.shape[1], sides[0].shape[2], to_value.shape[2]
    flat = scratch[:PLACES]
    keys = scratch[PLACES : PLACES + count * _ROW].reshape(count, _ROW)
    spare = scratch[PLACES + count * _ROW :]
    by_side, by_value = (hidden + BLOCK - 1) // BLOCK, (read + BLOCK - 1) // BLOCK
    while True:
        unit = draw(pointer(task, np.int64(0)))
        if unit >= t[UNITS]:
            return
        if unit < t[ITEMS] * by_side:
            n, start = unit // by_side, unit % by_side * BLOCK
            _sides(t, sides, runs, slope, found, n, start, numbers, keys, flat, spare)
        else:
            unit -= t[ITEMS] * by_side
            n, start = unit // by_value, unit % by_value * BLOCK
            width = min(BLOCK, read - start)
            _values(sent, runs, mixed, to_value, n, start, width, keys, flat)
