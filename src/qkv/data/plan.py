"""Which examples go together: batches of like lengths within a budget of padded tokens."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qkv.data.randomness import generator


class BatchPlan:
    """The batches of every epoch.

    lengths: [examples], or [examples, sides] to keep the padding of both sides small. A batch of n
    examples whose longest side has m tokens costs n * m <= tokens_per_batch; an example that is
    longer than the budget is a batch of its own. Every example comes once an epoch.

    The batches of an epoch depend on (lengths, budget, seed, epoch) alone, so training resumes
    exactly at batch p of epoch k with `plan.epoch(k)[p:]`. Their number is the same every epoch.

    Raises:
        ValueError: there are no examples, a length is below 1 or the budget is.
    """

    def __init__(self, lengths: ArrayLike, tokens_per_batch: int, seed: int) -> None:
        table = _table(lengths, tokens_per_batch)
        longest = table.max(axis=1)
        # One number an example that sorts by the longest side, then by the other sides.
        columns = [*table.T[::-1], longest]
        order = np.lexsort(columns)
        ranked = table[order]
        changed = (np.diff(ranked, axis=0) != 0).any(axis=1)
        self._group = np.empty(len(table), dtype=np.int64)
        self._group[order] = np.concatenate([[0], np.cumsum(changed)])
        # The sorted lengths do not depend on how ties fall, so neither do the cuts.
        self._cuts = _cuts(longest[order], tokens_per_batch)
        self._seed = seed

    def __len__(self) -> int:
        return len(self._cuts) - 1

    def epoch(self, k: int) -> list[list[int]]:
        """Return the batches of epoch k, each a list of example indices, in training order."""
        random = generator(self._seed, "batches", k)
        shuffled = random.permutation(len(self._group))
        order = shuffled[np.argsort(self._group[shuffled], kind="stable")].tolist()
        starts = random.permutation(len(self)).tolist()
        return [order[self._cuts[i] : self._cuts[i + 1]] for i in starts]


def sorted_batches(lengths: ArrayLike, tokens_per_batch: int) -> list[list[int]]:
    """Return batches for evaluation, the longest first, within the budget of `BatchPlan`.

    Raises:
        ValueError: as for BatchPlan.
    """
    table = _table(lengths, tokens_per_batch)
    longest = table.max(axis=1)
    order = np.lexsort([*table.T[::-1], longest])
    cuts = _cuts(longest[order], tokens_per_batch)
    indices = order.tolist()
    return [indices[a:b] for a, b in pairwise(cuts)][::-1]


def _table(lengths: ArrayLike, tokens_per_batch: int) -> NDArray[np.int64]:
    array = np.asarray(lengths, dtype=np.int64)
    if not array.size:
        raise ValueError("no examples to make batches of")
    table = array.reshape(len(array), -1)
    if table.min() < 1:
        raise ValueError(f"a length of {table.min()}: every length is at least 1 (EOS counts)")
    if tokens_per_batch < 1:
        raise ValueError(f"tokens_per_batch is {tokens_per_batch}; give 1 or more, such as 4096")
    return table


def _cuts(longest: NDArray[np.int64], budget: int) -> list[int]:
    """Cut ascending lengths greedily: as many examples a batch as the budget allows."""
    lengths = longest.tolist()
    cuts = [0]
    while cuts[-1] < len(lengths):
        start = cuts[-1]
        # n * lengths[start + n - 1] grows with n: find the largest n within budget by halving.
        most = min(len(lengths) - start, max(1, budget // lengths[start]))
        n = bisect_right(range(1, most + 1), budget, key=lambda n: n * lengths[start + n - 1])
        cuts.append(start + max(1, n))
    return cuts
