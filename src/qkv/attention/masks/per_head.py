"""A mask a head (Child et al. 2019, section 5.1): strided and local parts to different heads.

    may_hij = mask_h(i, j)

Cost: each head's own tiles, as wide as the widest head's.
Differs from the paper: any masks, not its two parts alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.masks.mask import Mask, align
from qkv.attention.masks.pairs import Pairs, beside_tiles
from qkv.attention.masks.reach import Reach

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

    from qkv.attention.masks.reach import Blocks

_HEADS = 1  # of the leading dimensions [batch, heads]


@dataclass(frozen=True, eq=False)
class PerHead(Mask):
    """Head h follows mask h. Build it with Mask.per_head.

    The heads are dimension 1 of [batch, heads, time, dim]. Composed with other masks (`&`, `|`)
    it narrows or widens each head's. One mask serves any number of heads.
    """

    masks: tuple[Mask, ...]

    @staticmethod
    def of(masks: Iterable[Mask]) -> PerHead:
        """Check the masks and make the one of them all.

        Raises:
            ValueError: no mask, or something that is none.
        """
        masks = tuple(masks)
        if not masks or not all(isinstance(mask, Mask) for mask in masks):
            given = ", ".join(type(mask).__name__ for mask in masks) or "none"
            raise ValueError(f"Mask.per_head takes one mask for each head, got {given}")
        return PerHead(masks)

    @property
    def same_for_every_query(self) -> bool:
        """Whether each looks at the key alone."""
        return all(mask.same_for_every_query for mask in self.masks)

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "batch heads T S"]:
        """The heads' tensors, one after another.

        Raises:
            ValueError: one of the masks tells heads apart itself.
        """
        return self._stacked([mask.tensor(queries, keys, device) for mask in self.masks], core=2)

    def pairs(self, pairs: Pairs) -> Bool[Tensor, "*tile rows columns"]:
        """Each head's rule for its own pairs.

        Raises:
            ValueError: there are no heads, another number of them, or one of the masks tells
                heads apart itself.
        """
        axis = self._axis(pairs.leading)
        parts = [mask.pairs(self._of_head(pairs, h, axis)) for h, mask in enumerate(self.masks)]
        if any(part.shape[axis] > 1 for part in parts):
            raise self._nested()
        return torch.cat(_alike(parts, axis), dim=axis)

    def reach(self, blocks: Blocks) -> Reach | None:
        """As far as each head's own mask; None where one of them may meet most keys."""
        axis = self._axis(blocks.leading)
        found = []
        for mask in self.masks:
            reach = mask.reach(blocks)
            if reach is None:
                return None
            if reach.keys.shape[axis] > 1:
                raise self._nested()
            found.append(reach)
        columns = max(reach.keys.shape[-1] for reach in found)
        parts = [
            torch.nn.functional.pad(
                reach.keys, (0, columns - reach.keys.shape[-1]), value=blocks.keys
            )
            for reach in found
        ]
        whole = [reach.whole for reach in found if reach.whole is not None]
        return Reach(
            torch.cat(_alike(parts, axis), dim=axis),
            blocks.keys,
            torch.cat(whole).unique() if whole else None,
        )

    def reachable(
        self, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "batch heads keys"]:
        """Which keys each head can reach."""
        return self._stacked([mask.reachable(keys, device) for mask in self.masks], core=1)

    def select(self, rows: Int[Tensor, " chosen"]) -> Mask:
        """Each head's mask of these batch items."""
        return PerHead(tuple(mask.select(rows) for mask in self.masks))

    def size(self) -> tuple[int | None, int | None]:
        """The largest of what the heads' masks speak of."""
        queries, keys = zip(*(mask.size() for mask in self.masks), strict=True)
        return _largest(queries), _largest(keys)

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether no head's mask forbids anything."""
        return all(mask.forbids_nothing(queries, keys) for mask in self.masks)

    def _stacked(self, parts: list[Tensor], core: int) -> Tensor:
        if any(part.dim() > core + 1 for part in parts):
            raise self._nested()
        parts = [align(part, 1, core) if part.dim() > core else part[None] for part in parts]
        return torch.stack(torch.broadcast_tensors(*parts), dim=_HEADS)

    def _axis(self, leading: int) -> int:
        """Where the heads stand among the tiles."""
        if leading <= _HEADS:
            raise ValueError(
                f"{self!r} wants queries [batch, heads, time, dim], got {leading} leading "
                "dimension(s): without heads, give one mask"
            )
        return beside_tiles(_HEADS, leading)

    def _of_head(self, pairs: Pairs, head: int, axis: int) -> Pairs:
        """The pairs of one head: shared by all, or its own where each reaches its own keys."""
        heads = pairs.key.shape[axis]
        if heads == 1 or len(self.masks) == 1:
            return pairs
        if heads != len(self.masks):
            raise ValueError(f"{self!r} has {len(self.masks)} masks for {heads} heads")
        key, real = (part.narrow(axis, head, 1) for part in (pairs.key, pairs.real))
        return Pairs(pairs.query, key, pairs.queries, pairs.keys, real)

    def _nested(self) -> ValueError:
        return ValueError(
            f"each part of {self!r} is the mask of one head, so it cannot tell heads apart "
            "itself: give [queries, keys] or [batch, queries, keys], or join whole masks with &"
        )

    def __repr__(self) -> str:
        return f"Mask.per_head([{', '.join(map(repr, self.masks))}])"


def _alike(parts: list[Tensor], axis: int) -> list[Tensor]:
    """Stretch sizes of 1, but for the heads, so that the parts can be laid side by side."""
    shape = torch.broadcast_shapes(*(part.shape for part in parts))
    return [part.expand(*shape[:axis], part.shape[axis], *shape[axis + 1 :]) for part in parts]


def _largest(sizes: tuple[int | None, ...]) -> int | None:
    return max((size for size in sizes if size is not None), default=None)
