"""What the compiled loops start at: each function takes the address of a task (see `task`).

It holds no lock of the interpreter, and may be called by several threads at once: each draws one
unit of work after another, and writes what no other unit writes, so that the result depends on
nobody's pace.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import carray, njit

from qkv.attention.kernels.additive.backward import gradients
from qkv.attention.kernels.additive.forward import energies
from qkv.attention.kernels.additive.task import (
    ENERGY,
    HELPER,
    HIDDEN,
    ITEMS,
    KEYS,
    QUERIES,
    SCRATCH,
    SIZE,
    SLOTS,
    TO_A,
    TO_B,
    TO_V,
    A,
    B,
    V,
)
from qkv.attention.kernels.additive.vectors import EXACT, NUMBERS_32, NUMBERS_64, draw, pointer


@njit(**EXACT)
def _arrays(task, like, bytes_each):
    """What both passes share: the task, queries, keys, energies, and this thread's scratch."""
    t = carray(pointer(task, np.int64(0)), (SLOTS,))
    items, queries, count, hidden = t[ITEMS], t[QUERIES], t[KEYS], t[HIDDEN]
    a = carray(pointer(t[A], like), (items, queries, hidden))
    b = carray(pointer(t[B], like), (items, count, hidden))
    energy = carray(pointer(t[ENERGY], like), (items, queries, count))
    helper = draw(pointer(task + 8 * HELPER, np.int64(0)))
    own = t[SCRATCH] + helper * t[SIZE] * bytes_each
    return t, a, b, energy, carray(pointer(own, like), (t[SIZE],))


@njit(**EXACT)
def _run_energies(task, numbers, like, size):
    t, a, b, out, scratch = _arrays(task, like, size)
    v = carray(pointer(t[V], like), (a.shape[2],))
    energies(t, task, numbers, a, b, v, out, scratch)


@njit(**EXACT)
def _run_gradients(task, numbers, like, size):
    t, a, b, g, scratch = _arrays(task, like, size)
    to_a = carray(pointer(t[TO_A], like), a.shape)
    to_b = carray(pointer(t[TO_B], like), b.shape)
    to_v = carray(pointer(t[TO_V], like), (a.shape[0], a.shape[2]))
    gradients(t, task, numbers, a, b, g, to_a, to_b, to_v, scratch)


def energies_32(task):
    """The energies in float32."""
    _run_energies(task, NUMBERS_32, np.float32(0), 4)


def energies_64(task):
    """The energies in float64."""
    _run_energies(task, NUMBERS_64, np.float64(0), 8)


def gradients_32(task):
    """The gradients in float32."""
    _run_gradients(task, NUMBERS_32, np.float32(0), 4)


def gradients_64(task):
    """The gradients in float64."""
    _run_gradients(task, NUMBERS_64, np.float64(0), 8)
