"""The gradients of the additive energies as loops, which numba compiles."""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import njit

from qkv.attention.kernels.additive.task import BLOCK, UNITS
from qkv.attention.kernels.additive.vectors import (
    APART,
    AS_APART,
    AS_FAR,
    AS_NEAR,
    EXACT,
    FAR,
    NEAR,
    SUMS,
    cut,
    draw,
    find_centre,
    inverse,
    pair,
    pointer,
    prepare,
    wide,
)

# Backward, everything a block of dimensions needs lies one after another at fixed places: the
# compiler sees that they do not overlap, and fills vectors without asking at run time.
_FIRST, _SECOND, _TO_FIRST, _TO_SECOND, _SUM = (n * BLOCK for n in range(5))
_ROW = 2 * BLOCK  # a key and its gradient


@njit(**SUMS)
def _slopes(g0, g1, flat, keys):
    """Add what two queries and all keys give to each other's gradients."""
    wide()
    one, zero = flat.dtype.type(1), flat.dtype.type(0)
    for j in range(keys.shape[0]):
        h0, h1 = g0[j], g1[j]
        if h0 != zero or h1 != zero:
            key = keys[j]
            for d in range(BLOCK):
                r0 = inverse(one + flat[_FIRST + d] * key[d])
                r1 = inverse(one + flat[_SECOND + d] * key[d])
                t0, t1 = h0 * r0, h1 * r1
                u0, u1 = t0 - t0 * r0, t1 - t1 * r1
                flat[_SUM + d] += t0 + t1
                flat[_TO_FIRST + d] += u0
                flat[_TO_SECOND + d] += u1
                key[BLOCK + d] += u0 + u1


@njit(**SUMS)
def _slope(way, g0, flat, keys, most):
    """The same for one query."""
    wide()
    one, zero = flat.dtype.type(1), flat.dtype.type(0)
    for j in range(keys.shape[0]):
        h0 = g0[j]
        if h0 != zero:
            key = keys[j]
            for d in range(BLOCK):
                r0 = inverse(pair(way, flat[_FIRST + d], key[d], one, most))
                t0 = h0 * r0
                u0 = t0 - t0 * r0
                flat[_SUM + d] += t0
                flat[_TO_FIRST + d] += u0
                key[BLOCK + d] += u0


@njit(**EXACT)
def _slopes_of(way, g0, flat, keys, numbers):
    """One query, the way that `find_centre` found."""
    cap, reach, _, _ = numbers
    if way == NEAR:
        _slope(AS_NEAR, g0, flat, keys, cap)
    elif way == FAR:
        _slope(AS_FAR, g0, flat, keys, cap)
    else:
        _slope(AS_APART, g0, flat, keys, flat.dtype.type(0.5) * reach)


@njit(**EXACT)
def _some_gradients(  # noqa: C901, PLR0913 - compiled: what is told apart costs a copy
    a, b, g, start, numbers, parts, to_a, to_b, total
):
    """Write sum_j g u, sum_i g u and sum_ij g r, u = r (1 - r), for one item."""
    keys, flat, ends, rest = parts
    width, zero, one = total.shape[0], flat.dtype.type(0), flat.dtype.type(1)
    centre, limits, way = rest[0, :width], rest[1, :width], APART
    if a.shape[0] > 1:
        way = find_centre(a, b, start, numbers, numbers[1], centre, limits, ends)
    prepare(b, start, -one, way, centre, limits, keys)
    for j in range(keys.shape[0]):
        row = keys[j, BLOCK:]
        for d in range(BLOCK):
            row[d] = zero
    for d in range(width):
        total[d] = zero
    places = flat.reshape(5, BLOCK)
    step = 2 if way == NEAR else 1
    for i in range(0, a.shape[0], step):
        rows = a[i : i + step]
        for d in range(_TO_FIRST, flat.shape[0]):
            flat[d] = zero
        prepare(rows, start, one, way, centre, limits, places)
        if rows.shape[0] == 2:
            _slopes(g[i], g[i + 1], flat, keys)
        else:
            _slopes_of(way, g[i], flat, keys, numbers)
        for r in range(rows.shape[0]):
            source, target = places[2 + r], to_a[i + r, start : start + width]
            for d in range(width):
                target[d] = source[d]
        for d in range(width):
            total[d] += flat[_SUM + d]
    for j in range(keys.shape[0]):
        source, target = keys[j, BLOCK:], to_b[j, start : start + width]
        for d in range(width):
            target[d] = source[d]


@njit(**EXACT)
def gradients(  # noqa: PLR0913 - compiled
    t, task, numbers, a, b, g, to_a, to_b, to_v, scratch
):
    """Gradients, unit by unit: each is a BLOCK of dimensions of an item."""
    hidden, zero = a.shape[2], a.dtype.type(0)
    blocks = (hidden + BLOCK - 1) // BLOCK
    for n in range(scratch.shape[0]):
        scratch[n] = zero
    keys, at = cut(scratch, 0, b.shape[1], _ROW)
    flat, at = scratch[at : at + 5 * BLOCK], at + 5 * BLOCK
    ends, at = cut(scratch, at, 4, BLOCK)
    rest, at = cut(scratch, at, 2, BLOCK)
    while True:
        unit = draw(pointer(task, np.int64(0)))
        if unit >= t[UNITS]:
            return
        n, start = unit // blocks, unit % blocks * BLOCK
        total = to_v[n, start : min(start + BLOCK, hidden)]
        parts = keys, flat, ends, rest
        _some_gradients(a[n], b[n], g[n], start, numbers, parts, to_a[n], to_b[n], total)
