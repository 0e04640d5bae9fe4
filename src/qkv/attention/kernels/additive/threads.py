"""Share loops that need no interpreter among as many threads as torch may use.

The threads sleep between calls: unlike a second OpenMP pool they never spin against torch's own.
Each takes the next share when it is done with one, so a thread that is late delays nobody.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

GRAIN = 2**20
"""Pairs times hidden dimensions that are worth waking a thread for (measured)."""
SHARES = 4
"""Shares a thread."""


def share(task: Callable[[int, int], None], units: int, size: int) -> None:
    """Run task(first, last) until units 0 to `units` are done; size: of all, as GRAIN counts."""
    threads = min(torch.get_num_threads(), units, size // GRAIN)
    if threads <= 1:
        task(0, units)
        return
    parts = min(units, threads * SHARES)
    numbers = itertools.count()  # next() is one step of the interpreter: no share comes twice

    def work() -> None:
        for part in numbers:
            if part >= parts:
                return
            task(part * units // parts, (part + 1) * units // parts)

    helpers = [_pool().submit(work) for _ in range(threads - 1)]
    work()
    for helper in helpers:
        if not helper.cancel():
            helper.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="qkv-additive")


if hasattr(os, "register_at_fork"):  # a forked process has no threads but its own
    os.register_at_fork(after_in_child=_pool.cache_clear)
