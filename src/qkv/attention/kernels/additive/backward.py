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
    QUADS,
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
_TO, _SUM = 4 * BLOCK, 8 * BLOCK  # after four queries, their gradients, and one sum of all
PLACES = 9 * BLOCK
_ROW = 2 * BLOCK  # a key and its gradient


@njit(**SUMS)
def _slopes_of_four(g0, g1, g2, g3, flat, keys):
    """Add what four queries and all keys give to each other's gradients: one division a key."""
    wide()
    one, zero = flat.dtype.type(1), flat.dtype.type(0)
    for j in range(keys.shape[0]):
        h0, h1, h2, h3 = g0[j], g1[j], g2[j], g3[j]
        if h0 != zero or h1 != zero or h2 != zero or h3 != zero:
            key = keys[j]
            for d in range(BLOCK):
                k = key[d]
                q0, q1 = one + flat[d] * k, one + flat[BLOCK + d] * k
                q2, q3 = one + flat[2 * BLOCK + d] * k, one + flat[3 * BLOCK + d] * k
                first, second = q0 * q1, q2 * q3
                both = inverse(first * second)
                first, second = both * second, both * first
                r0, r1, r2, r3 = first * q1, first * q0, second * q3, second * q2
                t0, t1, t2, t3 = h0 * r0, h1 * r1, h2 * r2, h3 * r3
                u0, u1, u2, u3 = t0 - t0 * r0, t1 - t1 * r1, t2 - t2 * r2, t3 - t3 * r3
                flat[_TO + d] += u0
                flat[_TO + BLOCK + d] += u1
                flat[_TO + 2 * BLOCK + d] += u2
                flat[_TO + 3 * BLOCK + d] += u3
                flat[_SUM + d] += (t0 + t1) + (t2 + t3)
                key[BLOCK + d] += (u0 + u1) + (u2 + u3)


@njit(**SUMS)
def _slope(way, g0, flat, keys, most):
    """The same for one query, which stands first."""
    wide()
    one, zero = flat.dtype.type(1), flat.dtype.type(0)
    for j in range(keys.shape[0]):
        h0 = g0[j]
        if h0 != zero:
            key = keys[j]
            for d in range(BLOCK):
                r0 = inverse(pair(way, flat[d], key[d], one, most))
                t0 = h0 * r0
                u0 = t0 - t0 * r0
                flat[_SUM + d] += t0
                flat[_TO + d] += u0
                key[BLOCK + d] += u0


@njit(**EXACT)
def _slopes_of(way, g0, flat, keys, numbers):
    """One query, the way that `find_centre` found."""
    cap, reach, _, _ = numbers
    if way in (NEAR, QUADS):
        _slope(AS_NEAR, g0, flat, keys, cap)
    elif way == FAR:
        _slope(AS_FAR, g0, flat, keys, cap)
    else:
        _slope(AS_APART, g0, flat, keys, flat.dtype.type(0.5) * reach)


@njit(**EXACT)
def _numbers(places):
    """Whether four queries are all numbers: what is none would spoil the others'."""
    total = places.dtype.type(0)
    for d in range(4 * BLOCK):
        total += places[d]
    return total - total == places.dtype.type(0)


@njit(**EXACT)
def _rows_gradients(a, g, start, way, numbers, parts, to_a, total):
    """Write the gradients of one query or four, and add to those of the keys, and to the total.

    False: nothing is done, and the four must be taken one by one.
    """
    keys, flat, places, _, rest = parts
    some, width = a.shape[0], total.shape[0]
    scale = rest[3, :width]
    prepare(a, start, flat.dtype.type(1), way, rest[0, :width], rest[1, :width], places)
    for d in range(_TO, PLACES):
        flat[d] = flat.dtype.type(0)
    if some == 1:
        _slopes_of(way, g[0], flat, keys, numbers)
    elif _numbers(flat):
        _slopes_of_four(g[0], g[1], g[2], g[3], flat, keys)
    else:
        return False
    for r in range(some):
        source, target = places[4 + r], to_a[r, start : start + width]
        for d in range(width):
            target[d] = source[d] * scale[d]
    for d in range(width):
        total[d] += flat[_SUM + d]
    return True


@njit(**EXACT)
def _some_gradients(  # noqa: C901, PLR0913 - compiled: what is told apart costs a copy
    a, b, g, v, start, numbers, parts, to_a, to_b, total
):
    """Write 4 v sum_j g u, 4 v sum_i g u and sum_ij g r, u = r (1 - r), for one item."""
    keys, flat, _, ends, rest = parts
    width, zero, one = total.shape[0], flat.dtype.type(0), flat.dtype.type(1)
    centre, limits, tops = rest[0, :width], rest[1, :width], rest[2, :width]
    scale, way = rest[3, :width], APART
    if a.shape[0] > 1:
        way = find_centre(a, b, start, numbers, centre, limits, tops, ends)
    if way == NEAR:  # QUADS if (1 + exp(2 top))^4 is within the cap's square
        way = QUADS
        for d in range(width):
            way = way if tops[d] <= flat.dtype.type(0.5) * numbers[3] else NEAR
    prepare(b, start, -one, way, centre, limits, keys)
    for j in range(keys.shape[0]):
        row = keys[j, BLOCK:]
        for d in range(BLOCK):
            row[d] = zero
    for d in range(width):
        total[d], scale[d] = zero, flat.dtype.type(4) * v[start + d]
    for i in range(0, a.shape[0], 4):
        stop = min(i + 4, a.shape[0])
        if (
            way == QUADS
            and stop == i + 4
            and _rows_gradients(
                a[i:stop], g[i:stop], start, way, numbers, parts, to_a[i:stop], total
            )
        ):
            continue
        for n in range(i, stop):
            one_more = n + 1
            _rows_gradients(
                a[n:one_more], g[n:one_more], start, way, numbers, parts, to_a[n:one_more], total
            )
    for j in range(keys.shape[0]):
        source, target = keys[j, BLOCK:], to_b[j, start : start + width]
        for d in range(width):
            target[d] = source[d] * scale[d]


@njit(**EXACT)
def gradients(  # noqa: PLR0913 - compiled
    t, task, numbers, a, b, g, v, to_a, to_b, to_v, scratch
):
    """Gradients, unit by unit: each is a BLOCK of dimensions of an item."""
    hidden, zero = a.shape[2], a.dtype.type(0)
    blocks = (hidden + BLOCK - 1) // BLOCK
    for n in range(scratch.shape[0]):
        scratch[n] = zero
    keys, at = cut(scratch, 0, b.shape[1], _ROW)
    flat = scratch[at : at + PLACES]
    places, at = cut(scratch, at, 9, BLOCK)
    ends, at = cut(scratch, at, 4, BLOCK)
    rest, at = cut(scratch, at, 4, BLOCK)
    while True:
        unit = draw(pointer(task, np.int64(0)))
        if unit >= t[UNITS]:
            return
        n, start = unit // blocks, unit % blocks * BLOCK
        total = to_v[n, start : min(start + BLOCK, hidden)]
        parts = keys, flat, places, ends, rest
        _some_gradients(a[n], b[n], g[n], v, start, numbers, parts, to_a[n], to_b[n], total)
