"""How much memory a process has held at most."""

from __future__ import annotations

import re
import sys
from pathlib import Path

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]

_STATUS = Path("/proc/self/status")


def peak_memory() -> float | None:
    """Return the peak resident set of this process, in MiB; None where the system cannot tell.

    Linux hands the peak of `getrusage` down to a new process from the one that started it, so a
    small child of a large parent would seem large; the high-water mark of the process's own
    address space is not inherited.
    """
    if _STATUS.exists() and (own := re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())):
        return int(own[1]) / 1024
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit) / 2**20
