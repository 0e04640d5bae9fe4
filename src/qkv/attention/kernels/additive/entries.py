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
from qkv.attention.kernels.additive.steps import step
from qkv.attention.kernels.additive.task import (
    CONTEXT,
    GRADIENT,
    HELPER,
    HIDDEN,
    ITEMS,
    KEYS,
    LOG,
    PAIRS,
    QUERIES,
    READ,
    SCRATCH,
    SIZE,
    SLOTS,
    TO_A,
    TO_B,
    TO_V,
    TO_VALUE,
    VALUE,
    WIDTH,
    A,
    B,
    V,
)
from qkv.attention.kernels.additive.vectors import NUMBERS_32, NUMBERS_64, OUTER, draw, pointer
from qkv.attention.kernels.additive.whole import attend, slopes


@njit(**OUTER)
def _scratch(task, like, bytes_each):
    """The task, and the scratch memory of this thread."""
    t = carray(pointer(task, np.int64(0)), (SLOTS,))
    helper = draw(pointer(task + 8 * HELPER, np.int64(0)))
    own = t[SCRATCH] + helper * t[SIZE] * bytes_each
    return t, carray(pointer(own, like), (t[SIZE],))


@njit(**OUTER)
def _sides(t, like):
    """Queries, keys and v."""
    a = carray(pointer(t[A], like), (t[ITEMS], t[QUERIES], t[HIDDEN]))
    b = carray(pointer(t[B], like), (t[ITEMS], t[KEYS], t[HIDDEN]))
    return a, b, carray(pointer(t[V], like), (t[HIDDEN],))


@njit(**OUTER)
def _pairs(t, at, like):
    return carray(pointer(at, like), (t[ITEMS], t[QUERIES], t[KEYS]))


@njit(**OUTER)
def _read(t, like):
    """Values, what is read of them, and the log-normaliser of each query."""
    value = carray(pointer(t[VALUE], like), (t[ITEMS], t[KEYS], t[READ]))
    context = carray(pointer(t[CONTEXT], like), (t[ITEMS], t[QUERIES], t[READ]))
    return value, context, carray(pointer(t[LOG], like), (t[ITEMS], t[QUERIES]))


@njit(**OUTER)
def _run_energies(task, numbers, like, size):
    t, scratch = _scratch(task, like, size)
    a, b, v = _sides(t, like)
    energies(t, task, numbers, a, b, v, _pairs(t, t[PAIRS], like), scratch)


@njit(**OUTER)
def _run_attend(task, numbers, like, size):
    t, scratch = _scratch(task, like, size)
    a, b, v = _sides(t, like)
    value, context, logs = _read(t, like)
    weights = _pairs(t, t[PAIRS], like)
    attend(t, task, numbers, a, b, v, value, weights, logs, context, scratch)


@njit(**OUTER)
def _run_step(task, numbers, like, size):
    t, scratch = _scratch(task, like, size)
    query, _, v = _sides(t, like)
    value, context, _ = _read(t, like)
    table = carray(pointer(t[B], like), (t[ITEMS], t[KEYS] + 2, t[WIDTH]))
    weights = _pairs(t, t[PAIRS], like)
    step(t, task, numbers, query, table, v, value, weights, context, scratch)


@njit(**OUTER)
def _run_slopes(task, like, size):
    t, scratch = _scratch(task, like, size)
    value, sent, to_logs = _read(t, like)
    weights, gradient = _pairs(t, t[PAIRS], like), _pairs(t, t[GRADIENT], like)
    to_value = carray(pointer(t[TO_VALUE], like), value.shape)
    slopes(t, task, weights, value, sent, to_logs, gradient, to_value, scratch)


@njit(**OUTER)
def _run_gradients(task, numbers, like, size):
    t, scratch = _scratch(task, like, size)
    a, b, v = _sides(t, like)
    to_a = carray(pointer(t[TO_A], like), a.shape)
    to_b = carray(pointer(t[TO_B], like), b.shape)
    to_v = carray(pointer(t[TO_V], like), (a.shape[0], a.shape[2]))
    g = _pairs(t, t[GRADIENT], like)
    gradients(t, task, numbers, a, b, g, v, to_a, to_b, to_v, scratch)


def energies_32(task):
    """The energies in float32."""
    _run_energies(task, NUMBERS_32, np.float32(0), 4)


def energies_64(task):
    """The energies in float64."""
    _run_energies(task, NUMBERS_64, np.float64(0), 8)


def attend_32(task):
    """Scores, softmax and context in float32."""
    _run_attend(task, NUMBERS_32, np.float32(0), 4)


def attend_64(task):
    """Scores, softmax and context in float64."""
    _run_attend(task, NUMBERS_64, np.float64(0), 8)


def step_32(task):
    """A decoder's step in float32."""
    _run_step(task, NUMBERS_32, np.float32(0), 4)


def slopes_32(task):
    """The gradients of energies and values in float32."""
    _run_slopes(task, np.float32(0), 4)


def slopes_64(task):
    """The gradients of energies and values in float64."""
    _run_slopes(task, np.float64(0), 8)


def gradients_32(task):
    """The gradients in float32."""
    _run_gradients(task, NUMBERS_32, np.float32(0), 4)


def gradients_64(task):
    """The gradients in float64."""
    _run_gradients(task, NUMBERS_64, np.float64(0), 8)
