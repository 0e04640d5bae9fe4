"""What of a task is reached, and how threads that share it find each other."""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

from qkv.attention.kernels.additive.vectors import OUTER, pointer
from qkv.models.compiled import task as t

_FLOAT = np.float32(0)
_WHOLE = np.int64(0)


@intrinsic
def ask(context, address):
    """Call a C function that returns an int."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.IntType(32), []).as_pointer()
        found = builder.call(builder.inttoptr(arguments[0], kind), [])
        return builder.sext(found, ir.IntType(64))

    return types.int64(types.int64), generate


@intrinsic
def tell(context, address):
    """Call a C function that returns nothing."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), []).as_pointer()
        builder.call(builder.inttoptr(arguments[0], kind), [])
        return context.get_dummy_value()

    return types.none(types.int64), generate


@njit(**OUTER)
def floats(address, shape):
    """Numbers that stand at an address."""
    return carray(pointer(address, _FLOAT), shape)


@njit(**OUTER)
def wholes(address, shape):
    """Whole numbers that stand at an address."""
    return carray(pointer(address, _WHOLE), shape)


@njit(**OUTER)
def wait(g, share):
    """Wait for the others that share these rows."""
    if share[1] > 1:
        tell(g[t.BARRIER])


@njit(**OUTER)
def share_of(count, share):
    """Where one's share of so many things begins and ends."""
    return count * share[0] // share[1], count * (share[0] + 1) // share[1]


@njit(**OUTER)
def sentence(g, row):
    """Where the sentence of a row begins in the source, and its tokens."""
    which = wholes(g[t.SENTENCE] + 8 * (row // g[t.BEAMS]), (1,))[0]
    begin = wholes(g[t.START] + 8 * which, (1,))[0]
    return begin, wholes(g[t.COUNT] + 8 * which, (1,))[0]
