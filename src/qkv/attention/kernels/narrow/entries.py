"""What the loops start at: each function takes the address of a task (see `task`)."""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import carray, njit

from qkv.attention.kernels.additive.vectors import NUMBERS_32, NUMBERS_64, OUTER, draw, pointer
from qkv.attention.kernels.narrow.loops import attend, slopes
from qkv.attention.kernels.narrow.sums import sums
from qkv.attention.kernels.narrow.task import (
    ALPHA,
    CENTRE,
    CONTEXT,
    FIRST,
    HELPER,
    ITEMS,
    KEYS,
    LOG,
    MIXED,
    MOST,
    QUERIES,
    RATES,
    READ,
    SCRATCH,
    SHARED,
    SHARED_VALUE,
    SIZE,
    SLOPE,
    SLOTS,
    STOP,
    TO_A,
    TO_B,
    TO_CENTRE,
    TO_MIXED,
    TO_V,
    TO_VALUE,
    VALUE,
    WIDTH,
    A,
    B,
    V,
)


@njit(**OUTER)
def _scratch(task, like, bytes_each):
    """The task, and the scratch memory of this thread."""
    t = carray(pointer(task, np.int64(0)), (SLOTS,))
    helper = draw(pointer(task + 8 * HELPER, np.int64(0)))
    own = t[SCRATCH] + helper * t[SIZE] * bytes_each
    return t, carray(pointer(own, like), (t[SIZE],))


@njit(**OUTER)
def _runs(t, like):
    rows = t[ITEMS], t[QUERIES]
    first = carray(pointer(t[FIRST], np.int64(0)), rows)
    stop = carray(pointer(t[STOP], np.int64(0)), rows)
    return first, stop, carray(pointer(t[CENTRE], like), rows)


@njit(**OUTER)
def _pairs(t, at, like):
    return carray(pointer(at, like), (t[ITEMS], t[QUERIES], t[MOST]))


@njit(**OUTER)
def _sides(t, like):
    a = carray(pointer(t[A], like), (t[ITEMS], t[QUERIES], t[WIDTH]))
    b = carray(pointer(t[B], like), (t[ITEMS] * t[SHARED] + 1, t[KEYS], t[WIDTH]))
    v = carray(pointer(t[V], like), (t[WIDTH],))
    return a, b, v, carray(pointer(t[RATES], like), (2,))


@njit(**OUTER)
def _values(t, like):
    value = carray(pointer(t[VALUE], like), (t[ITEMS] * t[SHARED_VALUE] + 1, t[KEYS], t[READ]))
    context = carray(pointer(t[CONTEXT], like), (t[ITEMS], t[QUERIES], t[READ]))
    return value, context, carray(pointer(t[LOG], like), (t[ITEMS], t[QUERIES]))


@njit(**OUTER)
def _run_attend(task, numbers, like, size):
    t, scratch = _scratch(task, like, size)
    a, b, v, rates = _sides(t, like)
    value, context, logs = _values(t, like)
    made = _pairs(t, t[ALPHA], like), _pairs(t, t[MIXED], like), context, logs
    attend(t, task, numbers, (a, b, v, value, rates), _runs(t, like), made, scratch)


@njit(**OUTER)
def _run_slopes(task, numbers, like, size):
    t, scratch = _scratch(task, like, size)
    value, sent, to_logs = _values(t, like)
    sides = value, carray(pointer(t[RATES], like), (2,))
    to_centre = carray(pointer(t[TO_CENTRE], like), (t[ITEMS], t[QUERIES]))
    made = _pairs(t, t[ALPHA], like), _pairs(t, t[SLOPE], like), to_centre
    given = sent, to_logs, _pairs(t, t[TO_MIXED], like)
    slopes(t, task, numbers, sides, _runs(t, like), made, given, scratch)


@njit(**OUTER)
def _run_sums(task, numbers, like, size):
    t, scratch = _scratch(task, like, size)
    sides = _sides(t, like)
    _, sent, _ = _values(t, like)
    to_a = carray(pointer(t[TO_A], like), (t[ITEMS], t[QUERIES], t[WIDTH]))
    to_b = carray(pointer(t[TO_B], like), (t[ITEMS], t[KEYS], t[WIDTH]))
    to_v = carray(pointer(t[TO_V], like), (t[ITEMS], t[WIDTH]))
    to_value = carray(pointer(t[TO_VALUE], like), (t[ITEMS], t[KEYS], t[READ]))
    pairs = _pairs(t, t[SLOPE], like), _pairs(t, t[MIXED], like)
    found = to_a, to_b, to_v, to_value
    sums(t, task, numbers, sides, _runs(t, like), pairs, sent, found, scratch)


def attend_32(task):
    """Scores, softmax, Gaussian and context in float32."""
    _run_attend(task, NUMBERS_32, np.float32(0), 4)


def attend_64(task):
    """Scores, softmax, Gaussian and context in float64."""
    _run_attend(task, NUMBERS_64, np.float64(0), 8)


def slopes_32(task):
    """The gradients of energies and centres in float32."""
    _run_slopes(task, NUMBERS_32, np.float32(0), 4)


def slopes_64(task):
    """The gradients of energies and centres in float64."""
    _run_slopes(task, NUMBERS_64, np.float64(0), 8)


def sums_32(task):
    """The gradients of queries, keys and values in float32."""
    _run_sums(task, NUMBERS_32, np.float32(0), 4)


def sums_64(task):
    """The gradients of queries, keys and values in float64."""
    _run_sums(task, NUMBERS_64, np.float64(0), 8)
