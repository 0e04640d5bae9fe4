"""What a decoder prepares once and asks many times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from qkv.attention.checks import leading_shape
from qkv.attention.masks.mask import align
from qkv.attention.masks.visible import drawn, hide

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from qkv.attention.masks.mask import Mask
    from qkv.attention.masks.visible import Visible
    from qkv.attention.scores.score import Score


@dataclass(frozen=True, eq=False)
class Prepared:
    """Keys as their score wants them, values, and the mask: a value, never kept on a module.

    visible is the mask drawn; mask is what must be drawn anew for each number of queries.
    Dimension 0 is the batch.
    """

    key: Float[Tensor, "*batch keys width"]
    value: Float[Tensor, "*batch keys value_dim"]
    mask: Mask | None = None
    visible: Visible | None = None

    def select(self, rows: Int[Tensor, " chosen"]) -> Prepared:
        """The same for these batch items, in this order, repeated if they are."""
        return Prepared(
            self.key[rows],
            self.value[rows],
            None if self.mask is None else self.mask.select(rows),
            None if self.visible is None else self.visible.select(rows),
        )


def prepare(
    score: Score, key: Tensor, value: Tensor, mask: Mask | None, queries: int | None
) -> Prepared:
    """Hide what nobody may meet, prepare the keys, and draw the mask as far as it is known.

    Hidden rows are emptied before the score projects them: otherwise 0 * NaN would reach the
    gradient of the projection.
    """
    if mask is None:
        return Prepared(score.prepare(key), value)
    leading, keys = key.dim() - 2, key.shape[-2]
    if queries is None and not mask.same_for_every_query:
        met = align(mask.reachable(keys, key.device), leading, core=1)
        hidden, waiting, seen = None if bool(met.all()) else ~met, mask, None
    else:
        seen = drawn(mask, queries or 1, keys, leading, key.device)
        hidden, waiting = None if seen is None else seen.hidden, None
    if hidden is not None:
        leading_shape({"key": key, "value": value, "mask": hidden.unsqueeze(-1)})
        own = value is not key
        key = hide(key, hidden)
        value = hide(value, hidden) if own else key
    return Prepared(score.prepare(key), value, waiting, seen)
