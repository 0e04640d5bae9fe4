"""Some weights of many: those of the heads and queries that somebody wants to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Shaped


@dataclass(frozen=True)
class WeightsOf:
    """Ask for the weights of these heads and queries: need=WeightsOf(heads=[0], queries=[7, 8]).

    None: of all. They come as [*batch, chosen heads, chosen queries, keys], in the order given,
    and cost themselves alone: the context is computed as if nobody had asked.
    """

    heads: Sequence[int] | None = None
    queries: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name, chosen in (("heads", self.heads), ("queries", self.queries)):
            whole = chosen is None or all(
                isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in chosen
            )
            if not whole or (chosen is not None and not chosen):
                raise ValueError(
                    f"WeightsOf: {name} is a list of whole numbers from 0 on, at least one, or "
                    f"None for all; got {chosen!r}"
                )

    def check(self, leading: torch.Size, queries: int) -> None:
        """Refuse a head or a query that is not there.

        Raises:
            ValueError: naming it, and how many there are.
        """
        if self.heads is not None and len(leading) < 2:
            raise ValueError(
                "WeightsOf: heads stand after the batch, [batch, heads, time, dim], but there are "
                f"only {len(leading)} dimension(s) before [time, dim]: leave heads=None"
            )
        given = (("heads", self.heads, leading[-1:]), ("queries", self.queries, (queries,)))
        for name, chosen, sizes in given:
            wrong = [n for n in chosen or () if n >= sizes[0]]
            if wrong:
                raise ValueError(f"WeightsOf: there are {sizes[0]} {name}, got {wrong[0]}")

    def of(
        self, rows: Shaped[Tensor, "*batch queries width"]
    ) -> Shaped[Tensor, "*chosen rows width"]:
        """Cut the chosen rows out of what each query has; sizes of 1 stretch, and stay."""
        for axis, chosen in ((-3, self.heads), (-2, self.queries)):
            if chosen is not None and rows.dim() >= -axis and rows.shape[axis] > 1:
                rows = rows.index_select(axis, torch.tensor(chosen, device=rows.device))
        return rows

    def of_heads(
        self, rows: Shaped[Tensor, "*batch keys width"]
    ) -> Shaped[Tensor, "*chosen keys width"]:
        """Cut out the chosen heads alone."""
        return WeightsOf(self.heads).of(rows)
