"""What the compiled loops are told, as they read it: numbers in a row, most of them addresses."""

from __future__ import annotations

LANES = 32
"""Keys that the forward pass takes at a time: two vectors of the widest kind."""
TOGETHER = 4
"""Queries that meet them at a time: what is loaded of the keys serves all of these."""
ROWS = 128
"""Queries of a unit of work, forward: enough to pay for its keys' exponentials."""
BLOCK = 64
"""Hidden dimensions that the backward pass takes at a time."""
ALIGNED = 16
"""Rows of scratch memory are multiples of so many numbers: a vector of the widest kind."""


(
    UNIT,
    HELPER,
    UNITS,
    ITEMS,
    QUERIES,
    KEYS,
    HIDDEN,
    A,
    B,
    V,
    ENERGY,
    MASK,
    BY_ITEM,
    BY_QUERY,
    BY_KEY,
    SCRATCH,
    SIZE,
    TO_A,
    TO_B,
    TO_V,
) = range(20)
SLOTS = 20
"""Where each number of a task stands.

UNIT: the next unit of work, HELPER: the next thread; both are counted up. Addresses: A [ITEMS,
QUERIES, HIDDEN], B [ITEMS, KEYS, HIDDEN], V [HIDDEN], ENERGY, or its gradient, [ITEMS, QUERIES,
KEYS], TO_A and TO_B as A and B, TO_V [ITEMS, HIDDEN]. MASK: of bytes, 1 = may meet, with the steps
BY_ITEM, BY_QUERY and BY_KEY; 0 where there is none. SCRATCH: SIZE numbers for each
thread.
"""


def rounded(count: int, step: int) -> int:
    """Return the next multiple of `step`."""
    return -(-count // step) * step
