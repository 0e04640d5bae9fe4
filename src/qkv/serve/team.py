"""How many cores a batch is computed on.

After every operation torch's threads wait for each other, awake. The thread that answers HTTP
takes the core of one of them again and again, and the others wait for that one: of two cores, a
batch of 16 took longer on both than on one. A large batch has so much between two such waits that
all cores pay (measured in docs/results.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

LARGE = 32
"""Texts from which on a batch is computed on all cores."""


class Team(NamedTuple):
    """Threads for small batches and for large ones."""

    small: int
    large: int

    @staticmethod
    def of(threads: int) -> Team:
        """Return the team that is asked for; 0: torch's own, and one less for small batches."""
        there = torch.get_num_threads()
        return Team(threads, threads) if threads else Team(max(1, there - 1), there)

    def work(self, work: Callable[[list[Any]], Sequence[Any]], items: list[Any]) -> Sequence[Any]:
        """Work on a batch with as many threads as it is worth."""
        torch.set_num_threads(self.large if len(items) >= LARGE else self.small)
        return work(items)
