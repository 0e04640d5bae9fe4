"""Memory that one update frees is the next one's, without a page fault for each 4 KB of it."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_LARGE = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let the C library keep large blocks that are freed; return whether it can be told to.

    By default glibc hands each block above some megabytes back to the system and gets a new one,
    empty, for the next tensor of its size: every page of it then faults when first touched.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGE) and mallopt(_TRIM_THRESHOLD, _LARGE))
