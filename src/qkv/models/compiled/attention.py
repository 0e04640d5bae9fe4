"""Attention of one query to keys that stand anywhere: compiled loops.

What is read of a vector whose width fills no whole number of machine vectors is masked.
"""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from qkv.attention.kernels.additive.vectors import EXACT, exp_twice, within
from qkv.models.compiled.products import VECTOR, apart, spread
from qkv.models.compiled.task import WIDE

TOGETHER = 4
"""Keys that are compared at a time."""
_HALF = np.float32(0.5)
_REACH = np.float32(43.0)  # exp(2x) is finite, and no denormal, for |x| up to here
_LEAST = np.float32(-math.inf)
_BYTES = 4
_WHOLE = ir.IntType(64)
_MASK = ir.VectorType(ir.IntType(1), WIDE)
_PLACES = ir.VectorType(_WHOLE, WIDE)


def _function(b, name, result, *given):
    return cgutils.get_or_insert_function(b.module, ir.FunctionType(result, given), name)


def _add_products(b, x, y, to):
    return b.call(_function(b, f"llvm.fmuladd.v{WIDE}f32", VECTOR, *[VECTOR] * 3), [x, y, to])


def _inside(b, first, size):
    """Which of the numbers from `first` on lie below size."""
    places = ir.Constant(_PLACES, list(range(WIDE)))
    return b.icmp_signed("<", b.add(places, spread(b, first)), spread(b, size))


def _read(b, address, mask):
    """A vector, 0 where the mask says so."""
    kind = VECTOR.as_pointer()
    load = _function(
        b, f"llvm.masked.load.v{WIDE}f32.p0", VECTOR, kind, ir.IntType(32), _MASK, VECTOR
    )
    nothing = ir.Constant(VECTOR, [0.0] * WIDE)
    return b.call(load, [b.inttoptr(address, kind), ir.IntType(32)(_BYTES), mask, nothing])


def _write(b, vector, address, mask):
    kind = VECTOR.as_pointer()
    nothing, align = ir.VoidType(), ir.IntType(32)
    store = _function(b, f"llvm.masked.store.v{WIDE}f32.p0", nothing, VECTOR, kind, align, _MASK)
    b.call(store, [vector, b.inttoptr(address, kind), align(_BYTES), mask])


def _word(b, address, place):
    """The whole number at this place behind an address."""
    return b.load(b.gep(b.inttoptr(address, _WHOLE.as_pointer()), [place]))


class _Loop:
    """for i in range(count), count at least 1: sums that are carried from turn to turn."""

    def __init__(self, b, count, sums):
        self.b, self.count = b, count
        before = b.block
        self.head, self.after = b.append_basic_block("turn"), b.append_basic_block("done")
        b.branch(self.head)
        b.position_at_end(self.head)
        self.i = b.phi(_WHOLE)
        self.i.add_incoming(_WHOLE(0), before)
        self.sums = [b.phi(VECTOR) for _ in range(sums)]
        for total in self.sums:
            total.add_incoming(ir.Constant(VECTOR, [0.0] * WIDE), before)

    def close(self, sums):
        b = self.b
        following = b.add(self.i, _WHOLE(1))
        self.i.add_incoming(following, self.head)
        for total, found in zip(self.sums, sums, strict=True):
            total.add_incoming(found, self.head)
        b.cbranch(b.icmp_signed("<", following, self.count), self.head, self.after)
        b.position_at_end(self.after)


@intrinsic
def _compare(context, query, keys, size, energies):
    """energies[n] = query . key n, for TOGETHER keys; keys: where their addresses stand."""

    def generate(context, b, signature, arguments):
        query, keys, size, energies = arguments
        rows = [_word(b, keys, _WHOLE(n)) for n in range(TOGETHER)]
        vectors = b.lshr(b.add(size, _WHOLE(WIDE - 1)), _WHOLE(WIDE.bit_length() - 1))
        loop = _Loop(b, vectors, TOGETHER)
        first = b.mul(loop.i, _WHOLE(WIDE))
        mask, at = _inside(b, first, size), b.mul(first, _WHOLE(_BYTES))
        asked = _read(b, b.add(query, at), mask)
        found = [
            _add_products(b, asked, _read(b, b.add(row, at), mask), total)
            for row, total in zip(rows, loop.sums, strict=True)
        ]
        loop.close(found)
        out = b.inttoptr(energies, ir.FloatType().as_pointer())
        for n, total in enumerate(found):
            b.store(_sum(b, total), b.gep(out, [_WHOLE(n)]), align=_BYTES)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 4), generate


def _sum(b, vector):
    kind = ir.FloatType()
    add = _function(b, f"llvm.vector.reduce.fadd.v{WIDE}f32", kind, kind, VECTOR)
    return b.call(add, [kind(-0.0), vector], fastmath=["reassoc"])


def _mixer(parts):
    @intrinsic
    def mix(context, weights, keys, count, offset, out, size):
        """out = sum_n weights[n] value n, of up to `parts` vectors; value n is `offset` bytes
        behind key n."""

        def generate(context, b, signature, arguments):
            weights, keys, count, offset, out, size = arguments
            masks = [_inside(b, _WHOLE(WIDE * p), size) for p in range(parts)]
            step = [_WHOLE(WIDE * p * _BYTES) for p in range(parts)]
            loop = _Loop(b, count, parts)
            given = b.inttoptr(weights, ir.FloatType().as_pointer())
            weight = spread(b, b.load(b.gep(given, [loop.i]), align=_BYTES))
            row = b.add(_word(b, keys, loop.i), offset)
            found = [
                _add_products(b, weight, _read(b, b.add(row, at), mask), total)
                for at, mask, total in zip(step, masks, loop.sums, strict=True)
            ]
            loop.close(found)
            for at, mask, total in zip(step, masks, found, strict=True):
                _write(b, total, b.add(out, at), mask)
            return context.get_dummy_value()

        return types.none(*[types.int64] * 6), generate

    return mix


_mix_4, _mix_2, _mix_1 = (_mixer(parts) for parts in (4, 2, 1))


@intrinsic
def _sum_of(context, address):
    """The sum of a vector."""

    def generate(context, b, signature, arguments):
        return _sum(b, b.load(b.inttoptr(arguments[0], VECTOR.as_pointer()), align=_BYTES))

    return types.float32(types.int64), generate


@intrinsic
def _highest_of(context, address):
    """The largest number of a vector; what is no number is passed over."""

    def generate(context, b, signature, arguments):
        found = b.load(b.inttoptr(arguments[0], VECTOR.as_pointer()), align=_BYTES)
        largest = _function(b, f"llvm.vector.reduce.fmax.v{WIDE}f32", ir.FloatType(), VECTOR)
        return b.call(largest, [found])

    return types.float32(types.int64), generate


@njit(**EXACT)
def _softmax(energies):
    """In place, of a whole number of vectors."""
    count = energies.shape[0]
    highest = _LEAST
    for first in range(0, count, WIDE):
        one = _highest_of(energies[first : first + WIDE].ctypes.data)
        highest = one if one > highest else highest
    found = np.float32(0)
    for first in range(0, count, WIDE):
        part = energies[first : first + WIDE]
        for n in range(WIDE):
            part[n] = exp_twice(within((part[n] - highest) * _HALF, _REACH))
        found += _sum_of(part.ctypes.data)
    scale = np.float32(1) / found
    for first in range(0, count, WIDE):
        part = energies[first : first + WIDE]
        for n in range(WIDE):
            part[n] *= scale


@njit(**EXACT)
def attend(query, keys, count, offset, out, size, energies):
    """out = sum_n softmax(query . key)[n] value[n]; the weights are left in `energies`.

    query, out: addresses of `size` numbers. keys: the keys' addresses, with room for TOGETHER
    more; value n stands `offset` bytes behind key n. energies: room for whole vectors.
    """
    apart()
    for n in range(count, count + TOGETHER):
        keys[n] = keys[count - 1]
    where, weights = keys.ctypes.data, energies.ctypes.data
    for n in range(0, count, TOGETHER):
        _compare(query, where + 8 * n, size, weights + _BYTES * n)
    whole = (count + WIDE - 1) // WIDE * WIDE
    energies[count:whole] = _LEAST
    _softmax(energies[:whole])
    for d in range(0, size, 4 * WIDE):
        left, at, to = size - d, offset + _BYTES * d, out + _BYTES * d
        if left > 2 * WIDE:
            _mix_4(weights, where, count, at, to, left)
        elif left > WIDE:
            _mix_2(weights, where, count, at, to, left)
        else:
            _mix_1(weights, where, count, at, to, left)
