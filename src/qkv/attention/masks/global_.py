"""Global positions (Beltagy, Peters and Cohan 2020, section 3.1): they see and are seen by all.

    i in positions   or   j in positions

Cost: only the tiles of queries and keys that may meet are computed: (T + S)*positions
pairs.
Differs from the paper: no projections of their own for the global positions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.masks.pattern import Pattern

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

    from qkv.attention.masks.reach import Blocks, Reach


@dataclass(frozen=True)
class Global(Pattern):
    """Query i may meet key j when i or j is one of `positions`. Build it with Mask.global_.

    A position beyond the last query or key is not there and changes nothing.
    """

    positions: tuple[int, ...]

    @staticmethod
    def of(positions: Iterable[int] | Int[Tensor, " chosen"]) -> Global:
        """Check the positions and make the mask.

        Raises:
            ValueError: none at all, or one that is not a whole number of 0 or more.
        """
        listed = positions.tolist() if isinstance(positions, Tensor) else positions
        given = tuple(listed) if isinstance(listed, Iterable) else (listed,)
        wrong = [p for p in given if isinstance(p, bool) or not isinstance(p, int) or p < 0]
        if wrong or not given:
            raise ValueError(
                "Mask.global_ takes positions, whole numbers from 0 on and at least one, such as "
                f"[0, 5]; got {listed!r}"
            )
        return Global(tuple(sorted(set(given))))

    def rule(
        self, query: Int[Tensor, "*any T 1"], key: Int[Tensor, "*any S"], keys: int
    ) -> Bool[Tensor, "*any T S"]:
        """Whole rows and whole columns."""
        chosen = torch.tensor(self.positions, device=query.device)
        return torch.isin(query, chosen) | torch.isin(key, chosen)

    def reach(self, blocks: Blocks) -> Reach | None:
        """Everything for the queries at these positions, the keys there for all."""
        chosen = torch.tensor(self.positions, device=blocks.device)
        columns = blocks.reach(chosen.expand(blocks.count, -1))
        return replace(columns, whole=chosen[chosen < blocks.queries])

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether every query is global, or every key."""
        return set(range(min(queries, keys))) <= set(self.positions)

    def __repr__(self) -> str:
        return f"Mask.global_({list(self.positions)})"
