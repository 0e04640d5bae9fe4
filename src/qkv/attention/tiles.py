"""Attention that leaves out what a mask forbids: which tiles there are, and what they hold.

Neighbouring queries form a block; all keys that one of them may meet are gathered; what is left
is a small dense attention a block. No [queries, keys] matrix exists, forward or backward, and
lengths need divide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.masks.pairs import Pairs, beside_tiles, first_real, tile_axis
from qkv.attention.masks.reach import Blocks, Reach
from qkv.attention.masks.visible import hide
from qkv.attention.masks.window import Window

if TYPE_CHECKING:
    from jaxtyping import Bool, Int, Shaped

    from qkv.attention.masks.band import Band
    from qkv.attention.masks.mask import Mask

SIZES = (128, 32, 8, 1)
"""Queries a block may have: many share the keys they gather, few leave more keys out."""
GATHER = 60
"""What it costs to gather a key and its value, in pairs computed (measured at width 64)."""
STRIDE = 32
"""Queries a tile of a band, whose keys are not gathered."""
WORTH = {"fused": 0.5, "composed": 1.2}
"""Tiles are worth it when they cost this share of all pairs, or less: pairs in a fused kernel, or
in one stage after another (measured)."""
SPARSE = 1 / 16
"""Where tiles hold so small a share of all pairs, these are never drawn, whatever is faster."""
SMALLEST = 2**14
"""With fewer pairs a head than this, a key itself counted as GATHER of them, finding the tiles
costs more than they save (measured; one query against many keys copies all keys it hides)."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One group of equal tiles: blocks of neighbouring queries, or the queries that meet all keys.

    rows: the queries that are not neighbours; None for blocks of all queries, one after another.
    size: queries a tile.
    """

    pairs: Pairs
    rows: Int[Tensor, " chosen"] | None
    size: int

    @property
    def count(self) -> int:
        """How many tiles."""
        return 1 if self.rows is not None else -(-self.pairs.queries // self.size)

    def of_queries(
        self, tensor: Shaped[Tensor, "*batch queries width"]
    ) -> Shaped[Tensor, "*tile rows width"]:
        """Cut [batch, heads, queries, ...] into the tiles' rows; what is missing is 0."""
        if self.rows is not None:
            return tensor.index_select(-2, self.rows).unsqueeze(self._axis)
        missing = self.count * self.size - self.pairs.queries
        padded = torch.nn.functional.pad(tensor, (0, 0, 0, missing)) if missing else tensor
        return padded.unflatten(-2, (self.count, self.size)).movedim(-3, self._axis)

    def of_keys(
        self, tensor: Shaped[Tensor, "*batch keys width"]
    ) -> Shaped[Tensor, "*tile columns width"]:
        """Gather the tiles' columns from [batch, heads, keys, ...]."""
        columns = self.pairs.key.squeeze(-2)
        if self.rows is not None:
            return tensor.unsqueeze(self._axis)
        if all(n == self._axis or size == 1 for n, size in enumerate(columns.shape[:-1])):
            flat = tensor.index_select(-2, columns.flatten())
            return flat.unflatten(-2, (self.count, -1)).movedim(-3, self._axis)
        index = []
        for n, size in enumerate(tensor.shape[:-2]):
            axes = [1] * columns.dim()
            axes[beside_tiles(n, self.pairs.leading)] = size
            index.append(torch.arange(size, device=tensor.device).reshape(axes))
        return tensor[(*index, columns)]

    def back(
        self, tiles: Shaped[Tensor, "*tile rows width"]
    ) -> Shaped[Tensor, "*batch rows width"]:
        """Put the tiles' rows one after another again."""
        rows = tiles.movedim(self._axis, -3).flatten(-3, -2)
        return rows if self.rows is not None else rows[..., : self.pairs.queries, :]

    def scatter(
        self, tiles: Shaped[Tensor, "*tile rows columns"], rest: float = 0.0
    ) -> Shaped[Tensor, "*batch rows keys"]:
        """Put the tiles' columns where they belong among all keys; all else is `rest`."""
        pairs = self.pairs
        columns = torch.where(pairs.real, pairs.key, pairs.keys).expand(tiles.shape)
        whole = tiles.new_full((*tiles.shape[:-1], pairs.keys + 1), rest)
        whole = whole.scatter(-1, columns, tiles)
        return self.back(whole[..., :-1])

    def met(self, allowed: Bool[Tensor, "*tile rows columns"]) -> Bool[Tensor, "*batch keys"]:
        """Which keys one of the tiles' rows may meet."""
        flags = allowed.any(-2)
        columns = torch.where(self.pairs.real, self.pairs.key, self.pairs.keys).squeeze(-2)
        columns, flags = torch.broadcast_tensors(columns, flags)
        columns, flags = (part.movedim(self._axis, -2).flatten(-2) for part in (columns, flags))
        counts = torch.zeros(
            (*flags.shape[:-1], self.pairs.keys + 1), dtype=torch.int32, device=flags.device
        )
        return counts.scatter_add(-1, columns, flags.int())[..., :-1] > 0

    @property
    def _axis(self) -> int:
        return tile_axis(self.pairs.leading)


Groups = tuple[tuple[Tile, Tensor], ...]


@dataclass(frozen=True, eq=False)
class Tiles:
    """All of one attention: blocks of queries, and perhaps some queries that meet every key.

    lay: lays out the groups. band: the pairs, where they are one and known by it alone.
    """

    mask: Mask
    blocks: Blocks
    lay: Callable[[], Groups]
    band: Band | None = None

    @cached_property
    def groups(self) -> Groups:
        """Each group of tiles with its mask, the pairs that may meet."""
        with torch.inference_mode(False):
            return self.lay()

    @property
    def sample(self) -> Bool[Tensor, "*batch 1 1"]:
        """A pair of each batch item and head, whose shape says how many of these the mask has."""
        if self.band is not None:
            return torch.ones(len(self.band.ends), 1, 1, 1, dtype=torch.bool)
        tile, allowed = self.groups[0]
        return tile.back(allowed[..., :1, :1])[..., :1, :]

    @property
    def share(self) -> float:
        """The share of all pairs that is computed."""
        queries, keys = self.blocks.queries, self.blocks.keys
        if self.band is not None:
            return min(1.0, self.band.width / keys)
        done = sum(t.count * allowed.shape[-2] * allowed.shape[-1] for t, allowed in self)
        return done / (queries * keys)

    @cached_property
    @torch.inference_mode(False)
    def dead(self) -> Bool[Tensor, "*batch queries 1"] | None:
        """The queries that may meet nothing; None when there are none."""
        if self.band is not None:
            return self.band.dead(self.blocks.queries, self.blocks.device)
        living = None
        for tile, allowed in self:
            part = tile.back(allowed.any(-1, keepdim=True))
            living = part if living is None else living.index_copy(-2, _rows(tile), part)
        assert living is not None
        return None if bool(living.all()) else ~living

    @cached_property
    @torch.inference_mode(False)
    def hidden(self) -> Bool[Tensor, "*batch keys"] | None:
        """The keys that no query may meet; None when there are none."""
        if self.band is not None:
            return self.band.hidden(self.blocks.queries, self.blocks.keys, self.blocks.device)
        met = None
        for tile, allowed in self:
            part = tile.met(allowed)
            met = part if met is None else met | part
        assert met is not None
        return None if bool(met.all()) else ~met

    def rows(self, chosen: Int[Tensor, " chosen"]) -> tuple[Tile, Bool[Tensor, "*tile rows keys"]]:
        """Lay out some queries against every key."""
        return _whole(self.mask, self.blocks, chosen)

    def hide_columns(self, key: Tensor) -> Tensor:
        """Empty the keys or values that nobody may meet."""
        return key if self.hidden is None else hide(key, self.hidden)

    def __iter__(self) -> Iterator[tuple[Tile, Tensor]]:
        """Each group of tiles and its mask."""
        return iter(self.groups)


def _rows(tile: Tile) -> Tensor:
    assert tile.rows is not None
    return tile.rows


def lay_out(
    mask: Mask,
    queries: int,
    keys: int,
    leading: int,
    device: torch.device,
    *,
    ask: bool,
    dense: str = "fused",
) -> Tiles | None:
    """Find the tiles of a mask; None where all pairs at once are as good, or nothing is known.

    ask: the caller insists on tiles, however little they save. dense: how all pairs at once would
    be computed, see WORTH.
    """
    given = mask, queries, keys, leading, device, ask, dense
    if mask.size() == (None, None) and not torch.compiler.is_compiling():
        return _known(*given)  # positions alone: it is the same for all layers, and at each step
    return _lay_out(*given)


def _lay_out(
    mask: Mask, queries: int, keys: int, leading: int, device: torch.device, ask: bool, dense: str
) -> Tiles | None:
    dense_cost = (queries + GATHER) * keys
    if not ask and (dense_cost < SMALLEST or mask.forbids_nothing(queries, keys)):
        return None
    band = None
    if dense == "fused" and leading == 2 and device.type == "cpu":
        band = mask.band(queries, keys)
    if band is not None and queries * (band.width + STRIDE) <= WORTH[dense] * dense_cost:
        narrow = Window(band.left, band.right)
        blocks = Blocks(SIZES[0], queries, keys, leading, device)
        return Tiles(mask, blocks, lambda: _laid_out(mask, narrow, blocks), band)
    found = _cheapest(mask, Blocks(1, queries, keys, leading, device))
    if found is None:
        return None
    cost, blocks, reach = found
    few = reach.cost * blocks.size <= SPARSE * queries * keys
    if ask or few or cost <= WORTH[dense] * dense_cost:
        return Tiles(mask, blocks, lambda: _drawn(mask, blocks, reach))
    return None


_known = lru_cache(maxsize=4)(torch.inference_mode(False)(_lay_out))
"""The last layouts; no tensor of them is bound to the search that asked for it first."""


def _laid_out(mask: Mask, narrow: Mask, blocks: Blocks) -> Groups:
    found = _cheapest(narrow, blocks)
    if found is None:  # every block reaches every key
        return (_whole(mask, blocks, torch.arange(blocks.queries, device=blocks.device)),)
    return _drawn(mask, found[1], found[2])


def _cheapest(mask: Mask, any_size: Blocks) -> tuple[int, Blocks, Reach] | None:
    """The blocks that cost least, and how far the mask reaches from them; None: far from all."""
    found = None
    keys = any_size.keys
    for size in SIZES:
        blocks = replace(any_size, size=size)
        reach = mask.reach(blocks)
        if reach is None:
            continue
        cost = reach.cost * (size + GATHER) + (
            0 if reach.whole is None else len(reach.whole) * keys
        )
        if found is None or cost < found[0]:
            found = cost, blocks, reach
    return found


def _drawn(mask: Mask, blocks: Blocks, reach: Reach) -> Groups:
    rows = blocks.first + torch.arange(blocks.size, device=blocks.device)
    axes = [1] * (blocks.leading + 1)
    axes[tile_axis(blocks.leading)] = blocks.count
    query = rows.reshape(*axes, blocks.size, 1)
    groups = [_group(mask, blocks, query, reach.keys.unsqueeze(-2), None)]
    if reach.whole is not None and len(reach.whole):
        groups.append(_whole(mask, blocks, reach.whole))
    return tuple(groups)


def _whole(mask: Mask, blocks: Blocks, rows: Tensor) -> tuple[Tile, Tensor]:
    every = torch.arange(blocks.keys, device=blocks.device)
    one = (1,) * (blocks.leading + 1)
    return _group(mask, blocks, rows.reshape(*one, -1, 1), every.reshape(*one, 1, -1), rows)


def _group(
    mask: Mask, blocks: Blocks, query: Tensor, key: Tensor, rows: Tensor | None
) -> tuple[Tile, Tensor]:
    real = key < blocks.keys
    stand_in = key.gather(-1, first_real(real)).clamp(max=blocks.keys - 1)
    pairs = Pairs(
        query.clamp(max=blocks.queries - 1),
        torch.where(real, key, stand_in),
        blocks.queries,
        blocks.keys,
        real,
    )
    allowed = mask.pairs(pairs) & real
    shape = (*allowed.shape[:-2], query.shape[-2], key.shape[-1])
    return Tile(pairs, rows, blocks.size), allowed.expand(shape)
