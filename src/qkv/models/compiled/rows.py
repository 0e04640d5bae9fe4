"""Rows of numbers, a vector at a time, written as the compiler's own instructions.

A row may have any length: what of its last vector lies behind it is masked.
"""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from qkv.attention.kernels.additive import vectors
from qkv.models.compiled.products import VECTOR, spread
from qkv.models.compiled.task import WIDE

BYTES = 4
WHOLE = ir.IntType(64)
_MASK = ir.VectorType(ir.IntType(1), WIDE)
_BITS = ir.VectorType(ir.IntType(32), WIDE)


def _function(b, name, result, *given):
    return cgutils.get_or_insert_function(b.module, ir.FunctionType(result, given), name)


def add_products(b, x, y, to):
    """x y + to, rounded once."""
    return b.call(_function(b, f"llvm.fmuladd.v{WIDE}f32", VECTOR, *[VECTOR] * 3), [x, y, to])


def inside(b, first, size):
    """Which of the numbers from `first` on lie below size."""
    kind = ir.IntType(32)  # a vector of them is one register
    places = ir.Constant(_BITS, list(range(WIDE)))
    left = spread(b, b.trunc(b.sub(size, first), kind))
    return b.icmp_signed("<", places, left)


def read(b, address, mask):
    """A vector, 0 where the mask says so."""
    kind = VECTOR.as_pointer()
    load = _function(
        b, f"llvm.masked.load.v{WIDE}f32.p0", VECTOR, kind, ir.IntType(32), _MASK, VECTOR
    )
    nothing = ir.Constant(VECTOR, [0.0] * WIDE)
    return b.call(load, [b.inttoptr(address, kind), ir.IntType(32)(BYTES), mask, nothing])


def write(b, vector, address, mask):
    """Leave what the mask says as it is."""
    kind = VECTOR.as_pointer()
    nothing, align = ir.VoidType(), ir.IntType(32)
    store = _function(b, f"llvm.masked.store.v{WIDE}f32.p0", nothing, VECTOR, kind, align, _MASK)
    b.call(store, [vector, b.inttoptr(address, kind), align(BYTES), mask])


class Loop:
    """for i in range(count), count at least 1: sums that are carried from turn to turn."""

    def __init__(self, b, count, sums, begin=0.0):
        self.b, self.count = b, count
        before = b.block
        self.head, self.after = b.append_basic_block("turn"), b.append_basic_block("done")
        b.branch(self.head)
        b.position_at_end(self.head)
        self.i = b.phi(WHOLE)
        self.i.add_incoming(WHOLE(0), before)
        self.sums = [b.phi(VECTOR) for _ in range(sums)]
        for total in self.sums:
            total.add_incoming(ir.Constant(VECTOR, [begin] * WIDE), before)

    def close(self, sums):
        b = self.b
        following = b.add(self.i, WHOLE(1))
        self.i.add_incoming(following, self.head)
        for total, found in zip(self.sums, sums, strict=True):
            total.add_incoming(found, self.head)
        b.cbranch(b.icmp_signed("<", following, self.count), self.head, self.after)
        b.position_at_end(self.after)


def vectors_of(b, count):
    """How many vectors hold so many numbers."""
    return b.lshr(b.add(count, WHOLE(WIDE - 1)), WHOLE(WIDE.bit_length() - 1))


def sum_of(b, vector):
    """The sum of its numbers."""
    kind = ir.FloatType()
    add = _function(b, f"llvm.vector.reduce.fadd.v{WIDE}f32", kind, kind, VECTOR)
    return b.call(add, [kind(-0.0), vector], fastmath=["reassoc"])


def _all(number):
    return ir.Constant(VECTOR, [float(np.float32(number))] * WIDE)


def _exponential(b, x):
    """exp(x), for x from -86 to 86, as `exp_twice` takes it; not a number stays so."""
    shifted = add_products(b, x, _all(vectors._LOG2_E), _all(vectors._MAGIC))
    n = b.fsub(shifted, _all(vectors._MAGIC))
    f = add_products(b, n, _all(-vectors._LN2_HIGH), x)
    f = add_products(b, n, _all(-vectors._LN2_LOW), f)
    found = _all(1 / math.factorial(7))
    for term in range(6, -1, -1):
        found = add_products(b, found, f, _all(1 / math.factorial(term)))
    whole = b.add(b.bitcast(shifted, _BITS), ir.Constant(_BITS, [127] * WIDE))
    return b.fmul(found, b.bitcast(b.shl(whole, ir.Constant(_BITS, [23] * WIDE)), VECTOR))


@intrinsic
def highest_of(context, address, count):
    """The largest of so many numbers; what is no number is passed over."""

    def generate(context, b, signature, arguments):
        address, count = arguments
        loop = Loop(b, vectors_of(b, count), 1, -math.inf)
        first = b.mul(loop.i, WHOLE(WIDE))
        mask = inside(b, first, count)
        x = read(b, b.add(address, b.mul(first, WHOLE(BYTES))), mask)
        higher = b.and_(mask, b.fcmp_ordered(">", x, loop.sums[0]))
        found = b.select(higher, x, loop.sums[0])
        loop.close([found])
        largest = _function(b, f"llvm.vector.reduce.fmax.v{WIDE}f32", ir.FloatType(), VECTOR)
        return b.call(largest, [found])

    return types.float32(types.int64, types.int64), generate


def _exponentials(kept):
    @intrinsic
    def exponentials(context, address, count, highest):
        """The sum of exp(x - highest) of so many numbers, which are written in their places if
        they are kept.

        What lies 86 or more below the highest counts as if it lay just there.
        """

        def generate(context, b, signature, arguments):
            address, count, highest = arguments
            top = spread(b, highest)
            loop = Loop(b, vectors_of(b, count), 1)
            first = b.mul(loop.i, WHOLE(WIDE))
            mask, at = inside(b, first, count), b.add(address, b.mul(first, WHOLE(BYTES)))
            x = b.fsub(read(b, at, mask), top)
            least = _all(-86)
            x = b.select(b.fcmp_ordered("<", x, least), least, x)
            found = b.select(mask, _exponential(b, x), _all(0))
            if kept:
                write(b, found, at, mask)
            found = b.fadd(found, loop.sums[0])
            loop.close([found])
            return sum_of(b, found)

        return types.float32(types.int64, types.int64, types.float32), generate

    return exponentials


exponentials, sum_of_exponentials = _exponentials(True), _exponentials(False)


@intrinsic
def multiply(context, address, count, factor):
    """Multiply so many numbers, in place."""

    def generate(context, b, signature, arguments):
        address, count, factor = arguments
        by = spread(b, factor)
        loop = Loop(b, vectors_of(b, count), 0)
        first = b.mul(loop.i, WHOLE(WIDE))
        mask, at = inside(b, first, count), b.add(address, b.mul(first, WHOLE(BYTES)))
        write(b, b.fmul(read(b, at, mask), by), at, mask)
        loop.close([])
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.float32), generate


@intrinsic
def less(context, address, count, highest, logarithm):
    """x - highest - logarithm, in place."""

    def generate(context, b, signature, arguments):
        address, count, *given = arguments
        loop = Loop(b, vectors_of(b, count), 0)
        first = b.mul(loop.i, WHOLE(WIDE))
        mask, at = inside(b, first, count), b.add(address, b.mul(first, WHOLE(BYTES)))
        found = read(b, at, mask)
        for one in given:
            found = b.fsub(found, spread(b, one))
        write(b, found, at, mask)
        loop.close([])
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.float32, types.float32), generate
