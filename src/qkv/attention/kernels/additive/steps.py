"""A decoder's step as loops, which numba compiles: few queries, keys whose exponentials are kept.

A row of the table is a key's, as it lies in memory: lanes run along the hidden dimensions, sixteen
beside sixteen, so that four dimensions share a division (see `forward`). Each query is on its own.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import carray, njit

from qkv.attention.kernels.additive.forward import share, share_four, weigh
from qkv.attention.kernels.additive.task import (
    ALIGNED,
    BY_ITEM,
    BY_KEY,
    LANES,
    MASK,
    PAIRS,
    UNITS,
)
from qkv.attention.kernels.additive.vectors import (
    EXACT,
    OUTER,
    SUMS,
    copy,
    cut,
    draw,
    exp_twice,
    pointer,
    wide,
    within,
)
from qkv.attention.kernels.additive.whole import forbid, softmax

FOUR = 4 * ALIGNED
"""Numbers that lie together: those at the same place of each quarter share a division."""


@njit(**SUMS)
def _near(row, keys, at, last, upside, lanes, out):
    """out[j] = sum_d 1 / (u_d + row_d keys_jd), for four keys from `at` on."""
    wide()
    zero = row.dtype.type(0)
    first, second = keys[at], keys[min(at + 1, last)]
    third, fourth = keys[min(at + 2, last)], keys[min(at + 3, last)]
    for d in range(4 * ALIGNED):
        lanes[d] = zero
    for n in range(0, row.shape[0], FOUR):
        r, u = row[n : n + FOUR], upside[n : n + FOUR]
        x, y = first[n : n + FOUR], second[n : n + FOUR]
        z, w = third[n : n + FOUR], fourth[n : n + FOUR]
        for d in range(ALIGNED):
            i, j, k = d + ALIGNED, d + 2 * ALIGNED, d + 3 * ALIGNED
            a, b, c, e = r[d], r[i], r[j], r[k]
            p, q, s, t = u[d], u[i], u[j], u[k]
            lanes[d] += share_four(p + a * x[d], q + b * x[i], s + c * x[j], t + e * x[k])
            lanes[i] += share_four(p + a * y[d], q + b * y[i], s + c * y[j], t + e * y[k])
            lanes[j] += share_four(p + a * z[d], q + b * z[i], s + c * z[j], t + e * z[k])
            lanes[k] += share_four(p + a * w[d], q + b * w[i], s + c * w[j], t + e * w[k])
    one = two = three = four = zero
    for d in range(ALIGNED):
        one += lanes[d]
        two += lanes[ALIGNED + d]
        three += lanes[2 * ALIGNED + d]
        four += lanes[3 * ALIGNED + d]
    out[at], out[at + 1], out[at + 2], out[at + 3] = one, two, three, four


@njit(**SUMS)
def _far(row, key, v, cap, lanes, out, j):
    """out[j] = sum_d v_d / (1 + row_d key_d), whatever the product."""
    wide()
    one = row.dtype.type(1)
    total = row.dtype.type(0)
    for d in range(2 * ALIGNED):
        lanes[d] = total
    for n in range(0, row.shape[0], FOUR):
        a, x, own = row[n : n + FOUR], key[n : n + FOUR], v[n : n + FOUR]
        for d in range(2 * ALIGNED):
            i = d + 2 * ALIGNED
            p, q = within(one + a[d] * x[d], cap), within(one + a[i] * x[i], cap)
            lanes[d] += share(p, q, own[d], own[i])
    for d in range(2 * ALIGNED):
        total += lanes[d]
    out[j] = total


@njit(**EXACT)
def _reaches(row, top, upside, most):
    """Whether four dimensions' numbers, the largest of any key, have a product to divide by."""
    wide()
    one, beyond = row.dtype.type(1), 0
    for n in range(0, row.shape[0], FOUR):
        a, x, u = row[n : n + FOUR], top[n : n + FOUR], upside[n : n + FOUR]
        for d in range(ALIGNED):
            i, j, k = d + ALIGNED, d + 2 * ALIGNED, d + 3 * ALIGNED
            product = abs(u[d] * u[i] * u[j] * u[k])
            product *= (one + a[d] * x[d]) * (one + a[i] * x[i])
            product *= (one + a[j] * x[j]) * (one + a[k] * x[k])
            beyond += 0 if product <= most else 1
    return beyond == 0


@njit(**EXACT)
def _prepare(query, centre, half_range, saturation, row, top):
    """The query's exponentials, and the largest of the keys'."""
    wide()
    hidden = query.shape[0]
    whole = hidden // ALIGNED * ALIGNED
    for at in range(0, whole, ALIGNED):
        for n in range(ALIGNED):
            d = at + n
            row[d] = exp_twice(within(query[d] + centre[d], half_range[d] + saturation))
            top[d] = exp_twice(half_range[d])
    for d in range(whole, hidden):
        row[d] = exp_twice(within(query[d] + centre[d], half_range[d] + saturation))
        top[d] = exp_twice(half_range[d])


@njit(**EXACT)
def _energies(  # noqa: PLR0913 - compiled
    row, top, side, table, count, numbers, scaled, lanes, out
):
    """Write the energies of one query."""
    v, upside, largest, whole = side
    cap, twice = numbers[0], v.dtype.type(2)
    near = _reaches(row, top, upside, cap * (cap / v.dtype.type(16)))
    if near:
        twice *= largest
        for d in range(row.shape[0]):
            scaled[d] = row[d] * upside[d]
        for j in range(0, count, 4):
            _near(scaled, table, j, count - 1, upside, lanes, out)
    else:
        for j in range(count):
            _far(row, table[j], v, cap, lanes, out, j)
    for j in range(count):
        out[j] = whole - twice * out[j]


@njit(**SUMS)
def _read(weights, value, out):
    """out = sum_j weights_j value_j, eight at a time."""
    wide()
    count, width = value.shape
    for d in range(width):
        out[d] = out.dtype.type(0)
    whole = count // 8 * 8
    for j in range(0, whole, 8):
        w0, w1, w2, w3 = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        w4, w5, w6, w7 = weights[j + 4], weights[j + 5], weights[j + 6], weights[j + 7]
        x0, x1, x2, x3 = value[j], value[j + 1], value[j + 2], value[j + 3]
        x4, x5, x6, x7 = value[j + 4], value[j + 5], value[j + 6], value[j + 7]
        for d in range(width):
            one = w0 * x0[d] + w1 * x1[d] + w2 * x2[d] + w3 * x3[d]
            other = w4 * x4[d] + w5 * x5[d] + w6 * x6[d] + w7 * x7[d]
            out[d] += one + other
    for j in range(whole, count):
        w, x = weights[j], value[j]
        for d in range(width):
            out[d] += w * x[d]


@njit(**OUTER)
def step(t, task, numbers, query, table, given, value, weights, context, scratch):  # noqa: PLR0913
    """Contexts, unit by unit: each is an item. Two rows of its table say how it was made."""
    queries, count, width = query.shape[1], value.shape[1], table.shape[2]
    padded = (count + LANES - 1) // LANES * LANES
    mask, masked = carray(pointer(t[MASK], np.uint8(0)), (1,)), t[MASK] != 0
    for n in range(scratch.shape[0]):
        scratch[n] = given.dtype.type(0)
    rows, at = cut(scratch, 0, 5, width)
    v, upside, row, top, scaled = rows[0], rows[1], rows[2], rows[3], rows[4]
    energies, lanes = scratch[at : at + padded], scratch[at + padded : at + padded + FOUR]
    largest, whole = weigh(given, v, upside, numbers[0])
    side = v, upside, largest, whole
    while True:
        n = draw(pointer(task, np.int64(0)))
        if n >= t[UNITS]:
            return
        item = table[n]
        for i in range(queries):
            _prepare(query[n, i], item[count], item[count + 1], numbers[2], row, top)
            _energies(row, top, side, item, count, numbers, scaled, lanes, energies)
            forbid(energies, masked, mask, n * t[BY_ITEM], t[BY_KEY], count)
            softmax(energies, numbers[1])
            if t[PAIRS]:
                copy(energies, weights[n, i])
            _read(energies, value[n], context[n, i])
