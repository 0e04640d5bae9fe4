"""The additive energies and their gradients as loops, which numba compiles.

    tanh(a + b) = 1 - 2 r,   r = 1 / (1 + exp(2a) exp(2b)),   d tanh = 4 r (1 - r)

Exponentials are taken once a query and once a key; a pair costs a multiply-add and half a
division. Nothing larger than [keys, hidden] is made. Where the product of two exponentials cannot
stand for exp(2(a + b)) (see `_centre`), and for a single query, each pair takes its own.

Everything here runs without the interpreter's lock, and each unit of work writes rows of its own.
"""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

ROWS = 128
"""Queries of a unit of work, forward: enough to pay for its keys' exponentials."""
BLOCK = 64
"""Hidden dimensions that the backward pass takes at a time: a row of them stays in registers."""

# Sums may be reordered, so that they fill a vector; what is not finite stays what it is.
SUMS = {"nogil": True, "error_model": "numpy", "cache": True, "fastmath": {"contract", "reassoc"}}
EXACT = {"nogil": True, "error_model": "numpy", "cache": True, "fastmath": {"contract"}}

_MAGIC = np.float32(1.5 * 2**23)  # added and taken away, it rounds to a whole number
_LOG2_E = np.float32(math.log2(math.e))
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(math.log(2) - 0.693359375)
_C2, _C3, _C4, _C5, _C6 = (np.float32(1 / math.factorial(n)) for n in range(2, 7))
_C7 = np.float32(1 / math.factorial(7))
_ONE = np.float32(1)
_MANTISSA = np.int32(23)
_EXPONENT_OF_ONE = np.int32(127)


def exp_twice(x):
    """exp(2x), for |x| within `reach`; not a number stays so."""


@njit(**EXACT)
def _exp_twice_32(x):
    """2^n e^f with n whole and |f| <= ln(2) / 2: Taylor to f^7 leaves less than rounding does."""
    y = x + x
    shifted = np.float32(y * _LOG2_E + _MAGIC)
    n = shifted - _MAGIC
    f = (y - n * _LN2_HIGH) - n * _LN2_LOW
    p = _C7 * f + _C6
    p = p * f + _C5
    p = p * f + _C4
    p = p * f + _C3
    p = p * f + _C2
    p = p * f + _ONE
    p = p * f + _ONE
    power = np.int32((shifted.view(np.int32) + _EXPONENT_OF_ONE) << _MANTISSA)
    return p * power.view(np.float32)


@overload(exp_twice)
def _exp_twice(x):
    if x == types.float32:
        return lambda x: _exp_twice_32(x)
    return lambda x: math.exp(x + x)


@njit(**EXACT)
def _within(x, limit):
    """Bring x to [-limit, limit]; not a number stays so."""
    x = limit if x > limit else x
    return -limit if x < -limit else x


# Slices are taken of whole rows, one row at a time: the compiler then knows that a row's numbers
# stand one after another.
@njit(**EXACT)
def _range(rows, start, low, high):
    """The lowest and highest number of each column from `start` on."""
    stop = start + low.shape[0]
    for i in range(rows.shape[0]):
        row = rows[i, start:stop]
        for d in range(low.shape[0]):
            low[d] = row[d] if i == 0 or row[d] < low[d] else low[d]
            high[d] = row[d] if i == 0 or row[d] > high[d] else high[d]


@njit(**EXACT)
def _centre(a, b, start, numbers, centre, limits):
    """Find, for each dimension, what to add to a and take from b; False if there is none.

    The side that varies less, by half a range h, is centred: it lies within h. On the other,
    whatever lies beyond h + saturation meets nothing but saturated tanh, so it may be brought
    there. The exponentials are finite, and not 0, if h + saturation is within `reach`.
    """
    _, reach, saturation = numbers
    half = a.dtype.type(0.5)
    ends = np.empty((4, centre.shape[0]), a.dtype)
    _range(a, start, ends[0], ends[1])
    _range(b, start, ends[2], ends[3])
    for d in range(centre.shape[0]):
        a_half, b_half = half * (ends[1, d] - ends[0, d]), half * (ends[3, d] - ends[2, d])
        if b_half <= a_half:
            centre[d], limits[d] = half * ends[2, d] + half * ends[3, d], b_half + saturation
        else:
            centre[d], limits[d] = -half * ends[0, d] - half * ends[1, d], a_half + saturation
        if not limits[d] <= reach:  # not a number, too
            return False
    return True


@njit(**EXACT)
def _exponentials(rows, start, sign, centre, limits, out):
    """out = exp(2 (rows + sign centre)), of the columns from `start` on."""
    width = centre.shape[0]
    for j in range(rows.shape[0]):
        row, target = rows[j, start : start + width], out[j, :width]
        for d in range(width):
            target[d] = exp_twice(_within(row[d] + sign * centre[d], limits[d]))


@njit(**EXACT)
def _copy(rows, start, out, place, width):
    """Copy so many columns of each row, to `place`."""
    for j in range(rows.shape[0]):
        row, target = rows[j, start : start + width], out[j, place : place + width]
        for d in range(width):
            target[d] = row[d]


@njit(**SUMS)
def _row_of_products(query, keys, v, meets, whole, cap, out):
    """out_j = whole - 2 sum_d v_d / (1 + query_d keys_jd), both given as exponentials.

    Two divisions are one: v0 / q0 + v1 / q1 = (v0 q1 + v1 q0) / (q0 q1), finite below the cap.
    """
    one, two = v.dtype.type(1), v.dtype.type(2)
    h = v.shape[0] // 2
    query_0, query_1, v_0, v_1 = query[:h], query[h : 2 * h], v[:h], v[h : 2 * h]
    for j in range(keys.shape[0]):
        total = v.dtype.type(0)
        if meets[j]:
            key_0, key_1 = keys[j, :h], keys[j, h : 2 * h]
            for d in range(h):
                q0, q1 = one + query_0[d] * key_0[d], one + query_1[d] * key_1[d]
                q0 = cap if q0 > cap else q0
                q1 = cap if q1 > cap else q1
                total += (v_0[d] * q1 + v_1[d] * q0) / (q0 * q1)
            for d in range(2 * h, v.shape[0]):
                total += v[d] / (one + query[d] * keys[j, d])
            total = whole - two * total
        out[j] = total


@njit(**SUMS)
def _row_of_pairs(query, keys, v, meets, whole, bound, out):
    """The same for a query and keys as they are: each pair takes an exponential of its own."""
    one, two = v.dtype.type(1), v.dtype.type(2)
    h = v.shape[0] // 2
    query_0, query_1, v_0, v_1 = query[:h], query[h : 2 * h], v[:h], v[h : 2 * h]
    for j in range(keys.shape[0]):
        total = v.dtype.type(0)
        if meets[j]:
            key_0, key_1 = keys[j, :h], keys[j, h : 2 * h]
            for d in range(h):
                q0 = one + exp_twice(_within(query_0[d] + key_0[d], bound))
                q1 = one + exp_twice(_within(query_1[d] + key_1[d], bound))
                total += (v_0[d] * q1 + v_1[d] * q0) / (q0 * q1)
            for d in range(2 * h, v.shape[0]):
                total += v[d] / (one + exp_twice(_within(query[d] + keys[j, d], bound)))
            total = whole - two * total
        out[j] = total


@njit(**SUMS)
def energies(a, b, v, mask, steps, numbers, out, units):
    """Write out = v . tanh(a + b) for some units, each ROWS queries of an item.

    a [items, queries, hidden], b [items, keys, hidden], out [items, queries, keys]. mask: True =
    may meet, in one dimension, with the `steps` from item to item, query and key; a pair that may
    not meet is left 0. steps of -1: there is no mask. numbers: see `compiled.NUMBERS`.
    """
    queries, hidden, count = a.shape[1], a.shape[2], b.shape[1]
    cap, reach, _ = numbers
    whole, one, bound = v.dtype.type(0), v.dtype.type(1), v.dtype.type(0.5) * reach
    for d in range(hidden):
        whole += v[d]
    chunks = (queries + ROWS - 1) // ROWS
    keys, query = np.empty((count, hidden), b.dtype), np.empty((1, hidden), a.dtype)
    centre, limits = np.empty(hidden, a.dtype), np.empty(hidden, a.dtype)
    meets = np.ones(count, np.bool_)
    for unit in range(units[0], units[1]):
        n, start = unit // chunks, unit % chunks * ROWS
        stop = min(start + ROWS, queries)
        apart = queries > 1 and _centre(a[n, start:stop], b[n], 0, numbers, centre, limits)
        if apart:
            _exponentials(b[n], 0, -one, centre, limits, keys)
        for i in range(start, stop):
            if steps[0] >= 0:
                for j in range(count):
                    meets[j] = mask[n * steps[0] + i * steps[1] + j * steps[2]]
            if apart:
                _exponentials(a[n, i : i + 1], 0, one, centre, limits, query)
                _row_of_products(query[0], keys, v, meets, whole, cap, out[n, i])
            else:
                _row_of_pairs(a[n, i], b[n], v, meets, whole, bound, out[n, i])


# Backward, everything a block of dimensions needs lies one after another at fixed places: the
# compiler sees that they do not overlap, and fills vectors without asking at run time.
_SUM = 4 * BLOCK  # after two queries and their two gradients: sum_ij g r
_ROW = 2 * BLOCK  # a key and its gradient


@njit(**SUMS)
def _meet_products(g, n, i, two, query, keys, cap):
    """Add what two queries and all keys, as exponentials, give to each other's gradients."""
    one, zero = query.dtype.type(1), query.dtype.type(0)
    for j in range(keys.shape[0]):
        g0, g1 = g[n, i, j], g[n, i + 1, j] if two else zero
        if g0 != zero or g1 != zero:
            key = keys[j]
            for d in range(BLOCK):
                q0, q1 = one + query[d] * key[d], one + query[BLOCK + d] * key[d]
                q0 = cap if q0 > cap else q0
                q1 = cap if q1 > cap else q1
                shared = one / (q0 * q1)
                r0, r1 = shared * q1, shared * q0
                u0, u1 = r0 - r0 * r0, r1 - r1 * r1
                query[_SUM + d] += g0 * r0 + g1 * r1
                query[2 * BLOCK + d] += g0 * u0
                query[3 * BLOCK + d] += g1 * u1
                key[BLOCK + d] += g0 * u0 + g1 * u1


@njit(**SUMS)
def _meet_pairs(g, n, i, query, keys, bound):
    """The same for one query, whose sum with each key takes an exponential of its own."""
    one, zero = query.dtype.type(1), query.dtype.type(0)
    for j in range(keys.shape[0]):
        g0 = g[n, i, j]
        if g0 != zero:
            key = keys[j]
            for d in range(BLOCK):
                r = one / (one + exp_twice(_within(query[d] + key[d], bound)))
                u = r - r * r
                query[_SUM + d] += g0 * r
                query[2 * BLOCK + d] += g0 * u
                key[BLOCK + d] += g0 * u


@njit(**SUMS)
def gradients(a, b, g, numbers, to_a, to_b, to_v, units):
    """Write sum_j g u, sum_i g u and sum_ij g r, u = r (1 - r), for some units.

    Each unit is a BLOCK of dimensions of one item. to_a is as a, to_b as b, to_v [items, hidden].
    A pair whose g is 0, as where a mask forbids it, is left out.
    """
    queries, hidden, zero, one = a.shape[1], a.shape[2], a.dtype.type(0), a.dtype.type(1)
    cap, reach, _ = numbers
    bound = a.dtype.type(0.5) * reach
    blocks = (hidden + BLOCK - 1) // BLOCK
    keys, query = np.zeros((b.shape[1], _ROW), b.dtype), np.zeros((5, BLOCK), a.dtype)
    flat, sums = query.reshape(5 * BLOCK), query[4]
    centre_, limits_ = np.empty(BLOCK, a.dtype), np.empty(BLOCK, a.dtype)
    for unit in range(units[0], units[1]):
        n, start = unit // blocks, unit % blocks * BLOCK
        width = min(BLOCK, hidden - start)
        centre, limits = centre_[:width], limits_[:width]
        own_a, total = a[n], to_v[n, start : start + width]
        apart = queries > 1 and _centre(own_a, b[n], start, numbers, centre, limits)
        if apart:
            _exponentials(b[n], start, -one, centre, limits, keys)
        else:
            _copy(b[n], start, keys, 0, width)
        for j in range(b.shape[1]):
            row = keys[j, BLOCK:]
            for d in range(BLOCK):
                row[d] = zero
        for d in range(width):
            total[d] = zero
        step = 2 if apart else 1
        for i in range(0, queries, step):
            rows = own_a[i : i + step]
            for d in range(2 * BLOCK, 5 * BLOCK):
                flat[d] = zero
            if apart:
                _exponentials(rows, start, one, centre, limits, query)
                _meet_products(g, n, i, rows.shape[0] > 1, flat, keys, cap)
            else:
                _copy(rows, start, query, 0, width)
                _meet_pairs(g, n, i, flat, keys, bound)
            _copy(query[2 : 2 + rows.shape[0]], 0, to_a[n, i : i + step], start, width)
            for d in range(width):
                total[d] += sums[d]
        _copy(keys, BLOCK, to_b[n], start, width)
