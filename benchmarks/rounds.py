"""How this project measures: ways that do the same work, in turn, A B A B, in one process.

Outputs are compared first, and a way whose outputs differ is refused, not timed. Told are the
median and the spread of the rounds. Memory is measured in a process of its own.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

Way = Callable[[], Sequence[Tensor]]


def agree(ways: Mapping[str, Way], tolerance: float) -> None:
    """Refuse to measure ways whose outputs are not those of the first.

    Each number may be off by the tolerance times the largest of its output.

    Raises:
        AssertionError: naming the way that differs.
    """
    (_, first), *others = ways.items()
    expected = [out.detach() for out in first()]
    for name, way in others:
        found = way()
        assert len(found) == len(expected), f"{name} gives {len(found)} outputs"
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(
                mine.detach(),
                theirs,
                atol=tolerance * float(theirs.abs().max()),
                rtol=0.0,
                msg=lambda text, name=name: f"{name} computes something else: {text}",
            )


def alternate(
    ways: Mapping[str, Callable[[], object]],
    rounds: int = 5,
    least: float = 0.02,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return seconds a call, round by round; each way repeats for `least` seconds a round.

    The first call of each is not counted. With least=0 each way is called once a round.
    """
    repeats = dict.fromkeys(ways, 1)
    for name, way in ways.items():
        way()
        if not least:
            continue
        begin = clock()
        way()
        repeats[name] = max(1, math.ceil(least / max(clock() - begin, 1e-7)))
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = clock()
            for _ in range(repeats[name]):
                way()
            taken[name].append((clock() - begin) / repeats[name])
    return taken


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and most."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def slope(lengths: Sequence[int], values: Sequence[float]) -> float:
    """Return k of value ~ length^k, by least squares."""
    points = [(math.log(n), math.log(v)) for n, v in zip(lengths, values, strict=True)]
    x, y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def peak(way: Callable[[], object]) -> float:
    """Return the MiB that a call adds at its peak (Linux). For a process that does no more.

    Call the way once before on something small: what the first call ever allocates is not meant.
    """
    before = kibibytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew here
    way()
    return (kibibytes("VmHWM") - before) / 1024


def kibibytes(field: str) -> int:
    """Return a line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
