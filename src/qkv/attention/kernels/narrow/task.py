"""What the loops are told, as they read it: numbers in a row, most of them addresses."""

from __future__ import annotations

CHUNK = 16
"""Queries of a unit of work."""
REACH = 2
"""Exponentials are shared where the runs of a unit's queries span so many times the longest."""
BLOCK = 64
"""Numbers of a vector that the sums take at a time."""

(
    UNIT,
    HELPER,
    UNITS,
    ITEMS,
    QUERIES,
    KEYS,
    WIDTH,
    READ,
    MOST,
    SHARED,
    SHARED_VALUE,
    A,
    B,
    V,
    VALUE,
    FIRST,
    STOP,
    CENTRE,
    RATES,
    ALPHA,
    MIXED,
    CONTEXT,
    LOG,
    TO_MIXED,
    SLOPE,
    TO_A,
    TO_B,
    TO_V,
    TO_VALUE,
    TO_CENTRE,
    SCRATCH,
    SIZE,
) = range(32)
SLOTS = 32
"""Where each number of a task stands.

UNIT: the next unit of work, HELPER: the next thread; both are counted up. Addresses, 0 where there
is nothing: A [ITEMS, QUERIES, WIDTH], B [ITEMS, KEYS, WIDTH], VALUE [ITEMS, KEYS, READ], of one
item where SHARED (SHARED_VALUE) is 0 and not 1; V [WIDTH], for a score that adds; FIRST and STOP,
the run of each query, CENTRE, where its Gaussian stands, and LOG, its log-normaliser, [ITEMS,
QUERIES]; RATES, 1 / (4 sigma^2) and what a dot product is multiplied by; ALPHA, the softmax's
weights, MIXED, those with the Gaussian, and SLOPE, the gradients of the energies, [ITEMS, QUERIES,
MOST]: a column is a key's place in its run. CONTEXT [ITEMS, QUERIES, READ]. Backward CONTEXT, LOG
and TO_MIXED are the gradients given, the others with TO those found; TO_V [ITEMS, WIDTH], TO_B and
TO_VALUE of every item. SCRATCH: SIZE numbers for each thread.
"""
