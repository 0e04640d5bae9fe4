"""What both passes of the compiled additive kernels stand on.

    tanh(a + b) = 1 - 2 r,   r = 1 / (1 + exp(2a) exp(2b)),   d tanh = 4 r (1 - r)

Exponentials are taken once a query and once a key. Where the product of two of them cannot stand
for exp(2(a + b)) (see `find_centre`), each pair takes its own.
"""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, types
from numba.extending import intrinsic, overload

from qkv.attention.kernels.additive.lanes import (
    Vector,
    bounded,
    exponential,
    fused,
    load,
    power_of_two,
    splat,
    spread,
    store,
    unfused,
)
from qkv.attention.kernels.additive.ranges import LIMITS
from qkv.attention.kernels.additive.task import ALIGNED

# Sums may be reordered, so that they fill a vector; what is not finite stays what it is. Only
# loops call loops. References to arrays are not counted: that costs as much as a short row does.
_BARE = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}
_BARE |= {"error_model": "numpy"}
SUMS = _BARE | {"fastmath": {"contract", "reassoc"}}
EXACT = _BARE | {"fastmath": {"contract"}}
ESTIMATE = _BARE | {"fastmath": {"contract", "arcp", "ninf"}}
"""A vector of float32 is divided by estimating the reciprocal, to 12 bits or more, and one step of
Newton's: within two roundings, in a third of the time. What is divided by must be finite."""
OUTER = EXACT | {"_nrt": True}
"""For what makes arrays of memory: that needs counted references."""

NUMBERS_32, NUMBERS_64 = (  # cap, reach, saturation, and the x whose exp(2x) is the cap
    tuple(kind(n) for n in (limits.cap, limits.reach, limits.saturation, math.log(limits.cap) / 2))
    for kind, limits in ((np.float32, LIMITS[torch.float32]), (np.float64, LIMITS[torch.float64]))
)
NEAR, FAR, APART = 0, 1, 2
QUADS = -1
"""Nearer than near: four reciprocals can be had of one division."""

_MAGIC = np.float32(1.5 * 2**23)  # added and taken away, it rounds to a whole number
_LOG2_E = np.float32(math.log2(math.e))
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(math.log(2) - 0.693359375)
_C2, _C3, _C4, _C5, _C6 = (np.float32(1 / math.factorial(n)) for n in range(2, 7))
_C7 = np.float32(1 / math.factorial(7))
_ONE = np.float32(1)
_MANTISSA = np.int32(23)
_EXPONENT_OF_ONE = np.int32(127)


@intrinsic
def wide(context):
    """Fill the widest vectors: for some processors LLVM takes half of them unless told."""

    def generate(context, builder, signature, arguments):
        attributes = builder.function.attributes
        set.add(attributes, '"prefer-vector-width"="512"')  # its own add() knows no such names
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def pointer(context, address, like):
    """The address as a pointer to numbers like this one."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(types.int64, like), generate


@intrinsic
def draw(context, counter):
    """Return what is counted, and count one on: nobody else gets the same."""

    def generate(context, builder, signature, arguments):
        one = context.get_constant(types.int64, 1)
        return builder.atomic_rmw("add", arguments[0], one, "monotonic")

    return types.int64(types.CPointer(types.int64)), generate


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


@njit(**EXACT)
def _exp_twice_of_vector(x):
    """The same of a vector."""
    y = x + x
    shifted = fused(y, splat(_LOG2_E), splat(_MAGIC))
    n = shifted - splat(_MAGIC)
    f = unfused(n, splat(_LN2_LOW), unfused(n, splat(_LN2_HIGH), y))
    p = fused(fused(splat(_C7), f, splat(_C6)), f, splat(_C5))
    p = fused(fused(p, f, splat(_C4)), f, splat(_C3))
    p = fused(fused(p, f, splat(_C2)), f, splat(_ONE))
    return fused(p, f, splat(_ONE)) * power_of_two(shifted)


@overload(exp_twice)
def _exp_twice(x):
    if isinstance(x, Vector):
        if x.number == types.float32:
            return lambda x: _exp_twice_of_vector(x)
        return lambda x: exponential(x + x)
    if x == types.float32:
        return lambda x: _exp_twice_32(x)
    return lambda x: math.exp(x + x)


def inverse(x):
    """1 / x, for a finite x."""


@njit(**ESTIMATE)
def _inverse_32(x):
    return _ONE / x


@overload(inverse)
def _inverse(x):
    if x == types.float32:
        return lambda x: _inverse_32(x)
    return lambda x: 1.0 / x


@njit(**EXACT)
def within(x, limit):
    """Bring x to [-limit, limit]; not a number stays so."""
    x = limit if x > limit else x
    return -limit if x < -limit else x


def pair(way, a, b, one, most):
    """1 + exp(2(a + b)), the way that the type of a number says.

    Of exponentials: AS_NEAR; AS_FAR, not above `most`. Of a and b themselves: AS_APART.
    """


AS_NEAR, AS_FAR, AS_APART = np.int8(0), np.int16(0), np.int32(0)


@overload(pair)
def _pair(way, a, b, one, most):
    if way == types.int8:
        return lambda way, a, b, one, most: one + a * b
    if way == types.int16:
        return lambda way, a, b, one, most: within(one + a * b, most)
    return lambda way, a, b, one, most: one + exp_twice(within(a + b, most))


@njit(**EXACT)
def copy(source, target):
    """Fill a row."""
    for n in range(target.shape[0]):
        target[n] = source[n]


# Slices are taken of whole rows, one row at a time: the compiler then knows that a row's numbers
# stand one after another.
@njit(**EXACT)
def _lower(x, y):
    return x if x < y else y


@njit(**EXACT)
def _higher(x, y):
    return x if x > y else y


@njit(**EXACT)
def ends_of(rows, start, low, high):
    """The lowest and highest number of each column from `start` on; four rows at a time."""
    wide()
    width, last = low.shape[0], rows.shape[0] - 1
    copy(rows[0, start : start + width], low)
    copy(rows[0, start : start + width], high)
    for i in range(0, rows.shape[0], 4):
        w, x = rows[i, start : start + width], rows[min(i + 1, last), start : start + width]
        y = rows[min(i + 2, last), start : start + width]
        z = rows[min(i + 3, last), start : start + width]
        for d in range(width):
            low[d] = _lower(_lower(w[d], x[d]), _lower(_lower(y[d], z[d]), low[d]))
            high[d] = _higher(_higher(w[d], x[d]), _higher(_higher(y[d], z[d]), high[d]))


@njit(**EXACT)
def find_centre(ends, numbers, centre, limits, tops):
    """Find, for each dimension, what to add to a and take from b; say which way is open.

    The side that varies less, by half a range h, is centred: it lies within h. On the other,
    whatever lies beyond h + saturation meets nothing but saturated tanh, so it may be brought
    there. The exponentials are finite, and not 0, if h + saturation is within `reach`. tops: the
    largest sum of the two sides; if exp of twice that is within the cap, none is needed. ends: the
    lowest and highest of a, and of b.
    """
    wide()
    _, reach, saturation, most = numbers
    half, beyond, above = centre.dtype.type(0.5), 0, 0
    width = centre.shape[0]
    low, high, below, top = ends[0], ends[1], ends[2], ends[3]
    for d in range(width):
        a_half, b_half = half * (high[d] - low[d]), half * (top[d] - below[d])
        on_key = b_half <= a_half
        middle = half * below[d] + half * top[d] if on_key else -half * low[d] - half * high[d]
        limit = (b_half if on_key else a_half) + saturation
        most_of_both = within(high[d] + middle, limit) + within(top[d] - middle, limit)
        centre[d], limits[d], tops[d] = middle, limit, most_of_both
        beyond += 0 if limit <= reach else 1  # not a number, too
        above += 0 if most_of_both <= most else 1
    return APART if beyond else FAR if above else NEAR


@njit(**EXACT)
def prepare(rows, first, some, start, sign, way, centre, limits, out):  # noqa: PLR0913
    """out = exp(2 (row + sign centre)), or the row as it is, of some rows, from `start` on."""
    wide()
    width, step = centre.shape[0], rows.shape[1]
    if way == APART:
        for j in range(some):
            copy(rows[first + j, start : start + width], out[j, :width])
        return
    whole = width // ALIGNED * ALIGNED
    for j in range(some):
        at, to = (first + j) * step + start, j * out.shape[1]
        for d in range(0, whole, ALIGNED):
            x = fused(splat(sign), load(centre, d), load(rows, at + d))
            store(out, to + d, exp_twice(bounded(x, load(limits, d))))
        for d in range(whole, width):
            x = rows[first + j, start + d] + sign * centre[d]
            out[j, d] = exp_twice(within(x, limits[d]))


@njit(**OUTER)
def cut(scratch, at, rows, width):
    """Rows of this width from the scratch memory, and where the rest of it begins."""
    return scratch[at : at + rows * width].reshape(rows, width), at + rows * width


@njit(**EXACT)
def _store_four(out, to, x0, x1, x2, x3):
    store(out, to, x0)
    store(out, to + ALIGNED, x1)
    store(out, to + 2 * ALIGNED, x2)
    store(out, to + 3 * ALIGNED, x3)


@njit(**EXACT)
def _mix_wide(weights, at, steps, rows, d, out, to, some):
    """Four vectors from dimension d on, as `mix` does."""
    wide()
    (terms, by_row, by_term), step = steps, rows.shape[1]
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = splat(rows.dtype.type(0))
    c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = a0
    for n in range(terms):
        i, j = at + n * by_term, n * step + d
        x0, x1 = load(rows, j), load(rows, j + ALIGNED)
        x2, x3 = load(rows, j + 2 * ALIGNED), load(rows, j + 3 * ALIGNED)
        w = spread(weights, i)
        a0, a1, a2, a3 = fused(w, x0, a0), fused(w, x1, a1), fused(w, x2, a2), fused(w, x3, a3)
        w = spread(weights, i + by_row)
        b0, b1, b2, b3 = fused(w, x0, b0), fused(w, x1, b1), fused(w, x2, b2), fused(w, x3, b3)
        w = spread(weights, i + 2 * by_row)
        c0, c1, c2, c3 = fused(w, x0, c0), fused(w, x1, c1), fused(w, x2, c2), fused(w, x3, c3)
        w = spread(weights, i + 3 * by_row)
        d0, d1, d2, d3 = fused(w, x0, d0), fused(w, x1, d1), fused(w, x2, d2), fused(w, x3, d3)
    to += d
    _store_four(out, to, a0, a1, a2, a3)
    if some > 1:
        _store_four(out, to + step, b0, b1, b2, b3)
    if some > 2:
        _store_four(out, to + 2 * step, c0, c1, c2, c3)
    if some > 3:
        _store_four(out, to + 3 * step, d0, d1, d2, d3)


@njit(**EXACT)
def _mix_narrow(weights, at, steps, rows, d, out, to, some):
    """One vector from dimension d on."""
    wide()
    (terms, by_row, by_term), step = steps, rows.shape[1]
    a0 = b0 = c0 = d0 = splat(rows.dtype.type(0))
    for n in range(terms):
        i, x = at + n * by_term, load(rows, n * step + d)
        a0, b0 = fused(spread(weights, i), x, a0), fused(spread(weights, i + by_row), x, b0)
        c0 = fused(spread(weights, i + 2 * by_row), x, c0)
        d0 = fused(spread(weights, i + 3 * by_row), x, d0)
    to += d
    store(out, to, a0)
    if some > 1:
        store(out, to + step, b0)
    if some > 2:
        store(out, to + 2 * step, c0)
    if some > 3:
        store(out, to + 3 * step, d0)


@njit(**SUMS)
def mix(weights, at, steps, rows, out, to, some):
    """out[to + r width + d] = sum_n weights[at + r by_row + n by_term] rows[n, d], for r < some.

    steps: how many terms, by_row, by_term. Four rows (some is at most that) and four vectors are
    summed in registers; where there are less rows, weights of four are read all the same.
    """
    wide()
    (terms, by_row, by_term), width = steps, rows.shape[1]
    d, zero = 0, rows.dtype.type(0)
    while d + 4 * ALIGNED <= width:
        _mix_wide(weights, at, steps, rows, d, out, to, some)
        d += 4 * ALIGNED
    while d + ALIGNED <= width:
        _mix_narrow(weights, at, steps, rows, d, out, to, some)
        d += ALIGNED
    for r in range(some if d < width else 0):
        target = out[to + r * width + d : to + (r + 1) * width]
        for k in range(target.shape[0]):
            target[k] = zero
        for n in range(terms):
            w, source = weights[at + r * by_row + n * by_term], rows[n, d:]
            for k in range(target.shape[0]):
                target[k] += w * source[k]
