"""Scores, softmax, Gaussian and context of each query and its run of keys, which numba compiles.

    e_j = q . k_j   or   v . tanh(q + k_j) = sum_d v_d - 2 v_d / (1 + exp(2 (q_d + k_jd)))
    w_j = alpha_j exp(-(j - p)^2 / (2 sigma^2)),   c = sum_j w_j v_j

Neighbouring queries whose runs lie close together share the exponentials of their keys where
exp(2 q) exp(2 k) can stand for exp(2 (q + k)); else a tanh takes one of its own, and any numbers
may come.
"""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np
from numba import njit

from qkv.attention.kernels.additive.task import LANES
from qkv.attention.kernels.additive.vectors import (
    EXACT,
    NEAR,
    SUMS,
    copy,
    cut,
    draw,
    ends_of,
    exp_twice,
    find_centre,
    inverse,
    pointer,
    prepare,
    wide,
    within,
)
from qkv.attention.kernels.additive.whole import softmax
from qkv.attention.kernels.narrow.task import (
    ALPHA,
    CENTRE,
    CHUNK,
    LOG,
    MIXED,
    MOST,
    REACH,
    SHARED,
    SHARED_VALUE,
    TO_MIXED,
    UNITS,
    WIDTH,
    V,
)


@njit(**SUMS)
def _products(query, keys, out):
    """out[j] = query . keys[j], four keys at a time; what is beyond the last is repeated."""
    wide()
    zero, last = query.dtype.type(0), keys.shape[0] - 1
    for j in range(0, keys.shape[0], 4):
        x, y = keys[j], keys[min(j + 1, last)]
        z, w = keys[min(j + 2, last)], keys[min(j + 3, last)]
        s0 = s1 = s2 = s3 = zero
        for d in range(query.shape[0]):
            q = query[d]
            s0, s1, s2, s3 = s0 + q * x[d], s1 + q * y[d], s2 + q * z[d], s3 + q * w[d]
        out[j], out[j + 1], out[j + 2], out[j + 3] = s0, s1, s2, s3


@njit(**SUMS)
def _ratios(query, key, v, most):
    """sum_d v_d / (1 + exp(2 (query_d + key_d)))."""
    wide()
    one, total = query.dtype.type(1), query.dtype.type(0)
    for d in range(query.shape[0]):
        total += v[d] * inverse(one + exp_twice(within(query[d] + key[d], most)))
    return total


@njit(**SUMS)
def _shared_ratios(query, key, v):
    """The same from the exponentials of both."""
    wide()
    one, total = query.dtype.type(1), query.dtype.type(0)
    for d in range(query.shape[0]):
        total += v[d] * inverse(one + query[d] * key[d])
    return total


@njit(**SUMS)
def _sum(v):
    total = v.dtype.type(0)
    for d in range(v.shape[0]):
        total += v[d]
    return total


@njit(**EXACT)
def _energies(adds, near, query, keys, v, scale, whole, most, out):  # noqa: PLR0913 - compiled
    """Write the energies of one query and its run."""
    if adds:
        twice = v.dtype.type(2)
        for j in range(keys.shape[0]):
            ratios = (
                _shared_ratios(query, keys[j], v) if near else _ratios(query, keys[j], v, most)
            )
            out[j] = whole - twice * ratios
        return
    _products(query, keys, out)
    for j in range(keys.shape[0]):
        out[j] *= scale


@njit(**EXACT)
def _near(row, first, centre, rate, reach):
    """Multiply each weight by its key's closeness."""
    wide()
    for j in range(row.shape[0]):
        apart = row.dtype.type(first + j) - centre
        row[j] *= exp_twice(within(-rate * apart * apart, reach))


@njit(**SUMS)
def _read(weights, value, out):
    """out = sum_j weights_j value_j, four at a time."""
    wide()
    count, width = value.shape
    for d in range(width):
        out[d] = out.dtype.type(0)
    whole = count // 4 * 4
    for j in range(0, whole, 4):
        w0, w1, w2, w3 = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        x0, x1, x2, x3 = value[j], value[j + 1], value[j + 2], value[j + 3]
        for d in range(width):
            out[d] += (w0 * x0[d] + w1 * x1[d]) + (w2 * x2[d] + w3 * x3[d])
    for j in range(whole, count):
        w, x = weights[j], value[j]
        for d in range(width):
            out[d] += w * x[d]


@njit(**EXACT)
def _keep(row, count, target):
    """Copy the weights of a run; there are none beyond it."""
    copy(row[:count], target[:count])
    for j in range(count, target.shape[0]):
        target[j] = row.dtype.type(0)


@njit(**EXACT)
def _tools(t, scratch):
    """Cut this thread's scratch memory: a row of weights, and what exponentials need."""
    width, padded = t[WIDTH], (t[MOST] + LANES - 1) // LANES * LANES
    row = scratch[:padded]
    ends, at = cut(scratch, padded, 4, width)
    rest, at = cut(scratch, at, 3, width)
    rows, at = cut(scratch, at, CHUNK, width)
    table, at = cut(scratch, at, REACH * t[MOST], width)
    return row, ends, rest, rows, table


@njit(**EXACT)
def _share(a, keys, numbers, tools):
    """Take the exponentials of some queries and of all their keys; whether these will do."""
    _, ends, rest, rows, table = tools
    count = keys.shape[0]
    if a.shape[0] == 1 or count == 0 or count > table.shape[0]:
        return False
    centre, limits, one = rest[0], rest[1], a.dtype.type(1)
    ends_of(a, 0, ends[0], ends[1])
    ends_of(keys, 0, ends[2], ends[3])
    if find_centre(ends, numbers, centre, limits, rest[2]) != NEAR:
        return False
    prepare(a, 0, a.shape[0], 0, one, NEAR, centre, limits, rows)
    prepare(keys, 0, count, 0, -one, NEAR, centre, limits, table)
    return True


@njit(**EXACT)
def _span(first, stop):
    """From the first key of some runs to behind the last."""
    one, two = first[0], stop[0]
    for i in range(1, first.shape[0]):
        if stop[i] > first[i]:
            one, two = min(one, first[i]), max(two, stop[i])
    return one, max(one, two)


@njit(**EXACT)
def attend(t, task, numbers, sides, runs, made, scratch):  # noqa: C901 - compiled
    """Contexts, unit by unit: each is CHUNK queries of an item."""
    a, b, v, value, rates = sides
    first, stop, centre = runs
    alpha, mixed, context, logs = made
    queries, adds, reach = a.shape[1], t[V] != 0, numbers[1]
    lowest, half = a.dtype.type(-math.inf), a.dtype.type(0.5)
    chunks = (queries + CHUNK - 1) // CHUNK
    tools = _tools(t, scratch)
    row, _, _, rows, table = tools
    whole = _sum(v) if adds else half
    while True:
        unit = draw(pointer(task, np.int64(0)))
        if unit >= t[UNITS]:
            return
        n, start = unit // chunks, unit % chunks * CHUNK
        keys, values = b[n * t[SHARED]], value[n * t[SHARED_VALUE]]
        end, near, low = min(start + CHUNK, queries), False, 0
        if adds:
            low, high = _span(first[n, start:end], stop[n, start:end])
            near = _share(a[n, start:end], keys[low:high], numbers, tools)
        for i in range(start, end):
            one, two = first[n, i], max(first[n, i], stop[n, i])
            count = two - one
            own = row[: (count + LANES - 1) // LANES * LANES]
            log = lowest
            if count:
                query, met = a[n, i], keys[one:two]
                if near:
                    query, met = rows[i - start], table[one - low : two - low]
                _energies(adds, near, query, met, v, rates[1], whole, half * reach, own)
                for j in range(count, own.shape[0]):
                    own[j] = lowest
                highest, total = softmax(own, reach)
                log = highest + row.dtype.type(math.log(total))
            if t[LOG]:
                logs[n, i] = log
            if t[ALPHA]:
                _keep(own, count, alpha[n, i])
            if t[CENTRE]:
                _near(own[:count], one, centre[n, i], rates[0], reach)
            if t[MIXED]:
                _keep(own, count, mixed[n, i])
            _read(own, values[one:two], context[n, i])


@njit(**SUMS)
def _back_near(own, row, first, centre, rate, reach):
    """Through the Gaussian: row becomes the gradient of alpha; return that of the centre."""
    wide()
    total = row.dtype.type(0)
    for j in range(row.shape[0]):
        apart = row.dtype.type(first + j) - centre
        row[j] *= exp_twice(within(-rate * apart * apart, reach))
        total += row[j] * own[j] * apart
    return row.dtype.type(4) * rate * total


@njit(**SUMS)
def _back_softmax(own, row, more):
    """row = alpha (row - sum alpha row + more)."""
    wide()
    mean = -more
    for j in range(row.shape[0]):
        mean += own[j] * row[j]
    for j in range(row.shape[0]):
        row[j] = own[j] * (row[j] - mean)


@njit(**EXACT)
def slopes(t, task, numbers, sides, runs, made, given, scratch):
    """The gradients of the energies and of the centres, unit by unit as in `attend`."""
    value, rates = sides
    first, stop, centre = runs
    alpha, slope, to_centre = made
    to_context, to_logs, to_mixed = given
    queries, zero = alpha.shape[1], alpha.dtype.type(0)
    chunks = (queries + CHUNK - 1) // CHUNK
    while True:
        unit = draw(pointer(task, np.int64(0)))
        if unit >= t[UNITS]:
            return
        n, start = unit // chunks, unit % chunks * CHUNK
        values = value[n * t[SHARED_VALUE]]
        for i in range(start, min(start + CHUNK, queries)):
            one, two = first[n, i], max(first[n, i], stop[n, i])
            count = two - one
            row, own, near = scratch[:count], alpha[n, i, :count], zero
            if count:
                _products(to_context[n, i], values[one:two], scratch)
            if t[TO_MIXED]:
                for j in range(count):
                    row[j] += to_mixed[n, i, j]
            if t[CENTRE]:
                near = _back_near(own, row, one, centre[n, i], rates[0], numbers[1])
                to_centre[n, i] = near
            _back_softmax(own, row, to_logs[n, i] if t[LOG] else zero)
            _keep(row, count, slope[n, i])
