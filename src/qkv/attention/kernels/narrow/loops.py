"""Scores, softmax, Gaussian and context of each query and its run of keys, which numba compiles.

    e_j = q . k_j   or   v . tanh(q + k_j) = sum_d v_d - 2 v_d / (1 + exp(2 (q_d + k_jd)))
    w_j = alpha_j exp(-(j - p)^2 / (2 sigma^2)),   c = sum_j w_j v_j

Runs are short, so nothing is prepared of the keys: a tanh takes an exponential of its own, and
any numbers may come.
"""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np
from numba import njit

from qkv.attention.kernels.additive.task import LANES
from qkv.attention.kernels.additive.vectors import (
    EXACT,
    SUMS,
    copy,
    draw,
    exp_twice,
    inverse,
    pointer,
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
    SHARED,
    SHARED_VALUE,
    TO_MIXED,
    UNITS,
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
def _sum(v):
    total = v.dtype.type(0)
    for d in range(v.shape[0]):
        total += v[d]
    return total


@njit(**EXACT)
def _energies(adds, query, keys, v, scale, whole, most, out):
    """Write the energies of one query and its run."""
    if adds:
        twice = v.dtype.type(2)
        for j in range(keys.shape[0]):
            out[j] = whole - twice * _ratios(query, keys[j], v, most)
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
def attend(t, task, numbers, sides, runs, made, scratch):
    """Contexts, unit by unit: each is CHUNK queries of an item."""
    a, b, v, value, rates = sides
    first, stop, centre = runs
    alpha, mixed, context, logs = made
    queries, adds, reach = a.shape[1], t[V] != 0, numbers[1]
    lowest, half = a.dtype.type(-math.inf), a.dtype.type(0.5)
    chunks = (queries + CHUNK - 1) // CHUNK
    lanes, row = scratch[:LANES], scratch[LANES:]
    whole = _sum(v) if adds else half
    while True:
        unit = draw(pointer(task, np.int64(0)))
        if unit >= t[UNITS]:
            return
        n, start = unit // chunks, unit % chunks * CHUNK
        keys, values = b[n * t[SHARED]], value[n * t[SHARED_VALUE]]
        for i in range(start, min(start + CHUNK, queries)):
            one, two = first[n, i], max(first[n, i], stop[n, i])
            count = two - one
            own = row[: (count + LANES - 1) // LANES * LANES]
            log = lowest
            if count:
                _energies(adds, a[n, i], keys[one:two], v, rates[1], whole, half * reach, own)
                for j in range(count, own.shape[0]):
                    own[j] = lowest
                log = softmax(own, reach, lanes)
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
