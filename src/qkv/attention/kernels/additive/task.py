"""What the compiled loops are told, as they read it: numbers in a row, most of them addresses."""

from __future__ import annotations

LANES = 16
"""Keys that the forward pass takes at a time: a vector of the widest kind."""
TOGETHER = 4
"""Queries that meet them at a time: what is loaded of the keys serves all of these."""
ROWS = 256
"""Queries of a unit of work, forward: enough to pay for its keys' exponentials."""
BLOCK = 64
"""Hidden dimensions that the backward pass takes at a time."""
ALIGNED = 16
"""Rows of scratch memory are multiples of so many numbers: a vector of the widest kind."""

KEYS_TOGETHER = 64
"""Keys of a unit of work whose values get their gradient."""


(
    UNIT,
    HELPER,
    UNITS,
    ITEMS,
    QUERIES,
    KEYS,
    HIDDEN,
    READ,
    A,
    B,
    V,
    VALUE,
    PAIRS,
    CONTEXT,
    LOG,
    GRADIENT,
    FILLED,
    MASK,
    BY_ITEM,
    BY_QUERY,
    BY_KEY,
    SCRATCH,
    SIZE,
    TO_A,
    TO_B,
    TO_V,
    TO_VALUE,
    WIDTH,
    SPAN,
) = range(29)
SLOTS = 29
"""Where each number of a task stands.

UNIT: the next unit of work, HELPER: the next thread; both are counted up. Addresses, 0 where there
is nothing: A [ITEMS, QUERIES, HIDDEN], B [ITEMS, KEYS, HIDDEN], V [HIDDEN], VALUE [ITEMS, KEYS,
READ]; PAIRS, energies or weights, and GRADIENT, theirs, [ITEMS, QUERIES, KEYS]; CONTEXT, or its
gradient, [ITEMS, QUERIES, READ]; LOG, the log-normaliser or its gradient, [ITEMS, QUERIES]; TO_A,
TO_B and TO_VALUE as A, B and VALUE, TO_V [ITEMS, HIDDEN]. FILLED: 1 where GRADIENT holds what the
weights got from elsewhere. MASK: of bytes, 1 = may meet, with the steps BY_ITEM, BY_QUERY and
BY_KEY. SCRATCH: SIZE numbers for each thread. WIDTH: of a table (see
`steps`), which stands in the place of B. SPAN: hidden dimensions of a unit, BLOCKs of them.
"""


def rounded(count: int, step: int) -> int:
    """Return the next multiple of `step`."""
    return -(-count // step) * step
