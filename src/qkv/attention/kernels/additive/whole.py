"""Scores, softmax and context of additive attention in one pass of loops, which numba compiles.

Four queries at a time: their energies are a few rows in the cache, which become weights, and meet
the values before the next four come. Backward, from the weights, first comes what each energy and
each value gets (here), and then what queries and keys do (see `backward`).
"""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np
from numba import carray, njit

from qkv.attention.kernels.additive.forward import lay_out, meet_keys, tools, weigh
from qkv.attention.kernels.additive.task import (
    BY_ITEM,
    BY_KEY,
    BY_QUERY,
    FILLED,
    ITEMS,
    KEYS_TOGETHER,
    LANES,
    LOG,
    MASK,
    PAIRS,
    ROWS,
    TOGETHER,
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
    mix,
    pointer,
    wide,
    within,
)


@njit(**EXACT)
def forbid(row, masked, mask, at, step, count):
    """Put -inf where a pair may not meet, and where there is no key."""
    lowest = row.dtype.type(-math.inf)
    if masked:
        for j in range(count):
            row[j] = row[j] if mask[at + j * step] else lowest
    for j in range(count, row.shape[0]):
        row[j] = lowest


# Rows are whole blocks, and a block's loop has a fixed length: no key is left over for a slow end.
@njit(**EXACT)
def _powers(row, highest, reach):
    """exp(e - highest), 0 where e is -inf."""
    wide()
    half, zero, lowest = row.dtype.type(0.5), row.dtype.type(0), row.dtype.type(-math.inf)
    for k in range(0, row.shape[0], LANES):
        block = row[k : k + LANES]
        for j in range(LANES):
            power = exp_twice(within(half * (block[j] - highest), reach))
            block[j] = zero if block[j] == lowest else power


@njit(**SUMS)
def _largest_and_scaled(row, scale, lanes):
    """Multiply by the scale; return the largest number, which is found lane by lane."""
    wide()
    for j in range(LANES):
        lanes[j] = row[j] * scale
    for k in range(0, row.shape[0], LANES):
        block = row[k : k + LANES]
        for j in range(LANES):
            block[j] *= scale
            lanes[j] = block[j] if block[j] > lanes[j] else lanes[j]
    largest = lanes[0]
    for j in range(1, LANES):
        largest = lanes[j] if lanes[j] > largest else largest
    return largest


@njit(**SUMS)
def _total(row, lanes):
    """The sum, found lane by lane."""
    wide()
    for j in range(LANES):
        lanes[j] = row.dtype.type(0)
    for k in range(0, row.shape[0], LANES):
        block = row[k : k + LANES]
        for j in range(LANES):
            lanes[j] += block[j]
    total = row.dtype.type(0)
    for j in range(LANES):
        total += lanes[j]
    return total


@njit(**EXACT)
def softmax(row, reach, lanes):
    """Energies become weights, 0 where they are -inf; return the log-normaliser."""
    zero, one = row.dtype.type(0), row.dtype.type(1)
    highest = _largest_and_scaled(row, one, lanes)
    if highest == row.dtype.type(-math.inf):  # one that may meet nothing
        for j in range(row.shape[0]):
            row[j] = zero
        return highest
    _powers(row, highest, reach)
    total = _total(row, lanes)
    _largest_and_scaled(row, one / total, lanes)
    return highest + row.dtype.type(math.log(total))


@njit(**OUTER)
def attend(  # noqa: PLR0913 - compiled
    t, task, numbers, a, b, given, value, weights, logs, context, scratch
):
    """Contexts, unit by unit: each is ROWS queries of an item."""
    queries, count, read = a.shape[1], b.shape[1], value.shape[2]
    zero, lowest = a.dtype.type(0), a.dtype.type(-math.inf)
    chunks = (queries + ROWS - 1) // ROWS
    mask, masked = carray(pointer(t[MASK], np.uint8(0)), (1,)), t[MASK] != 0
    steps = t[BY_ITEM], t[BY_QUERY], t[BY_KEY]
    side, laid, row, at = tools(t, given, scratch)
    padded = row.shape[1]
    flat = row.reshape(TOGETHER * padded)
    summed, at = cut(scratch, at, TOGETHER, read)
    found = weigh(given, side[0], side[1], numbers[0])
    while True:
        unit = draw(pointer(task, np.int64(0)))
        if unit >= t[UNITS]:
            return
        n, start = unit // chunks, unit % chunks * ROWS
        stop = min(start + ROWS, queries)
        way = lay_out(a[n, start:stop], b[n], numbers, side, laid)
        for i in range(start, stop, TOGETHER):
            some = min(TOGETHER, stop - i)
            first = n * steps[0] + i * steps[1]
            meet_keys(
                a[n, i : i + some], way, laid, found, numbers, side, masked, mask, first, steps,
                lowest, count, row,
            )  # fmt: skip
            for r in range(some):
                forbid(row[r], masked, mask, first + r * steps[1], steps[2], count)
                log = softmax(row[r], numbers[1], side[6][:LANES])
                if t[LOG]:
                    logs[n, i + r] = log
                if t[PAIRS]:
                    copy(row[r], weights[n, i + r])
            for r in range(TOGETHER):
                target = summed[r]
                for d in range(read):
                    target[d] = zero
            mix(flat, 0, (padded, 1), count, value[n], summed)
            for r in range(some):
                copy(summed[r], context[n, i + r])


@njit(**SUMS)
def _products(rows, i, last, columns, j, end, out):
    """out[r, j + c] = rows[i + r] . columns[j + c], four by four; what is beyond is repeated."""
    wide()
    x0, x1 = rows[i], rows[min(i + 1, last)]
    x2, x3 = rows[min(i + 2, last)], rows[min(i + 3, last)]
    y0, y1 = columns[j], columns[min(j + 1, end)]
    y2, y3 = columns[min(j + 2, end)], columns[min(j + 3, end)]
    zero = rows.dtype.type(0)
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = zero
    for d in range(x0.shape[0]):
        s0, s1, s2, s3 = x0[d], x1[d], x2[d], x3[d]
        t0, t1, t2, t3 = y0[d], y1[d], y2[d], y3[d]
        a0, a1, a2, a3 = a0 + s0 * t0, a1 + s0 * t1, a2 + s0 * t2, a3 + s0 * t3
        b0, b1, b2, b3 = b0 + s1 * t0, b1 + s1 * t1, b2 + s1 * t2, b3 + s1 * t3
        c0, c1, c2, c3 = c0 + s2 * t0, c1 + s2 * t1, c2 + s2 * t2, c3 + s2 * t3
        d0, d1, d2, d3 = d0 + s3 * t0, d1 + s3 * t1, d2 + s3 * t2, d3 + s3 * t3
    out[0, j], out[0, j + 1], out[0, j + 2], out[0, j + 3] = a0, a1, a2, a3
    out[1, j], out[1, j + 1], out[1, j + 2], out[1, j + 3] = b0, b1, b2, b3
    out[2, j], out[2, j + 1], out[2, j + 2], out[2, j + 3] = c0, c1, c2, c3
    out[3, j], out[3, j + 1], out[3, j + 2], out[3, j + 3] = d0, d1, d2, d3


@njit(**SUMS)
def _slope(weights, row, more, lanes):
    """row = w (dw - sum w dw + more), where dw comes in `row`; 0 where the weight is 0."""
    wide()
    zero = row.dtype.type(0)
    for j in range(LANES):
        lanes[j] = zero
    for k in range(0, row.shape[0], LANES):
        mine, own = row[k : k + LANES], weights[k : k + LANES]
        for j in range(LANES):
            lanes[j] += zero if own[j] == zero else own[j] * mine[j]
    mean = zero
    for j in range(LANES):
        mean += lanes[j]
    mean -= more
    for k in range(0, row.shape[0], LANES):
        mine, own = row[k : k + LANES], weights[k : k + LANES]
        for j in range(LANES):
            mine[j] = zero if own[j] == zero else own[j] * (mine[j] - mean)


@njit(**EXACT)
def _some_slopes(  # noqa: PLR0913 - compiled
    t, weights, value, sent, to_logs, gradient, start, stop, row, own, lanes
):
    """Write the gradients of the energies of some queries of an item."""
    count, last, zero = weights.shape[1], weights.shape[0] - 1, row.dtype.type(0)
    for i in range(start, stop, TOGETHER):
        for j in range(0, count, 4):
            _products(sent, i, last, value, j, count - 1, row)
        for r in range(min(TOGETHER, stop - i)):
            mine, target = row[r], gradient[i + r]
            if t[FILLED]:
                for j in range(count):
                    mine[j] += target[j]
            copy(weights[i + r], own[:count])
            more = to_logs[i + r] if t[LOG] else zero
            _slope(own, mine, more, lanes)
            copy(mine, target)


@njit(**EXACT)
def _some_values(weights, sent, start, stop, summed, to_value):
    """Write the gradients of some values of an item: sum_i w_ij of the context's gradient."""
    queries, count = weights.shape
    flat, zero = weights.reshape(queries * count), summed.dtype.type(0)
    step = 4 if stop - start >= 4 else 1
    for j in range(start, stop, step):
        first = min(j, stop - step)
        for r in range(TOGETHER):
            target = summed[r]
            for d in range(target.shape[0]):
                target[d] = zero
        mix(flat, first, (1 if step == 4 else 0, count), queries, sent, summed)
        for r in range(step):
            copy(summed[r], to_value[first + r])


@njit(**OUTER)
def slopes(t, task, weights, value, sent, to_logs, gradient, to_value, scratch):  # noqa: PLR0913
    """Gradients of energies (ROWS queries of an item) and values (KEYS_TOGETHER of them)."""
    (_, queries, count), read = weights.shape, value.shape[2]
    padded = (count + LANES - 1) // LANES * LANES
    row, at = cut(scratch, 0, TOGETHER, padded)
    own, lanes = scratch[at : at + padded], scratch[at + padded : at + padded + LANES]
    summed, at = cut(scratch, at + padded + LANES, TOGETHER, read)
    for j in range(padded):
        own[j] = scratch.dtype.type(0)
    by_query = (queries + ROWS - 1) // ROWS
    by_key = (count + KEYS_TOGETHER - 1) // KEYS_TOGETHER
    while True:
        unit = draw(pointer(task, np.int64(0)))
        if unit >= t[UNITS]:
            return
        if unit < t[ITEMS] * by_query:
            n, start = unit // by_query, unit % by_query * ROWS
            stop = min(start + ROWS, queries)
            _some_slopes(
                t, weights[n], value[n], sent[n], to_logs[n], gradient[n], start, stop, row, own,
                lanes,
            )  # fmt: skip
        else:
            unit -= t[ITEMS] * by_query
            n, start = unit // by_key, unit % by_key * KEYS_TOGETHER
            stop = min(start + KEYS_TOGETHER, count)
            _some_values(weights[n], sent[n], start, stop, summed, to_value[n])
