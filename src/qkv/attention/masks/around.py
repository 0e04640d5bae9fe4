"""A window around a position of each query (Luong, Pham and Manning 2015, section 3.2).

    |j - p_i| <= width

Cost: only the tiles of queries and keys that may meet are computed: T*(2 width + 1)
pairs and the rest of their tiles.
Differs from the paper: not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.masks.mask import Mask, align
from qkv.attention.masks.pattern import positive
from qkv.attention.masks.runs import Runs

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from qkv.attention.masks.pairs import Pairs
    from qkv.attention.masks.reach import Blocks, Reach


@dataclass(frozen=True, eq=False)
class Around(Mask):
    """Query i may meet key j when |j - p_i| <= width. Build it with Mask.around.

    positions: p, [queries], [batch, queries] or [batch, heads, queries]. They need not be whole,
    and get no gradient from the mask.
    """

    positions: Float[Tensor, "*batch queries"]
    width: int

    @staticmethod
    def of(positions: Float[Tensor, "*batch queries"], width: int) -> Around:
        """Check the positions and make the mask.

        Raises:
            ValueError: not a floating-point tensor, or a width below 1.
        """
        positive("around", "width", width)
        tensor = isinstance(positions, Tensor)
        if not tensor or not positions.is_floating_point() or positions.dim() < 1:
            kind = positions.dtype if tensor else type(positions).__name__
            raise ValueError(
                "Mask.around takes positions as a floating-point tensor [..., queries], one for "
                f"each query, got {kind}"
            )
        # In half precision neighbouring keys would soon be one number.
        exact = torch.promote_types(positions.dtype, torch.float32)
        return Around(positions.detach().to(exact).nan_to_num(), width)  # lost: looks somewhere

    @property
    def same_for_every_query(self) -> bool:
        """No: each has its own window."""
        return False

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "*batch T S"]:
        """A band along the positions.

        Raises:
            ValueError: the positions are for another number of queries.
        """
        low, high = (side.unsqueeze(-1) for side in self._ends(queries))
        key = torch.arange(keys, device=low.device)
        return (key >= low) & (key <= high)

    def pairs(self, pairs: Pairs) -> Bool[Tensor, "*tile rows columns"]:
        """Whether the key is near the query's position."""
        low, high = (pairs.of_queries(side) for side in self._ends(pairs.queries))
        return (pairs.key >= low) & (pairs.key <= high)

    def runs(self, queries: int, keys: int, leading: int, device: torch.device) -> Runs | None:
        """The keys between the ends."""
        low, high = (align(side, leading, core=1) for side in self._ends(queries))
        first, stop = low.clamp(0, keys).long(), (high + 1).clamp_(0, keys).long()
        return Runs(first, stop, min(keys, 2 * self.width + 1), keys)

    def reach(self, blocks: Blocks) -> Reach | None:
        """From the leftmost window of a block to the rightmost, and a key more for rounding."""
        outside = self.width + 1  # as far as any position beyond the keys
        positions = self._of(blocks.queries).clamp(-outside, blocks.keys + outside)
        rows = blocks.first + torch.arange(blocks.size, device=blocks.device)
        tiles = positions[..., rows.clamp(max=blocks.queries - 1)]
        begin = (tiles.amin(-1) - self.width).floor().long()
        end = (tiles.amax(-1) + self.width).ceil().long()
        across = int((end - begin).amax()) + 1
        if across >= blocks.keys:
            return None
        keys = begin.unsqueeze(-1) + torch.arange(across, device=blocks.device)
        return blocks.reach(keys.masked_fill(keys > end.unsqueeze(-1), -1))

    def reachable(self, keys: int, device: torch.device | None = None) -> Bool[Tensor, " keys"]:
        """Every key: some query may stand there."""
        return torch.ones(keys, dtype=torch.bool, device=device)

    def select(self, rows: Int[Tensor, " chosen"]) -> Mask:
        """The windows of these batch items."""
        shared = self.positions.dim() == 1 or self.positions.shape[0] == 1
        return self if shared else Around(self.positions[rows], self.width)

    def size(self) -> tuple[int | None, int | None]:
        """As many queries as there are positions; any number of keys."""
        return self.positions.shape[-1], None

    def _ends(
        self, queries: int
    ) -> tuple[Float[Tensor, "*batch queries"], Float[Tensor, "*batch queries"]]:
        """The first and the last key of each window, perhaps beyond all keys."""
        positions = self._of(queries)
        return torch.ceil(positions - self.width), torch.floor(positions + self.width)

    def _of(self, queries: int) -> Float[Tensor, "*batch queries"]:
        if self.positions.shape[-1] not in (1, queries):
            raise ValueError(
                f"Mask.around was given positions for {self.positions.shape[-1]} queries, the "
                f"attention has {queries}"
            )
        return self.positions.expand(*self.positions.shape[:-1], queries)

    def __repr__(self) -> str:
        return f"Mask.around({list(self.positions.shape)}, {self.width})"
