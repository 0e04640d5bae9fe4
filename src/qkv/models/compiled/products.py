"""Products of a few rows and a weight that is laid out in panels: compiled loops.

A panel is LANES columns of the weight, one row of them after another, so that it is read in the
order of the memory. Of some rows by a panel, all sums stay in registers. In int8 four rows of the
weight stand together, and are multiplied with four numbers at once (AVX-512 VNNI).
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
from qkv.models.compiled.task import LANES, WIDE

MOST = 12
"""Rows at a time: with two vectors of a panel each they fill the 32 wide registers."""
_FEATURES = get_host_cpu_features()
TALL = 12 if _FEATURES.get("avx512f") else 2
EIGHT_BITS = bool(_FEATURES.get("avx512vnni"))
"""Whether this processor sums four products of int8 in one instruction, in wide registers."""
_BYTES = 4
_PARTS = LANES // WIDE
VECTOR = ir.VectorType(ir.FloatType(), WIDE)
_WHOLES = ir.VectorType(ir.IntType(32), WIDE)
_SMALL = ir.VectorType(ir.IntType(8), WIDE * _BYTES)


@intrinsic
def apart(context):
    """Fill the widest vectors, and stay a function: what is merged into another obeys that one."""

    def generate(context, builder, signature, arguments):
        attributes = builder.function.attributes
        attributes.add("noinline")
        set.add(attributes, '"prefer-vector-width"="512"')  # its own add() knows no such names
        return context.get_dummy_value()

    return types.none(), generate


def _tile(rows, multiply):
    """Build the function that multiplies so many rows and a panel."""

    @intrinsic
    def tile(context, given, floor):
        """out = max(a[rows, depth] panel[depth, LANES] + bias + base, floor).

        given: addresses and how many bytes a row moves on, (a, step, its scales, panel, depth,
        notes, base, step, out, step). The panel behind this one is fetched meanwhile.
        """

        def generate(context, builder, signature, arguments):
            given = cgutils.unpack_tuple(builder, arguments[0])
            _multiply(builder, rows, multiply, given, arguments[1])
            return context.get_dummy_value()

        return types.none(types.UniTuple(types.int64, 10), types.float32), generate

    return tile


class _Floats:
    """Numbers are float32. notes: the bias."""

    sums = VECTOR

    def __init__(self, b, rows, notes, scales):
        self.b = b
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        self.add = cgutils.get_or_insert_function(b.module, kind, f"llvm.fmuladd.v{WIDE}f32")
        self.bias = [_vector(b, notes, c) for c in range(_PARTS)]

    def add_products(self, a, w, total):
        return self.b.call(self.add, [self.b.bitcast(a, VECTOR), w, total])

    def begin(self, part, base):
        return self.b.fadd(self.bias[part], base)

    def end(self, row, part, total, base):
        return total


class _Eighths:
    """Four numbers of a row in 32 bits, each 128 too large; of the panel, whole ones.

    notes: scales, the sums that are to be taken away for the 128, biases. They are float32 and
    int32 in turn.
    """

    sums = _WHOLES

    def __init__(self, b, rows, notes, scales):
        self.b = b
        kind = ir.FunctionType(_WHOLES, [_WHOLES, _SMALL, _SMALL])
        name = "llvm.x86.avx512.vpdpbusd.512"
        self.add = cgutils.get_or_insert_function(b.module, kind, name)
        self.notes = notes
        given = b.inttoptr(scales, ir.FloatType().as_pointer())
        self.rows = [
            spread(b, b.load(b.gep(given, [ir.IntType(64)(r)]), align=_BYTES)) for r in range(rows)
        ]

    def add_products(self, a, w, total):
        b = self.b
        return b.call(self.add, [total, b.bitcast(a, _SMALL), b.bitcast(w, _SMALL)])

    def begin(self, part, base):
        return self.b.bitcast(_vector(self.b, self.notes, _PARTS + part), _WHOLES)

    def end(self, row, part, total, base):
        b = self.b
        scale = b.fmul(self.rows[row], _vector(b, self.notes, part))
        bias = _vector(b, self.notes, 2 * _PARTS + part)
        return b.fadd(b.fmul(b.sitofp(total, VECTOR), scale), b.fadd(bias, base))


def _vector(b, address, place):
    """A vector of those that begin at an address."""
    place = place if isinstance(place, ir.Value) else ir.IntType(64)(place)
    at = b.gep(b.inttoptr(address, VECTOR.as_pointer()), [place])
    return b.load(at, align=_BYTES)


def _multiply(b, rows, kind, given, floor):
    """Write the loop over the depth, with rows x LANES sums in registers."""
    a, step, scales, panel, depth, notes, base, base_step, out, out_step = given
    whole = ir.IntType(64)

    def of_row(address, row_step, row):
        return b.add(address, b.mul(row_step, whole(row)))

    kind = kind(b, rows, notes, scales)
    starts = [b.inttoptr(of_row(a, step, r), ir.IntType(32).as_pointer()) for r in range(rows)]
    parts = range(_PARTS)
    bases = [[_vector(b, of_row(base, base_step, r), c) for c in parts] for r in range(rows)]
    begun = [[kind.begin(c, one) for c, one in zip(parts, row, strict=True)] for row in bases]
    following_panel = b.add(panel, b.mul(depth, whole(_BYTES * LANES)))
    before = b.block
    head, after = b.append_basic_block("depth"), b.append_basic_block("done")
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(whole)
    i.add_incoming(whole(0), before)
    sums = [[b.phi(kind.sums) for _ in parts] for _ in range(rows)]
    at = b.mul(i, whole(_PARTS))
    loaded = [_vector(b, panel, b.add(at, whole(c))) for c in parts]
    for c in parts:
        _fetch(b, following_panel, b.add(at, whole(c)))
    following = b.add(i, whole(1))
    i.add_incoming(following, head)
    for start, row, first in zip(starts, sums, begun, strict=True):
        number = spread(b, b.load(b.gep(start, [i]), align=_BYTES))
        for w, total, one in zip(loaded, row, first, strict=True):
            total.add_incoming(one, before)
            total.add_incoming(kind.add_products(number, w, total), head)
    b.cbranch(b.icmp_signed("<", following, depth), head, after)
    b.position_at_end(after)
    least = spread(b, floor)
    for r, row in enumerate(sums):
        target = b.inttoptr(of_row(out, out_step, r), VECTOR.as_pointer())
        for c, total in enumerate(row):
            found = kind.end(r, c, total.incomings[1][0], bases[r][c])
            found = b.select(b.fcmp_ordered("<", found, least), least, found)
            b.store(found, b.gep(target, [whole(c)]), align=_BYTES)


def _fetch(b, address, place):
    """Ask for the vector that stands there, for later."""
    at = b.gep(b.inttoptr(address, VECTOR.as_pointer()), [place])
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    ask = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0i8")
    b.call(ask, [b.bitcast(at, byte), number(0), number(2), number(1)])


@intrinsic
def fetch(context, address):
    """Ask for what stands there, for later."""

    def generate(context, builder, signature, arguments):
        _fetch(builder, arguments[0], ir.IntType(64)(0))
        return context.get_dummy_value()

    return types.none(types.int64), generate


def spread(b, number):
    """The number in every place of a vector."""
    kind = ir.VectorType(number.type, WIDE)
    first = b.insert_element(ir.Constant(kind, ir.Undefined), number, ir.IntType(32)(0))
    zeros = ir.Constant(_WHOLES, [0] * WIDE)
    return b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)


def _rows_at_a_time(multiply):
    """Build the function that multiplies as many rows as fit, and says how many."""
    tile_12, tile_8, tile_4, tile_2, tile_1 = (_tile(n, multiply) for n in (12, 8, 4, 2, 1))

    @njit(**OUTER)
    def some_rows(left, given, floor):
        apart()
        if left >= 12 and TALL >= 12:
            tile_12(given, floor)
            return 12
        if left >= 8 and TALL >= 8:
            tile_8(given, floor)
            return 8
        if left >= 4 and TALL >= 4:
            tile_4(given, floor)
            return 4
        if left >= 2:
            tile_2(given, floor)
            return 2
        tile_1(given, floor)
        return 1

    return some_rows


@njit(**OUTER)
def _joined(one, other):
    return one + other


def _product(some_rows, notes_vectors):
    @njit(**OUTER)
    def product(a, weight, notes, base, out, floor, share, room):
        """out = max(a W + bias + base, floor), for one share (index, of how many) of the columns.

        a: (address, bytes of a row, address of the rows' scales, 32-bit words of a row). out
        [rows, columns]; weight and notes are addresses of panels, base that of what is like out,
        or 0. room [2 MOST + 1, LANES]: for a panel that is wider than what is left, and a row of
        zeros.
        """
        apart()
        read, step, scales, depth = a
        rows, columns = out.shape
        panels = (columns + LANES - 1) // LANES
        zeros, line = room[2 * MOST].ctypes.data, LANES * _BYTES
        for p in range(panels * share[0] // share[1], panels * (share[0] + 1) // share[1]):
            panel, noted = weight + p * depth * line, notes + p * notes_vectors * line
            first = p * LANES
            r = 0
            while r < rows:
                at = (r * columns + first) * _BYTES
                start, move = (base + at, columns * _BYTES) if base else (zeros, 0)
                one = (read + r * step, step, scales + r * _BYTES, panel, depth, noted)
                if first + LANES <= columns:
                    given = _joined(one, (start, move, out.ctypes.data + at, columns * _BYTES))
                    r += some_rows(rows - r, given, floor)
                    continue
                size = columns - first
                for i in range(min(rows - r, MOST)):
                    row = carray(pointer(start + i * move, np.float32(0)), (LANES,))
                    room[i, :size] = row[:size]
                given = _joined(one, (room.ctypes.data, line, room[MOST].ctypes.data, line))
                done = some_rows(rows - r, given, floor)
                for i in range(done):
                    out[r + i, first:columns] = room[MOST + i, :size]
                r += done

    return product


product = _product(_rows_at_a_time(_Floats), 1)
product_8 = _product(_rows_at_a_time(_Eighths), 3) if EIGHT_BITS else product
