"""Attention of one query to keys that stand anywhere: compiled loops.

What is read of a vector whose width fills no whole number of machine vectors is masked.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from qkv.attention.kernels.additive.vectors import OUTER
from qkv.models.compiled.products import apart, fetch
from qkv.models.compiled.rows import (
    BYTES,
    WHOLE,
    Loop,
    add_products,
    exponentials,
    highest_of,
    inside,
    multiply,
    read,
    spread,
    sum_of,
    vectors_of,
    write,
)
from qkv.models.compiled.task import WIDE

TOGETHER = 4
"""Keys that are compared at a time."""


def _word(b, address, place):
    """The whole number at this place behind an address."""
    return b.load(b.gep(b.inttoptr(address, WHOLE.as_pointer()), [place]))


@intrinsic
def _compare(context, query, keys, size, energies):
    """energies[n] = query . key n, for TOGETHER keys; keys: where their addresses stand."""

    def generate(context, b, signature, arguments):
        query, keys, size, energies = arguments
        rows = [_word(b, keys, WHOLE(n)) for n in range(TOGETHER)]
        loop = Loop(b, vectors_of(b, size), TOGETHER)
        first = b.mul(loop.i, WHOLE(WIDE))
        mask, at = inside(b, first, size), b.mul(first, WHOLE(BYTES))
        asked = read(b, b.add(query, at), mask)
        found = [
            add_products(b, asked, read(b, b.add(row, at), mask), total)
            for row, total in zip(rows, loop.sums, strict=True)
        ]
        loop.close(found)
        out = b.inttoptr(energies, ir.FloatType().as_pointer())
        for n, total in enumerate(found):
            b.store(sum_of(b, total), b.gep(out, [WHOLE(n)]), align=BYTES)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 4), generate


def _mixer(parts):
    @intrinsic
    def mix(context, weights, keys, count, offset, out, size):
        """out = sum_n weights[n] value n, of up to `parts` vectors; value n is `offset` bytes
        behind key n."""

        def generate(context, b, signature, arguments):
            weights, keys, count, offset, out, size = arguments
            masks = [inside(b, WHOLE(WIDE * p), size) for p in range(parts)]
            step = [WHOLE(WIDE * p * BYTES) for p in range(parts)]
            loop = Loop(b, count, parts)
            given = b.inttoptr(weights, ir.FloatType().as_pointer())
            weight = spread(b, b.load(b.gep(given, [loop.i]), align=BYTES))
            row = b.add(_word(b, keys, loop.i), offset)
            found = [
                add_products(b, weight, read(b, b.add(row, at), mask), total)
                for at, mask, total in zip(step, masks, loop.sums, strict=True)
            ]
            loop.close(found)
            for at, mask, total in zip(step, masks, found, strict=True):
                write(b, total, b.add(out, at), mask)
            return context.get_dummy_value()

        return types.none(*[types.int64] * 6), generate

    return mix


_mix_4, _mix_2, _mix_1 = (_mixer(parts) for parts in (4, 2, 1))


@njit(**OUTER)
def fetch_rows(keys, offset, size):
    """Ask for keys of so many bytes, and their values, for soon."""
    for j in range(keys.shape[0]):
        for at in range(0, size, 64):
            fetch(keys[j] + at)
            fetch(keys[j] + offset + at)


@njit(**OUTER)
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
        _compare(query, where + 8 * n, size, weights + BYTES * n)
    found = exponentials(weights, count, highest_of(weights, count))
    multiply(weights, count, np.float32(1) / found)
    for d in range(0, size, 4 * WIDE):
        left, at, to = size - d, offset + BYTES * d, out + BYTES * d
        if left > 2 * WIDE:
            _mix_4(weights, where, count, at, to, left)
        elif left > WIDE:
            _mix_2(weights, where, count, at, to, left)
        else:
            _mix_1(weights, where, count, at, to, left)
