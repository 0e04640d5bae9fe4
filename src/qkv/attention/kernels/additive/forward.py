"""The additive energies as loops, which numba compiles.

LANES keys are met at a time, side by side in a vector, by TOGETHER queries: no sum runs across a
vector, all are in registers, and what is loaded of the keys serves all these queries.
"""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np
from numba import carray, njit

from qkv.attention.kernels.additive.lanes import (
    fused,
    load,
    over,
    splat,
    spread,
    store,
    turn,
    unfused,
)
from qkv.attention.kernels.additive.task import (
    ALIGNED,
    BY_ITEM,
    BY_KEY,
    BY_QUERY,
    KEYS,
    LANES,
    MASK,
    ROWS,
    TOGETHER,
    UNITS,
)
from qkv.attention.kernels.additive.vectors import (
    AS_APART,
    AS_FAR,
    AS_NEAR,
    EXACT,
    FAR,
    NEAR,
    OUTER,
    QUADS,
    SUMS,
    copy,
    cut,
    draw,
    ends_of,
    exp_twice,
    find_centre,
    inverse,
    pair,
    pointer,
    prepare,
    wide,
)


@njit(**EXACT)
def _lay(rows, way, centre, limits, lines, table):
    """Prepare keys, LANES of them side by side: a block of the table is [hidden, LANES]."""
    minus, width = -rows.dtype.type(1), lines.shape[1]
    for k in range(table.shape[0]):
        j = k * LANES
        some = min(LANES, rows.shape[0] - j)
        prepare(rows, j, some, 0, minus, way, centre, limits, lines)
        for r in range(some, LANES):  # what is missing is filled with what does no harm
            copy(lines[some - 1], lines[r])
        for d in range(0, width, ALIGNED):
            turn(lines, d, width, table, k * width * LANES + d * LANES)


@njit(**EXACT)
def weigh(given, v, upside, cap):
    """Fill v, and the largest of it over v, for `_meet_quads`; return the largest and the sum.

    A v that is nothing beside the largest, such as those that fill up a vector, counts as the
    least whose inverses, four of them, have a product.
    """
    zero, one = v.dtype.type(0), v.dtype.type(1)
    largest, whole = zero, zero
    for d in range(given.shape[0]):
        v[d] = given[d]
        whole += v[d]
        largest = abs(v[d]) if abs(v[d]) > largest else largest
    least = v.dtype.type(2) / v.dtype.type(math.sqrt(cap)) * largest
    for d in range(v.shape[0]):
        one_v = least if v[d] >= zero else -least
        one_v = one_v if abs(v[d]) < least else v[d]
        upside[d] = largest / one_v if largest > zero else one
    return largest, whole


@njit(**EXACT)
def _reaches(upside, tops, line, most):
    """Whether four dimensions' numbers, the largest there can be, have a product to divide by."""
    wide()
    one, hidden, beyond = upside.dtype.type(1), tops.shape[0], 0
    for d in range(hidden):
        line[d] = abs(upside[d]) * (one + exp_twice(tops[d]))
    for d in range(hidden, upside.shape[0]):
        line[d] = abs(upside[d])
    for d in range(0, upside.shape[0], 4):
        product = (line[d] * line[d + 1]) * (line[d + 2] * line[d + 3])
        beyond += 0 if product <= most else 1
    return beyond == 0


@njit(**SUMS)
def share(q0, q1, v0, v1):
    """Two divisions in one: v0 / q0 + v1 / q1 = (v0 q1 + v1 q0) / (q0 q1), finite by the cap."""
    return (v0 * q1 + v1 * q0) * inverse(q0 * q1)


@njit(**SUMS)
def share_four(p0, p1, p2, p3):
    """Four divisions in one, of p = q / v: 1 / p0 + 1 / p1 = (p0 + p1) / (p0 p1), twice."""
    one, two = p0 * p1, p2 * p3
    return ((p0 + p1) * two + (p2 + p3) * one) * inverse(one * two)


@njit(**EXACT)
def _more(rows, at, u0, u1, u2, u3, k0, k1, k2, k3, so_far):  # noqa: PLR0913 - compiled
    """so_far + 1 / p0 + 1 / p1 + 1 / p2 + 1 / p3, of p = u + row k, with one division."""
    p0, p1 = fused(spread(rows, at), k0, u0), fused(spread(rows, at + 1), k1, u1)
    p2, p3 = fused(spread(rows, at + 2), k2, u2), fused(spread(rows, at + 3), k3, u3)
    one, two = p0 * p1, p2 * p3
    return fused(fused(p0 + p1, two, (p2 + p3) * one), over(one * two), so_far)


@njit(**EXACT)
def _meet_quads(rows, keys, upside, sums):
    """What `_meet_four` writes, beside the largest v: sum_d 1 / (u_d + rows_id keys_dj).

    u is the largest v over v, and the rows are multiplied by it.
    """
    wide()
    a0 = b0 = c0 = d0 = splat(upside.dtype.type(0))
    width = upside.shape[0]
    for d in range(0, width, 4):
        at = d * LANES
        k0, k1 = load(keys, at), load(keys, at + LANES)
        k2, k3 = load(keys, at + 2 * LANES), load(keys, at + 3 * LANES)
        u0, u1, u2 = spread(upside, d), spread(upside, d + 1), spread(upside, d + 2)
        u3 = spread(upside, d + 3)
        a0 = _more(rows, d, u0, u1, u2, u3, k0, k1, k2, k3, a0)
        b0 = _more(rows, width + d, u0, u1, u2, u3, k0, k1, k2, k3, b0)
        c0 = _more(rows, 2 * width + d, u0, u1, u2, u3, k0, k1, k2, k3, c0)
        d0 = _more(rows, 3 * width + d, u0, u1, u2, u3, k0, k1, k2, k3, d0)
    store(sums, 0, a0)
    store(sums, LANES, b0)
    store(sums, 2 * LANES, c0)
    store(sums, 3 * LANES, d0)


@njit(**SUMS)
def _meet_four(rows, keys, v, flat):
    """sums[i, j] = sum_d v_d / (1 + rows_id keys_dj), for four queries and LANES keys."""
    wide()
    one, zero = v.dtype.type(1), v.dtype.type(0)
    row_0, row_1, row_2, row_3 = rows[0], rows[1], rows[2], rows[3]
    for j in range(4 * LANES):
        flat[j] = zero
    for d in range(0, v.shape[0], 2):
        two = keys[d * LANES : (d + 2) * LANES]
        v0, v1 = v[d], v[d + 1]
        a0, a1, b0, b1 = row_0[d], row_0[d + 1], row_1[d], row_1[d + 1]
        c0, c1, d0, d1 = row_2[d], row_2[d + 1], row_3[d], row_3[d + 1]
        for j in range(LANES):
            k0, k1 = two[j], two[LANES + j]
            flat[j] += share(one + a0 * k0, one + a1 * k1, v0, v1)
            flat[LANES + j] += share(one + b0 * k0, one + b1 * k1, v0, v1)
            flat[2 * LANES + j] += share(one + c0 * k0, one + c1 * k1, v0, v1)
            flat[3 * LANES + j] += share(one + d0 * k0, one + d1 * k1, v0, v1)


@njit(**SUMS)
def _meet_one(way, row, keys, v, most, sums):
    """The same for one query."""
    wide()
    one, zero = v.dtype.type(1), v.dtype.type(0)
    for j in range(LANES):
        sums[j] = zero
    for d in range(0, v.shape[0], 4):
        four = keys[d * LANES : (d + 4) * LANES]
        v0, v1, v2, v3 = v[d], v[d + 1], v[d + 2], v[d + 3]
        a0, a1, a2, a3 = row[d], row[d + 1], row[d + 2], row[d + 3]
        for j in range(LANES):
            x0, x1 = pair(way, a0, four[j], one, most), pair(way, a1, four[LANES + j], one, most)
            x2, x3 = (
                pair(way, a2, four[2 * LANES + j], one, most),
                pair(way, a3, four[3 * LANES + j], one, most),
            )
            sums[j] += share(x0, x1, v0, v1) + share(x2, x3, v2, v3)


@njit(**EXACT)
def _meet(way, rows, count, keys, v, upside, numbers, sums):
    """Up to four queries and a block of keys, the way that `lay_out` found."""
    cap, reach, _, _ = numbers
    if way == QUADS:
        _meet_quads(rows, keys, upside, sums)
        return
    if way == NEAR and count > 1:
        _meet_four(rows, keys, v, sums)
        return
    for r in range(count):
        own = sums[r * LANES : (r + 1) * LANES]
        if way == NEAR:
            _meet_one(AS_NEAR, rows[r], keys, v, cap, own)
        elif way == FAR:
            _meet_one(AS_FAR, rows[r], keys, v, cap, own)
        else:
            _meet_one(AS_APART, rows[r], keys, v, v.dtype.type(0.5) * reach, own)


@njit(**EXACT)
def _any(mask, first, steps, rows, columns):
    """Whether one of these pairs may meet; `first` is where the first of them stands."""
    for i in range(rows):
        for j in range(columns):
            if mask[first + i * steps[1] + j * steps[2]]:
                return True
    return False


@njit(**EXACT)
def lay_out(a, b, numbers, side, laid):
    """Prepare the keys for these queries; return the way that is open."""
    _, upside, _, ends, rest, lines, _ = side
    hidden = a.shape[1]
    centre, limits, tops = rest[0, :hidden], rest[1, :hidden], rest[2, :hidden]
    low, high, below, top = ends[0, :hidden], ends[1, :hidden], ends[2, :hidden], ends[3, :hidden]
    ends_of(a, 0, low, high)
    ends_of(b, 0, below, top)
    way = find_centre((low, high, below, top), numbers, centre, limits, tops)
    cap = numbers[0]
    if way == NEAR and _reaches(upside, tops, lines[0], cap * (cap / upside.dtype.type(16))):
        way = QUADS
    _lay(b, way, centre, limits, lines, laid)
    return way


@njit(**EXACT)
def meet_keys(  # noqa: PLR0913 - compiled
    a, way, laid, found, numbers, side, masked, mask, at, steps, forbidden, count, out
):
    """Write the energies of up to four queries; blocks that may not meet are left `forbidden`.

    found: the largest v and the sum of all, from `weigh`. out: rows as long as whole blocks.
    """
    wide()
    v, upside, rows, _, rest, _, sums = side
    some, hidden = a.shape
    prepare(a, 0, some, 0, v.dtype.type(1), way, rest[0, :hidden], rest[1, :hidden], rows)
    twice = v.dtype.type(2)
    if way == QUADS:
        twice *= found[0]
        for r in range(some):
            row = rows[r]
            for d in range(row.shape[0]):
                row[d] *= upside[d]
    for k in range(laid.shape[0]):
        j, columns = k * LANES, min(LANES, count - k * LANES)
        if masked and not _any(mask, at + j * steps[2], steps, some, columns):
            for r in range(some):
                store(out, r * out.shape[1] + j, splat(forbidden))
            continue
        _meet(way, rows, some, laid[k], v, upside, numbers, sums)
        for r in range(some):
            energies = unfused(splat(twice), load(sums, r * LANES), splat(found[1]))
            store(out, r * out.shape[1] + j, energies)


@njit(**OUTER)
def tools(t, given, scratch):
    """Cut this thread's scratch memory into what both passes over the queries need."""
    hidden, zero = given.shape[0], given.dtype.type(0)
    width = (hidden + ALIGNED - 1) // ALIGNED * ALIGNED
    blocks = (t[KEYS] + LANES - 1) // LANES
    for n in range(scratch.shape[0]):
        scratch[n] = zero
    rows, at = cut(scratch, 0, TOGETHER, width)
    sums, at = scratch[at : at + TOGETHER * LANES], at + TOGETHER * LANES
    ends, at = cut(scratch, at, 4, width)
    rest, at = cut(scratch, at, 3, width)
    lines, at = cut(scratch, at, LANES, width)
    both, at = cut(scratch, at, 2, width)
    laid, at = cut(scratch, at, blocks, width * LANES)
    row, at = cut(scratch, at, TOGETHER, blocks * LANES)
    side = both[0], both[1], rows, ends, rest, lines, sums
    return side, laid, row, at


@njit(**OUTER)
def energies(t, task, numbers, a, b, given, out, scratch):
    """Energies, unit by unit: each is ROWS queries of an item. Forbidden blocks are left 0."""
    queries, zero = out.shape[1], a.dtype.type(0)
    chunks = (queries + ROWS - 1) // ROWS
    mask, masked = carray(pointer(t[MASK], np.uint8(0)), (1,)), t[MASK] != 0
    steps = t[BY_ITEM], t[BY_QUERY], t[BY_KEY]
    side, laid, row, _ = tools(t, given, scratch)
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
            at = n * steps[0] + i * steps[1]
            meet_keys(
                a[n, i : i + some], way, laid, found, numbers, side, masked, mask, at, steps,
                zero, out.shape[2], row,
            )  # fmt: skip
            for r in range(some):
                copy(row[r], out[n, i + r])
