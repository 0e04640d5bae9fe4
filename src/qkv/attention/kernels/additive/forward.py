"""The additive energies as loops, which numba compiles.

LANES keys are met at a time, side by side in vectors, by TOGETHER queries: no sum runs across a
vector, and what is loaded of the keys serves all these queries.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import carray, njit

from qkv.attention.kernels.additive.task import (
    ALIGNED,
    BY_ITEM,
    BY_KEY,
    BY_QUERY,
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


@njit(**EXACT)
def _lay(rows, way, centre, limits, line, table):
    """Prepare keys, LANES of them side by side: table [blocks, hidden, LANES]."""
    minus = -rows.dtype.type(1)
    width, last = centre.shape[0], rows.shape[0] - 1
    for j in range(table.shape[0] * LANES):
        at = min(j, last)  # what is missing is filled with what does no harm
        prepare(rows[at : at + 1], 0, minus, way, centre, limits, line)
        block = table[j // LANES]
        for d in range(width):
            block[d, j % LANES] = line[0, d]


@njit(**SUMS)
def _share(q0, q1, v0, v1):
    """Two divisions in one: v0 / q0 + v1 / q1 = (v0 q1 + v1 q0) / (q0 q1), finite by the cap."""
    return (v0 * q1 + v1 * q0) * inverse(q0 * q1)


@njit(**SUMS)
def _meet_four(rows, keys, v, sums):
    """sums[i, j] = sum_d v_d / (1 + rows_id keys_dj), for four queries and LANES keys."""
    wide()
    one, zero = v.dtype.type(1), v.dtype.type(0)
    row_0, row_1, row_2, row_3 = rows[0], rows[1], rows[2], rows[3]
    # One array, read and written at fixed places: nothing is asked at run time about overlaps.
    flat, twos = sums.reshape(4 * LANES), keys.reshape(v.shape[0] // 2, 2 * LANES)
    for j in range(4 * LANES):
        flat[j] = zero
    for n in range(twos.shape[0]):
        d, two = 2 * n, twos[n]
        v0, v1 = v[d], v[d + 1]
        a0, a1, b0, b1 = row_0[d], row_0[d + 1], row_1[d], row_1[d + 1]
        c0, c1, d0, d1 = row_2[d], row_2[d + 1], row_3[d], row_3[d + 1]
        for j in range(LANES):
            k0, k1 = two[j], two[LANES + j]
            flat[j] += _share(one + a0 * k0, one + a1 * k1, v0, v1)
            flat[LANES + j] += _share(one + b0 * k0, one + b1 * k1, v0, v1)
            flat[2 * LANES + j] += _share(one + c0 * k0, one + c1 * k1, v0, v1)
            flat[3 * LANES + j] += _share(one + d0 * k0, one + d1 * k1, v0, v1)


@njit(**SUMS)
def _meet_one(way, row, keys, v, most, sums):
    """The same for one query."""
    wide()
    one, zero = v.dtype.type(1), v.dtype.type(0)
    for j in range(LANES):
        sums[j] = zero
    for d in range(0, v.shape[0], 4):
        key_0, key_1, key_2, key_3 = keys[d], keys[d + 1], keys[d + 2], keys[d + 3]
        v0, v1, v2, v3 = v[d], v[d + 1], v[d + 2], v[d + 3]
        a0, a1, a2, a3 = row[d], row[d + 1], row[d + 2], row[d + 3]
        for j in range(LANES):
            x0, x1 = pair(way, a0, key_0[j], one, most), pair(way, a1, key_1[j], one, most)
            x2, x3 = pair(way, a2, key_2[j], one, most), pair(way, a3, key_3[j], one, most)
            sums[j] += _share(x0, x1, v0, v1) + _share(x2, x3, v2, v3)


@njit(**EXACT)
def _meet(way, rows, count, keys, v, numbers, sums):
    """Up to four queries and a block of keys, the way that `find_centre` found."""
    cap, reach, _, _ = numbers
    if way == NEAR and count > 1:
        _meet_four(rows, keys, v, sums)
        return
    for r in range(count):
        if way == NEAR:
            _meet_one(AS_NEAR, rows[r], keys, v, cap, sums[r])
        elif way == FAR:
            _meet_one(AS_FAR, rows[r], keys, v, cap, sums[r])
        else:
            _meet_one(AS_APART, rows[r], keys, v, v.dtype.type(0.5) * reach, sums[r])


@njit(**EXACT)
def _any(mask, first, steps, rows, columns):
    """Whether one of these pairs may meet; `first` is where the first of them stands."""
    for i in range(rows):
        for j in range(columns):
            if mask[first + i * steps[1] + j * steps[2]]:
                return True
    return False


@njit(**EXACT)
def _some_energies(  # noqa: PLR0913 - compiled
    a, b, v, masked, mask, first, steps, numbers, parts, own, out
):
    """Write the energies of some queries of one item; blocks that may not meet are left 0."""
    rows, sums, ends, rest, line = parts
    (queries, count), hidden = out.shape, a.shape[1]
    zero, one, two = v.dtype.type(0), v.dtype.type(1), v.dtype.type(2)
    whole = zero
    for d in range(v.shape[0]):
        whole += v[d]
    blocks, width = (count + LANES - 1) // LANES, v.shape[0]
    flat, at = cut(own, 0, blocks * width, LANES)
    laid = flat.reshape(blocks, width, LANES)
    centre, limits = rest[0, :hidden], rest[1, :hidden]
    way = find_centre(a, b, 0, numbers, numbers[3], centre, limits, ends)
    _lay(b, way, centre, limits, line, laid)
    for i in range(0, queries, TOGETHER):
        some = min(TOGETHER, queries - i)
        prepare(a[i : i + some], 0, one, way, centre, limits, rows)
        for k in range(blocks):
            j, columns = k * LANES, min(LANES, count - k * LANES)
            at = first + i * steps[1] + j * steps[2]
            meet = not masked or _any(mask, at, steps, some, columns)
            if meet:
                _meet(way, rows, some, laid[k], v, numbers, sums)
            for r in range(some):
                found, target = sums[r], out[i + r, j : j + columns]
                for c in range(columns):
                    target[c] = whole - two * found[c] if meet else zero


@njit(**EXACT)
def energies(t, task, numbers, a, b, given, out, scratch):
    """Energies, unit by unit: each is ROWS queries of an item."""
    queries, hidden = out.shape[1], a.shape[2]
    chunks = (queries + ROWS - 1) // ROWS
    width = (hidden + ALIGNED - 1) // ALIGNED * ALIGNED
    mask, masked = carray(pointer(t[MASK], np.uint8(0)), (1,)), t[MASK] != 0
    steps = t[BY_ITEM], t[BY_QUERY], t[BY_KEY]
    zero = a.dtype.type(0)
    for n in range(scratch.shape[0]):
        scratch[n] = zero
    rows, at = cut(scratch, 0, TOGETHER, width)
    sums, at = cut(scratch, at, TOGETHER, LANES)
    ends, at = cut(scratch, at, 4, width)
    rest, at = cut(scratch, at, 2, width)
    line, at = cut(scratch, at, 1, width)
    v = scratch[at : at + width]
    for d in range(hidden):
        v[d] = given[d]
    own = scratch[at + width :]
    while True:
        unit = draw(pointer(task, np.int64(0)))
        if unit >= t[UNITS]:
            return
        n, start = unit // chunks, unit % chunks * ROWS
        stop = min(start + ROWS, queries)
        first = n * steps[0] + start * steps[1]
        parts = rows, sums, ends, rest, line
        _some_energies(
            a[n, start:stop], b[n], v, masked, mask, first, steps, numbers, parts, own,
            out[n, start:stop],
        )  # fmt: skip
