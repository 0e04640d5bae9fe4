"""Run loops that need no interpreter on as many threads as torch may use: on torch's own.

torch computes on the threads of an OpenMP library. Those spin for a while after each operation;
threads of another pool would have to share the cores with them. So the loops are handed to the
same library (GOMP_parallel, which is how GNU OpenMP is entered), whose threads are awake already.
Where torch brings another library, threads of Python's take its place; they sleep between calls.
"""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

GRAIN = 2**17
"""Pairs times hidden dimensions that are worth a thread."""


def count(units: int, size: int) -> int:
    """How many threads so many units of work are worth; size: of all, as GRAIN counts.

    One, or all that torch has: an OpenMP library ends threads that a smaller team does not need.
    """
    return 1 if units == 1 or size < 2 * GRAIN else torch.get_num_threads()


def share(task: Any, address: int, threads: int) -> None:
    """Call the C function on so many threads at once, each with this address."""
    if threads == 1:
        task(address)
        return
    parallel = _openmp()
    if parallel is not None:
        parallel(task, address, threads, 0)
        return
    helpers = [_pool().submit(task, address) for _ in range(threads - 1)]
    task(address)
    for helper in helpers:
        if not helper.cancel():
            helper.result()


@cache
def team() -> tuple[int, int, int] | None:
    """Addresses of what a thread asks: its number, how many there are, and to wait for all.

    None where threads are Python's: those are no team.
    """
    library = _library()
    if library is None:
        return None
    names = "omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier"
    number, size, barrier = (
        ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in names
    )
    return number, size, barrier


@cache
def _openmp() -> Callable[[Any, int, int, int], None] | None:
    """GOMP_parallel of the library that torch has loaded; None where it is another."""
    library = _library()
    if library is None:
        return None
    parallel: Any = library.GOMP_parallel
    parallel.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint
    parallel.restype = None
    found: Callable[[Any, int, int, int], None] = parallel
    return found


@cache
def _library() -> ctypes.CDLL | None:
    if "OpenMP" not in torch.__config__.parallel_info():
        return None
    for path in _loaded():
        try:
            library = ctypes.CDLL(path)
            if library.GOMP_parallel and library.GOMP_barrier:
                return library
        except (OSError, AttributeError):
            continue
    return None


def _loaded() -> list[str]:
    """The GNU OpenMP library beside torch's own: other packages may have loaded theirs."""
    folder = Path(torch.__file__).parent
    places = folder / "lib", folder.parent / "torch.libs"
    return [str(path) for place in places for path in sorted(place.glob("libgomp*.so*"))]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="qkv-additive")


if hasattr(os, "register_at_fork"):  # a forked process has no threads but its own
    os.register_at_fork(after_in_child=_pool.cache_clear)
