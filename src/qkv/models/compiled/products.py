"""Products of a few rows and a weight that is laid out in panels: compiled loops.

A panel is LANES columns of the weight, one row of them after another, so that it is read in the
order of the memory. Of some rows by a panel, all sums stay in registers.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from qkv.attention.kernels.additive.vectors import OUTER, pointer
from qkv.models.compiled.task import LANES

MOST = 12
"""Rows at a time: with two vectors of a panel each they fill the 32 wide registers."""
TALL = 12 if get_host_cpu_features().get("avx512f") else 2
_BYTES = 4
_WIDE = 16
_VECTOR = ir.VectorType(ir.FloatType(), _WIDE)
_PARTS = LANES // _WIDE


@intrinsic
def apart(context):
    """Fill the widest vectors, and stay a function: what is merged into another obeys that one."""

    def generate(context, builder, signature, arguments):
        attributes = builder.function.attributes
        attributes.add("noinline")
        set.add(attributes, '"prefer-vector-width"="512"')  # its own add() knows no such names
        return context.get_dummy_value()

    return types.none(), generate


def _tile(rows):
    """Build the function that multiplies so many rows and a panel."""

    @intrinsic
    def tile(context, given, floor):
        """out = max(a[rows, depth] panel[depth, LANES] + bias + base, floor).

        given: addresses and how many numbers a row moves on, (a, step, panel, depth, bias, base,
        step, out, step). The panel behind this one is fetched meanwhile.
        """

        def generate(context, builder, signature, arguments):
            _multiply(builder, rows, cgutils.unpack_tuple(builder, arguments[0]), arguments[1])
            return context.get_dummy_value()

        return types.none(types.UniTuple(types.int64, 9), types.float32), generate

    return tile


def _multiply(b, rows, given, floor):
    """Write the loop over the depth, with rows x LANES sums in registers."""
    a, step, panel, depth, bias, base, base_step, out, out_step = given
    whole = ir.IntType(64)

    def vector(address, row_step, row, place):
        at = b.add(address, b.mul(row_step, whole(_BYTES * row)))
        return b.gep(b.inttoptr(at, _VECTOR.as_pointer()), [place])

    fma = cgutils.get_or_insert_function(
        b.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fmuladd.v{_WIDE}f32"
    )
    starts = [
        b.inttoptr(b.add(a, b.mul(step, whole(_BYTES * r))), ir.FloatType().as_pointer())
        for r in range(rows)
    ]
    parts = [whole(c) for c in range(_PARTS)]
    biases = [b.load(vector(bias, whole(0), 0, c), align=_BYTES) for c in parts]
    begun = [
        [
            b.fadd(n, b.load(vector(base, base_step, r, c), align=_BYTES))
            for c, n in zip(parts, biases, strict=True)
        ]
        for r in range(rows)
    ]
    following_panel = b.add(panel, b.mul(depth, whole(_BYTES * LANES)))
    before = b.block
    head, after = b.append_basic_block("depth"), b.append_basic_block("done")
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(whole)
    i.add_incoming(whole(0), before)
    sums = [[b.phi(_VECTOR) for _ in parts] for _ in range(rows)]
    at = b.mul(i, whole(_PARTS))
    loaded = [b.load(vector(panel, whole(0), 0, b.add(at, c)), align=_BYTES) for c in parts]
    for c in parts:
        _fetch(b, vector(following_panel, whole(0), 0, b.add(at, c)))
    following = b.add(i, whole(1))
    i.add_incoming(following, head)
    for start, row, first in zip(starts, sums, begun, strict=True):
        number = _spread(b, b.load(b.gep(start, [i]), align=_BYTES))
        for w, total, one in zip(loaded, row, first, strict=True):
            total.add_incoming(one, before)
            total.add_incoming(b.call(fma, [number, w, total]), head)
    b.cbranch(b.icmp_signed("<", following, depth), head, after)
    b.position_at_end(after)
    least = _spread(b, floor)
    for r, row in enumerate(sums):
        for c, total in zip(parts, row, strict=True):
            found = total.incomings[1][0]
            found = b.select(b.fcmp_ordered("<", found, least), least, found)
            b.store(found, vector(out, out_step, r, c), align=_BYTES)


def _fetch(b, address):
    """Ask for what stands there, for later."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    fetch = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0i8")
    b.call(fetch, [b.bitcast(address, byte), number(0), number(2), number(1)])


def _spread(b, number):
    """The number in every place of a vector."""
    empty = ir.Constant(_VECTOR, ir.Undefined)
    first = b.insert_element(empty, number, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), _WIDE), [0] * _WIDE)
    return b.shuffle_vector(first, empty, zeros)


_tile_12, _tile_8, _tile_4, _tile_2, _tile_1 = (_tile(rows) for rows in (12, 8, 4, 2, 1))


@njit(**OUTER)
def _some_rows(left, given, floor):
    """Multiply as many rows as fit, and say how many."""
    apart()
    if left >= 12 and TALL >= 12:
        _tile_12(given, floor)
        return 12
    if left >= 8 and TALL >= 8:
        _tile_8(given, floor)
        return 8
    if left >= 4 and TALL >= 4:
        _tile_4(given, floor)
        return 4
    if left >= 2:
        _tile_2(given, floor)
        return 2
    _tile_1(given, floor)
    return 1


@njit(**OUTER)
def product(a, weight, bias, base, out, floor, share, room):
    """out = max(a W + bias + base, floor), for one share (index, of how many) of the columns.

    a [rows, depth], out [rows, columns]; weight and bias are addresses of panels, base that of
    what is like out, or 0. room [2 MOST + 1, LANES]: for a panel that is wider than what is left,
    and a row of zeros.
    """
    apart()
    rows, depth = a.shape
    columns = out.shape[1]
    panels = (columns + LANES - 1) // LANES
    zeros = room[2 * MOST].ctypes.data
    for p in range(panels * share[0] // share[1], panels * (share[0] + 1) // share[1]):
        panel, added = weight + p * depth * LANES * _BYTES, bias + p * LANES * _BYTES
        first = p * LANES
        r = 0
        while r < rows:
            read, at = a[r].ctypes.data, (r * columns + first) * _BYTES
            start, step = (base + at, columns) if base else (zeros, 0)
            if first + LANES <= columns:
                target = out.ctypes.data + at
                given = (read, depth, panel, depth, added, start, step, target, columns)
                r += _some_rows(rows - r, given, floor)
                continue
            size = columns - first
            for i in range(min(rows - r, MOST)):
                row = carray(pointer(start + i * step * _BYTES, np.float32(0)), (LANES,))
                room[i, :size] = row[:size]
            target = room[MOST].ctypes.data
            given = (read, depth, panel, depth, added, room.ctypes.data, LANES, target, LANES)
            done = _some_rows(rows - r, given, floor)
            for i in range(done):
                out[r + i, first:columns] = room[MOST + i, :size]
            r += done
