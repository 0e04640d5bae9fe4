"""The gradients of the additive energies as loops, which numba compiles.

    s = r - 1/2 = -tanh / 2,   d tanh = 1 - 4 s^2

With g that of the energies, a gets v sum_j g (1 - 4 s^2), b the same over i, and v -2 sum_ij g s.
So of each pair and dimension g s is summed, and g s^2 to either side; the sums of g itself are
found once for a block of dimensions. Four queries share a division:
1 / q0 = q1 (q2 q3) / ((q0 q1) (q2 q3)).
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import njit

from qkv.attention.kernels.additive.lanes import (
    fused,
    load,
    over,
    splat,
    spread,
    store,
    total,
    unfused,
)
from qkv.attention.kernels.additive.task import ALIGNED, BLOCK, SPAN, UNITS
from qkv.attention.kernels.additive.vectors import (
    APART,
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
    find_centre,
    inverse,
    pair,
    pointer,
    prepare,
    wide,
)

CHUNKS = BLOCK // ALIGNED
_KEY = 2 * ALIGNED  # a key's dimensions of a chunk, and the sums of g s^2 to them


@njit(**EXACT)
def _meet_four(g, start, stop, at, asked, to, all_of, keys):
    """Add what four queries and the keys from `start` to `stop` give, in ALIGNED dimensions.

    g: a row for each query. asked, to: the queries from `at` on, and the sums to them. keys: of
    this chunk.
    """
    wide()
    one, half = splat(asked.dtype.type(1)), splat(asked.dtype.type(-0.5))
    at_1, at_2, at_3 = at + BLOCK, at + 2 * BLOCK, at + 3 * BLOCK
    g_1, g_2, g_3 = g.shape[1], 2 * g.shape[1], 3 * g.shape[1]
    a0, a1, a2, a3 = load(asked, at), load(asked, at_1), load(asked, at_2), load(asked, at_3)
    to_0, to_1, to_2, to_3 = load(to, at), load(to, at_1), load(to, at_2), load(to, at_3)
    every = load(all_of, at)
    for j in range(start, stop):
        key, to_key = load(keys, _KEY * j), load(keys, _KEY * j + ALIGNED)
        q0, q1 = fused(a0, key, one), fused(a1, key, one)
        q2, q3 = fused(a2, key, one), fused(a3, key, one)
        first, second = q0 * q1, q2 * q3
        both = over(first * second)
        first, second = both * second, both * first
        s0, s1 = fused(first, q1, half), fused(first, q0, half)
        s2, s3 = fused(second, q3, half), fused(second, q2, half)
        t0, t1 = spread(g, j) * s0, spread(g, g_1 + j) * s1
        t2, t3 = spread(g, g_2 + j) * s2, spread(g, g_3 + j) * s3
        to_0, to_1 = fused(t0, s0, to_0), fused(t1, s1, to_1)
        to_2, to_3 = fused(t2, s2, to_2), fused(t3, s3, to_3)
        to_key = fused(t3, s3, fused(t2, s2, fused(t1, s1, fused(t0, s0, to_key))))
        store(keys, _KEY * j + ALIGNED, to_key)
        every = every + ((t0 + t1) + (t2 + t3))
    store(to, at, to_0)
    store(to, at_1, to_1)
    store(to, at_2, to_2)
    store(to, at_3, to_3)
    store(all_of, at, every)


@njit(**SUMS)
def _meet_one(way, g, asked, to, all_of, keys, most):
    """The same for one query and all keys, one division each."""
    wide()
    one, half, zero = asked.dtype.type(1), asked.dtype.type(0.5), asked.dtype.type(0)
    for j in range(keys.shape[0]):
        h = g[j]
        if h != zero:
            key = keys[j]
            for d in range(ALIGNED):
                s = inverse(pair(way, asked[d], key[d], one, most)) - half
                t = h * s
                to[d] += t * s
                key[ALIGNED + d] += t * s
                all_of[d] += t


@njit(**EXACT)
def _meet(way, g, at, asked, to, all_of, keys, numbers):
    """One query, the way that `find_centre` found."""
    cap, reach, _, _ = numbers
    asked, to, all_of = asked[at : at + ALIGNED], to[at : at + ALIGNED], all_of[at : at + ALIGNED]
    if way in (NEAR, QUADS):
        _meet_one(AS_NEAR, g, asked, to, all_of, keys, cap)
    elif way == FAR:
        _meet_one(AS_FAR, g, asked, to, all_of, keys, cap)
    else:
        _meet_one(AS_APART, g, asked, to, all_of, keys, asked.dtype.type(0.5) * reach)


@njit(**EXACT)
def _numbers(rows):
    """Whether four queries are all numbers: what is none would spoil the others'."""
    wide()
    every = load(rows, 0)
    for at in range(ALIGNED, 4 * BLOCK, ALIGNED):
        every = every + load(rows, at)
    one = total(every)
    return one - one == rows.dtype.type(0)


@njit(**SUMS)
def _gather(given, i, some, count, g, to_keys, sums):
    """Take the energies' gradients of some queries from `i` on, and add them to each key's.

    Return whether a key gets nothing of them.
    """
    wide()
    zero, empty = g.dtype.type(0), g.dtype.type(0)
    one, padded = g.dtype.type(1), to_keys.shape[0]
    for r in range(4):
        row = g[r]
        source = given[min(i + r, given.shape[0] - 1)]
        for j in range(count if r < some else 0):
            row[j] = source[j]
        for j in range(count if r < some else 0, padded):
            row[j] = zero
        sums[r] = zero
    g0, g1, g2, g3 = g[0], g[1], g[2], g[3]
    for j in range(padded):
        to_keys[j] += (g0[j] + g1[j]) + (g2[j] + g3[j])
    for j in range(padded):
        some_is = (g0[j] != zero) | (g1[j] != zero) | (g2[j] != zero) | (g3[j] != zero)
        empty += zero if some_is else one
    for r in range(4):
        every = splat(zero)
        for at in range(r * padded, (r + 1) * padded, ALIGNED):
            every = every + load(g, at)
        sums[r] = total(every)
    return empty > padded - count


@njit(**EXACT)
def _runs(g, count, empty, chunks, asked, to, all_of, keys):
    """Four queries and all keys that get something of them, as many in a row as there are."""
    zero = g.dtype.type(0)
    g0, g1, g2, g3 = g[0], g[1], g[2], g[3]
    start = 0
    while start < count:
        stop = start if empty else count
        while stop < count and (
            g0[stop] != zero or g1[stop] != zero or g2[stop] != zero or g3[stop] != zero
        ):
            stop += 1
        if stop > start:
            for c in range(chunks):
                _meet_four(g, start, stop, c * ALIGNED, asked, to, all_of, keys[c])
        start = stop + 1  # the one between gets nothing


@njit(**EXACT)
def _write(v, whole, sums, at, target, to, width):
    """v (whole - 4 sums): a query's gradient, or a key's; the sums from `at` on go to `to`."""
    full = width // ALIGNED * ALIGNED
    for d in range(0, full, ALIGNED):
        less = unfused(splat(v.dtype.type(4)), load(sums, at + d), splat(whole))
        store(target, to + d, load(v, d) * less)
    for d in range(full, width):
        target[to + d] = v[d] * (whole - v.dtype.type(4) * sums[at + d])


@njit(**EXACT)
def _some_gradients(  # noqa: PLR0913 - compiled
    a, i, given, v, start, way, numbers, parts, to_a
):
    """Write the gradients of up to four queries from `i` on, and add to those of the keys."""
    wide()
    keys, asked, to, all_of, g, to_keys, sums, _, rest = parts
    count, width, one = keys.shape[1], v.shape[0], v.dtype.type(1)
    some, chunks = min(4, a.shape[0] - i), (width + ALIGNED - 1) // ALIGNED
    centre, limits = rest[0, :width], rest[1, :width]
    prepare(a, i, some, start, one, way, centre, limits, asked)
    for r in range(some, 4):  # one that is missing counts for nothing
        copy(asked[0], asked[r])
    for at in range(0, 4 * BLOCK, ALIGNED):
        store(to, at, splat(one - one))
    empty = _gather(given, i, some, count, g, to_keys, sums)
    if way == QUADS and _numbers(asked):
        _runs(g, count, empty, chunks, asked, to, all_of, keys)
    else:
        for r in range(some):
            for c in range(chunks):
                _meet(way, g[r], c * ALIGNED, asked[r], to[r * BLOCK :], all_of, keys[c], numbers)
    for r in range(some):
        _write(v, sums[r], to, r * BLOCK, to_a, (i + r) * a.shape[1] + start, width)


@njit(**EXACT)
def _find_way(a, at, width, numbers, rest, ends):
    """Centre these dimensions; QUADS if (1 + exp(2 top))^4 is within the cap's square."""
    way, tops, stop = APART, rest[2, :width], at + width
    if a.shape[0] > 1:
        own = ends[0, at:stop], ends[1, at:stop], ends[2, at:stop], ends[3, at:stop]
        way = find_centre(own, numbers, rest[0, :width], rest[1, :width], tops)
    if way == NEAR:
        way = QUADS
        for d in range(width):
            way = way if tops[d] <= a.dtype.type(0.5) * numbers[3] else NEAR
    return way


@njit(**EXACT)
def _block(a, b, g, v, start, first, numbers, parts, to_a, to_b):  # noqa: PLR0913 - compiled
    """Fill a block of the gradients of a and b, and the sums of g s; `first` is the unit's."""
    wide()
    keys, _, _, all_of, _, to_keys, _, ends, rest = parts
    width, count, one = v.shape[0], keys.shape[1], v.dtype.type(1)
    way = _find_way(a, start - first, width, numbers, rest, ends)
    for d in range(BLOCK):
        all_of[d] = one - one
    for j in range(to_keys.shape[0]):
        to_keys[j] = one - one
    for c in range(0, width, ALIGNED):
        stop, chunk = min(c + ALIGNED, width), keys[c // ALIGNED]
        prepare(b, 0, count, start + c, -one, way, rest[0, c:stop], rest[1, c:stop], chunk)
        for j in range(count):
            store(chunk, _KEY * j + ALIGNED, splat(one - one))
    for i in range(0, a.shape[0], 4):
        _some_gradients(a, i, g, v, start, way, numbers, parts, to_a)
    for c in range(0, width, ALIGNED):
        stop, sums = min(c + ALIGNED, width), keys[c // ALIGNED].reshape(count * _KEY)
        for j in range(count):
            at, to = _KEY * j + ALIGNED, j * a.shape[1] + start + c
            _write(v[c:stop], to_keys[j], sums, at, to_b, to, stop - c)


@njit(**OUTER)
def gradients(  # noqa: PLR0913 - compiled
    t, task, numbers, a, b, g, v, to_a, to_b, to_v, scratch
):
    """Gradients, unit by unit: each is a SPAN of dimensions of an item. to_v: sums of g s."""
    hidden, count, span = a.shape[2], b.shape[1], t[SPAN]
    spans, padded = (hidden + span - 1) // span, (count + ALIGNED - 1) // ALIGNED * ALIGNED
    for n in range(scratch.shape[0]):
        scratch[n] = scratch.dtype.type(0)
    keys, at = cut(scratch, 0, CHUNKS, count * _KEY)
    asked, at = cut(scratch, at, 4, BLOCK)
    to, at = scratch[at : at + 4 * BLOCK], at + 4 * BLOCK
    ends, at = cut(scratch, at, 4, span)
    rest, at = cut(scratch, at, 3, BLOCK)
    all_of, at = scratch[at : at + BLOCK], at + BLOCK
    rows, at = cut(scratch, at, 4, padded)
    to_keys, sums = scratch[at : at + padded], scratch[at + padded : at + padded + 4]
    keys = keys.reshape(CHUNKS, count, _KEY)
    parts = keys, asked, to, all_of, rows, to_keys, sums, ends, rest
    while True:
        unit = draw(pointer(task, np.int64(0)))
        if unit >= t[UNITS]:
            return
        n, first = unit // spans, unit % spans * span
        last = min(first + span, hidden)
        flat_a, flat_b = to_a[n].reshape(to_a[n].size), to_b[n].reshape(to_b[n].size)
        ends_of(a[n], first, ends[0, : last - first], ends[1, : last - first])
        ends_of(b[n], first, ends[2, : last - first], ends[3, : last - first])
        for start in range(first, last, BLOCK):
            stop = min(start + BLOCK, last)
            _block(a[n], b[n], g[n], v[start:stop], start, first, numbers, parts, flat_a, flat_b)
            copy(all_of[: stop - start], to_v[n, start:stop])
