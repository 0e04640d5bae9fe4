"""A decoder's step as loops, which numba compiles: few queries, keys whose exponentials are kept.

A row of the table is a key's, as it lies in memory: lanes run along the hidden dimensions, quarter
beside quarter, so that four dimensions share a division (see `forward`). Each query is on its own.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import carray, njit

from qkv.attention.kernels.additive.forward import share, share_four, weigh
from qkv.attention.kernels.additive.task import BY_ITEM, BY_KEY, LANES, MASK, PAIRS, UNITS
from qkv.attention.kernels.additive.vectors import (
    EXACT,
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


@njit(**SUMS)
def _near(row, first, second, upside, out, j):
    """out[j] = sum_d 1 / (u_d + row_d first_d), and of the second the same behind it."""
    wide()
    quarter = row.shape[0] // 4
    rows, u = row.reshape(4, quarter), upside.reshape(4, quarter)
    x, y = first.reshape(4, quarter), second.reshape(4, quarter)
    r0, r1, r2, r3 = rows[0], rows[1], rows[2], rows[3]
    u0, u1, u2, u3 = u[0], u[1], u[2], u[3]
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
    one = other = row.dtype.type(0)
    for d in range(quarter):
        a0, a1, a2, a3 = r0[d], r1[d], r2[d], r3[d]
        v0, v1, v2, v3 = u0[d], u1[d], u2[d], u3[d]
        one += share_four(v0 + a0 * x0[d], v1 + a1 * x1[d], v2 + a2 * x2[d], v3 + a3 * x3[d])
        other += share_four(v0 + a0 * y0[d], v1 + a1 * y1[d], v2 + a2 * y2[d], v3 + a3 * y3[d])
    out[j], out[j + 1] = one, other


@njit(**SUMS)
def _far(row, key, v, cap, out, j):
    """out[j] = sum_d v_d / (1 + row_d key_d), whatever the product."""
    wide()
    half, one = row.shape[0] // 2, row.dtype.type(1)
    rows, keys, parts = row.reshape(2, half), key.reshape(2, half), v.reshape(2, half)
    a, b, x, y, v0, v1 = rows[0], rows[1], keys[0], keys[1], parts[0], parts[1]
    total = row.dtype.type(0)
    for d in range(half):
        p, q = within(one + a[d] * x[d], cap), within(one + b[d] * y[d], cap)
        total += share(p, q, v0[d], v1[d])
    out[j] = total


@njit(**EXACT)
def _reaches(row, top, upside, most):
    """Whether four dimensions' numbers, the largest of any key, have a product to divide by."""
    wide()
    quarter, one = row.shape[0] // 4, row.dtype.type(1)
    rows, tops, u = row.reshape(4, quarter), top.reshape(4, quarter), upside.reshape(4, quarter)
    good = True
    for d in range(quarter):
        product = abs(u[0][d]) * (one + rows[0][d] * tops[0][d])
        product *= abs(u[1][d]) * (one + rows[1][d] * tops[1][d])
        product *= abs(u[2][d]) * (one + rows[2][d] * tops[2][d])
        product *= abs(u[3][d]) * (one + rows[3][d] * tops[3][d])
        good = good and product <= most
    return good


@njit(**EXACT)
def _prepare(query, centre, half_range, saturation, row, top):
    """The query's exponentials, and the largest of the keys'."""
    wide()
    for d in range(query.shape[0]):
        row[d] = exp_twice(within(query[d] + centre[d], half_range[d] + saturation))
        top[d] = exp_twice(half_range[d])


@njit(**EXACT)
def _energies(row, top, side, table, count, numbers, scaled, out):
    """Write the energies of one query."""
    v, upside, largest, whole = side
    cap, twice = numbers[0], v.dtype.type(2)
    near = _reaches(row, top, upside, cap * (cap / v.dtype.type(16)))
    if near:
        twice *= largest
        for d in range(row.shape[0]):
            scaled[d] = row[d] * upside[d]
        for j in range(0, count, 2):
            _near(scaled, table[j], table[min(j + 1, count - 1)], upside, out, j)
    else:
        for j in range(count):
            _far(row, table[j], v, cap, out, j)
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


@njit(**EXACT)
def step(t, task, numbers, query, table, given, value, weights, context, scratch):  # noqa: PLR0913
    """Contexts, unit by unit: each is an item. Two rows of its table say how it was made."""
    queries, hidden, count, width = query.shape[1], query.shape[2], value.shape[1], table.shape[2]
    padded = (count + LANES - 1) // LANES * LANES
    mask, masked = carray(pointer(t[MASK], np.uint8(0)), (1,)), t[MASK] != 0
    for n in range(scratch.shape[0]):
        scratch[n] = given.dtype.type(0)
    rows, at = cut(scratch, 0, 5, width)
    v, upside, row, top, scaled = rows[0], rows[1], rows[2], rows[3], rows[4]
    energies, lanes = scratch[at : at + padded], scratch[at + padded : at + padded + LANES]
    largest, whole = weigh(given, v, upside)
    side = v, upside, largest, whole
    while True:
        n = draw(pointer(task, np.int64(0)))
        if n >= t[UNITS]:
            return
        item = table[n]
        for i in range(queries):
            _prepare(query[n, i], item[count], item[count + 1], numbers[2], row, top)
            _energies(row, top, side, item, count, numbers, scaled, energies)
            forbid(energies, masked, mask, n * t[BY_ITEM], t[BY_KEY], count)
            softmax(energies, numbers[1], lanes)
            if t[PAIRS]:
                copy(energies, weights[n, i])
            _read(energies, value[n], context[n, i])
