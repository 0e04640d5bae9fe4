"""What a decoder prepares once and asks many times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from qkv.attention.checks import leading_shape
from qkv.attention.kernels.additive.table import table_of
from qkv.attention.kernels.narrow import absent
from qkv.attention.masks.mask import align
from qkv.attention.masks.runs import Runs
from qkv.attention.masks.visible import Visible, drawn, hide
from qkv.attention.recorded import recorded, transformed
from qkv.attention.tiles import Tiles, lay_out

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Float, Int

    from qkv.attention.kernels.additive.table import Table
    from qkv.attention.masks.mask import Mask
    from qkv.attention.scores.score import Score
    from qkv.attention.slots import Slots

SHORT = 3
"""Loops over runs do a pair slower than what does all pairs: runs must be so much shorter."""
SMALL = 64
"""Keys of a run up to which the loops are faster than torch's fused kernel on tiles."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Keys as their score wants them, values, and the mask: a value, never kept on a module.

    mask: None where it forbids nothing. seen: what came of it; None where it tells queries apart,
    and must be drawn for each number of them. Dimension 0 is the batch. table: the keys of an
    additive score once more, as the compiled loops of a decoder's step want them.
    """

    key: Float[Tensor, "*batch keys width"]
    value: Float[Tensor, "*batch keys value_dim"]
    mask: Mask | None = None
    seen: Visible | Tiles | Runs | None = None
    table: Table | None = None

    def select(self, rows: Int[Tensor, " chosen"]) -> Prepared:
        """The same for these batch items, in this order, repeated if they are."""
        return Prepared(
            self.key[rows],
            self.value[rows],
            None if self.mask is None else self.mask.select(rows),
            self.seen.select(rows) if isinstance(self.seen, Visible) else None,
            None if self.table is None else self.table.select(rows),
        )

    def tabled(self) -> Prepared:
        """The same with a table, where one would pay."""
        if isinstance(self.seen, Tiles | Runs) or (self.seen is None and self.mask is not None):
            return self
        return replace(self, table=table_of(self.key, self.value, self.seen))


def see(
    slots: Slots,
    mask: Mask,
    sizes: tuple[int, int, int],
    device: torch.device,
    kernel: str = "auto",
) -> Visible | Tiles | None:
    """Lay the mask out in tiles where that saves much, or draw it; None: it forbids nothing.

    sizes: queries, keys, and dimensions of batch and heads.
    """
    queries, keys, leading = sizes
    if kernel in ("auto", "sparse") and slots.tileable and not recorded():
        tiles = lay_out(
            mask,
            queries,
            keys,
            leading,
            device,
            ask=kernel == "sparse",
            dense="fused" if slots.fusable else "composed",
        )
        if tiles is not None:
            return tiles
    return drawn(mask, queries, keys, leading, device)


def lay(
    slots: Slots,
    mask: Mask,
    sizes: tuple[int, int, int],
    device: torch.device,
    kernel: str = "auto",
) -> Visible | Tiles | Runs | None:
    """Find the run of keys that each query meets, where loops over runs are best; else `see`."""
    runs = _run_through(slots, mask, sizes, device, kernel)
    return see(slots, mask, sizes, device, kernel) if runs is None else runs


def _run_through(
    slots: Slots, mask: Mask, sizes: tuple[int, int, int], device: torch.device, kernel: str
) -> Runs | None:
    if kernel not in ("auto", "narrow") or not slots.narrow or device.type != "cpu":
        return None
    if recorded() or transformed():
        return None
    runs = mask.runs(*sizes, device)
    if runs is None:
        return None
    queries, keys, _ = sizes
    short = SHORT * runs.most <= keys and (runs.most <= SMALL or not slots.fusable)
    wanted = short or queries == 1 or slots.reweighter is not None or kernel == "narrow"
    return runs if wanted and absent() is None else None  # absent() compiles them: asked last


def prepare_for(
    score: Score,
    key: Tensor,
    value: Tensor,
    mask: Mask | None,
    seen: Visible | Tiles | Runs | None,
) -> Prepared:
    """Prepare the keys for queries that are known, as is what they see."""
    if seen is None:
        return Prepared(score.prepare(key), value)
    if isinstance(seen, Runs):  # whose loops read no other values; but a score may read keys
        if score.prepares:
            key, _ = empty(key, key, seen.hidden)
        return Prepared(score.prepare(key), value, mask, seen)
    key, value = empty(key, value, seen.hidden)
    return Prepared(score.prepare(key), value, mask, seen)


def prepare(score: Score, key: Tensor, value: Tensor, mask: Mask | None) -> Prepared:
    """Prepare the keys for queries to come: draw the mask as far as it is known."""
    if mask is None:
        return Prepared(score.prepare(key), value)
    leading, keys = key.dim() - 2, key.shape[-2]
    if mask.same_for_every_query:
        return prepare_for(score, key, value, mask, drawn(mask, 1, keys, leading, key.device))
    met = align(mask.reachable(keys, key.device), leading, core=1)
    key, value = empty(key, value, None if not recorded() and bool(met.all()) else ~met)
    return Prepared(score.prepare(key), value, mask)


def empty(
    key: Tensor, value: Tensor, hidden: Bool[Tensor, "*batch keys"] | None
) -> tuple[Tensor, Tensor]:
    """Empty the keys and values that nobody may meet, before the score projects them.

    Otherwise 0 * NaN would reach the gradient of the projection.
    """
    if hidden is None:
        return key, value
    leading_shape({"key": key, "value": value, "mask": hidden.unsqueeze(-1)})
    own = value is not key
    key = hide(key, hidden)
    return key, hide(value, hidden) if own else key
