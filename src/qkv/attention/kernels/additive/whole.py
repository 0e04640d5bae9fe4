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
from qkv.attention.kernels.additive.lanes import (
    bounded,
    fold_1,
    fold_2,
    fold_4,
    fold_8,
    fused,
    higher,
    load,
    splat,
    store,
    top,
    total,
    unless,
)
from qkv.attention.kernels.additive.task import (
    ALIGNED,
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


@njit(**EXACT)
def softmax(row, reach):
    """Energies become weights, 0 where they are -inf; return the highest, and the sum beside it.

    Rows are whole vectors.
    """
    wide()
    zero, one, lowest = row.dtype.type(0), row.dtype.type(1), row.dtype.type(-math.inf)
    found, size, sums = load(row, 0), row.shape[0], load(row, 0)
    for j in range(ALIGNED, size, ALIGNED):
        found, sums = higher(load(row, j), found), sums + load(row, j)
    highest = top(found)
    if highest == lowest and total(sums) == lowest:  # one that may meet nothing, and no NaN
        for j in range(0, size, ALIGNED):
            store(row, j, splat(zero))
        return highest, one
    half, farthest, beside = splat(row.dtype.type(0.5)), splat(reach), splat(highest)
    sums = splat(zero)
    for j in range(0, size, ALIGNED):
        energies = load(row, j)
        power = exp_twice(bounded(half * (energies - beside), farthest))
        power = unless(energies, splat(lowest), power)
        sums = sums + power
        store(row, j, power)
    whole = total(sums)
    share = splat(one / whole)
    for j in range(0, size, ALIGNED):
        store(row, j, load(row, j) * share)
    return highest, whole


@njit(**OUTER)
def attend(  # noqa: PLR0913 - compiled
    t, task, numbers, a, b, given, value, weights, logs, context, scratch
):
    """Contexts, unit by unit: each is ROWS queries of an item."""
    queries, count, read = a.shape[1], b.shape[1], value.shape[2]
    lowest = a.dtype.type(-math.inf)
    chunks = (queries + ROWS - 1) // ROWS
    mask, masked = carray(pointer(t[MASK], np.uint8(0)), (1,)), t[MASK] != 0
    steps = t[BY_ITEM], t[BY_QUERY], t[BY_KEY]
    side, laid, row, _ = tools(t, given, scratch)
    padded = row.shape[1]
    flat = row.reshape(TOGETHER * padded)
    found = weigh(given, side[0], side[1], numbers[0])
    while True:
        unit = draw(pointer(task, np.int64(0)))
        if unit >= t[UNITS]:
            return
        n, start = unit // chunks, unit % chunks * ROWS
        stop, out = min(start + ROWS, queries), context[n].reshape(queries * read)
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
                highest, whole = softmax(row[r], numbers[1])
                if t[LOG]:
                    logs[n, i + r] = highest + a.dtype.type(math.log(whole))
                if t[PAIRS]:
                    copy(row[r], weights[n, i + r])
            mix(flat, 0, (count, padded, 1), value[n], out, i * read, some)


@njit(**EXACT)
def _dots(rows, places, columns, others, sums):
    """Write the 16 products of four rows and four columns; return how many dimensions that is.

    What does not fill a vector is left out.
    """
    wide()
    (i0, i1, i2, i3), (j0, j1, j2, j3) = places, others
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = splat(rows.dtype.type(0))
    c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = a0
    told = rows.shape[1] // ALIGNED * ALIGNED
    for d in range(0, told, ALIGNED):
        y0, y1 = load(columns, j0 + d), load(columns, j1 + d)
        y2, y3 = load(columns, j2 + d), load(columns, j3 + d)
        x = load(rows, i0 + d)
        a0, a1, a2, a3 = fused(x, y0, a0), fused(x, y1, a1), fused(x, y2, a2), fused(x, y3, a3)
        x = load(rows, i1 + d)
        b0, b1, b2, b3 = fused(x, y0, b0), fused(x, y1, b1), fused(x, y2, b2), fused(x, y3, b3)
        x = load(rows, i2 + d)
        c0, c1, c2, c3 = fused(x, y0, c0), fused(x, y1, c1), fused(x, y2, c2), fused(x, y3, c3)
        x = load(rows, i3 + d)
        d0, d1, d2, d3 = fused(x, y0, d0), fused(x, y1, d1), fused(x, y2, d2), fused(x, y3, d3)
    a = fold_4(fold_8(a0, a1), fold_8(a2, a3))
    b = fold_4(fold_8(b0, b1), fold_8(b2, b3))
    c = fold_4(fold_8(c0, c1), fold_8(c2, c3))
    d = fold_4(fold_8(d0, d1), fold_8(d2, d3))
    store(sums, 0, fold_1(fold_2(a, b), fold_2(c, d)))
    return told


@njit(**SUMS)
def _products(rows, i, last, columns, j, end, sums, out):
    """out[r, j + c] = rows[i + r] . columns[j + c], four by four; what is beyond is repeated."""
    width = rows.shape[1]
    i1, i2, i3 = min(i + 1, last), min(i + 2, last), min(i + 3, last)
    j1, j2, j3 = min(j + 1, end), min(j + 2, end), min(j + 3, end)
    told = _dots(
        rows, (i * width, i1 * width, i2 * width, i3 * width), columns,
        (j * width, j1 * width, j2 * width, j3 * width), sums,
    )  # fmt: skip
    for r in range(4):
        target = out[r]
        for c in range(4):
            more = sums[4 * r + c]
            if told < width:
                x, y = rows[min(i + r, last)], columns[min(j + c, end)]
                for d in range(told, width):
                    more += x[d] * y[d]
            target[j + c] = more


@njit(**EXACT)
def _slope(weights, row, more):
    """row = w (dw - sum w dw + more), where dw comes in `row`; 0 where the weight is 0."""
    wide()
    nothing = splat(row.dtype.type(0))
    sums, size = nothing, row.shape[0]
    for j in range(0, size, ALIGNED):
        own = load(weights, j)
        sums = sums + unless(own, nothing, own * load(row, j))
    mean = splat(total(sums) - more)
    for j in range(0, size, ALIGNED):
        own = load(weights, j)
        store(row, j, unless(own, nothing, own * (load(row, j) - mean)))


@njit(**EXACT)
def _some_slopes(  # noqa: PLR0913 - compiled
    t, weights, value, sent, to_logs, gradient, start, stop, row, own, sums
):
    """Write the gradients of the energies of some queries of an item."""
    count, last, zero = weights.shape[1], weights.shape[0] - 1, row.dtype.type(0)
    for i in range(start, stop, TOGETHER):
        for j in range(0, count, 4):
            _products(sent, i, last, value, j, count - 1, sums, row)
        for r in range(min(TOGETHER, stop - i)):
            mine, target = row[r], gradient[i + r]
            if t[FILLED]:
                for j in range(count):
                    mine[j] += target[j]
            copy(weights[i + r], own[:count])
            more = to_logs[i + r] if t[LOG] else zero
            _slope(own, mine, more)
            copy(mine, target)


@njit(**EXACT)
def _some_values(weights, sent, start, stop, to_value):
    """Write the gradients of some values of an item: sum_i w_ij of the context's gradient."""
    (queries, count), read = weights.shape, sent.shape[1]
    flat = weights.reshape(queries * count)
    step = 4 if stop - start >= 4 else 1
    for j in range(start, stop, step):
        first = min(j, stop - step)
        by_row = 1 if step == 4 else 0
        mix(flat, first, (queries, by_row, count), sent, to_value, first * read, step)


@njit(**OUTER)
def slopes(t, task, weights, value, sent, to_logs, gradient, to_value, scratch):  # noqa: PLR0913
    """Gradients of energies (ROWS queries of an item) and values (KEYS_TOGETHER of them).

    Or, where there are as many units as items, of both.
    """
    (_, queries, count), read = weights.shape, value.shape[2]
    padded = (count + LANES - 1) // LANES * LANES
    row, at = cut(scratch, 0, TOGETHER, padded)
    own, sums = scratch[at : at + padded], scratch[at + padded : at + padded + LANES]
    for j in range(padded):
        own[j] = scratch.dtype.type(0)
    by_query = (queries + ROWS - 1) // ROWS
    by_key = (count + KEYS_TOGETHER - 1) // KEYS_TOGETHER
    items = t[UNITS] == t[ITEMS]
    per = 1 if items else by_query + by_key
    while True:
        unit = draw(pointer(task, np.int64(0)))
        if unit >= t[UNITS]:
            return
        n, part = unit // per, unit % per
        if items or part < by_query:
            start, stop = 0 if items else part * ROWS, queries if items else (part + 1) * ROWS
            _some_slopes(
                t, weights[n], value[n], sent[n], to_logs[n], gradient[n], start,
                min(stop, queries), row, own, sums,
            )  # fmt: skip
        if items or part >= by_query:
            part -= by_query
            start, stop = 0 if items else part * KEYS_TOGETHER, count
            stop = stop if items else min(start + KEYS_TOGETHER, count)
            target = to_value[n].reshape(count * read)
            _some_values(weights[n], sent[n], start, stop, target)
