"""Sparse attention (Child et al. 2019; Beltagy, Peters and Cohan 2020): only tiles that may meet.

Each block of queries meets the keys that were gathered for it, by the kernel that suits such a
small dense attention; so every score, normaliser and question works here as it does there.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.biases.position_bias import Placed
from qkv.attention.kernels.banded import Strip, banded
from qkv.attention.kernels.kernel import learns
from qkv.attention.kernels.reference import beside
from qkv.attention.kernels.sdpa import with_lost_rows
from qkv.attention.kernels.tiled import SharedTiles, available, tiled
from qkv.attention.masks.pairs import first_real, tile_axis
from qkv.attention.masks.visible import Visible, visible
from qkv.attention.recorded import recorded, transformed
from qkv.attention.result import Attended
from qkv.attention.reweighters.reweighter import Positional
from qkv.attention.scores.score import DotScore
from qkv.attention.weights_of import WeightsOf

if TYPE_CHECKING:
    from qkv.attention.masks.band import Band
    from qkv.attention.slots import Slots
    from qkv.attention.tiles import Tile, Tiles
    from qkv.attention.work import Work


def run(work: Work) -> Attended:
    """Attend in the blocks, and then in the queries that meet every key; put them together."""
    assert work.tiles is not None
    if work.tiles.band is not None and _striding(work):
        return _banded(work, work.tiles.band)
    return _weights_of(work, _grouped(replace(work, only=None)))


def _grouped(work: Work) -> Attended:
    assert work.tiles is not None
    (blocks, allowed), *whole = work.tiles
    out = _attend(work, blocks, allowed)
    for tile, allowed in whole:
        assert tile.rows is not None
        some = _attend(work, tile, allowed)
        out = Attended(
            _put_rows(out.context, tile.rows, some.context, -2),
            _put(out.weights, tile.rows, some.weights, -2),
            _put(out.log_normalizer, tile.rows, some.log_normalizer, -1),
            _put(out.log_prob, tile.rows, some.log_prob, -1),
            _put(out.log_distribution, tile.rows, some.log_distribution, -2),
        )
    return out


def _weights_of(work: Work, attended: Attended) -> Attended:
    """Leave the weights that were asked for."""
    if work.only is None or attended.weights is None:
        return attended
    return attended._replace(weights=work.only.of(attended.weights))


def _striding(work: Work) -> bool:
    """Whether torch's own operator may read the band's keys where they are."""
    slots, width = work.slots, work.key.shape[-1]
    plain = slots.fusable and slots.bias is None and len(work.leading) == 2
    here = work.query.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    fits = width == work.value.shape[-1]
    open_ = transformed() or recorded()
    return plain and here and fits and not open_ and available()


def _banded(work: Work, band: Band) -> Attended:
    """Read the band; what else is asked for comes beside it, and changes nothing."""
    tiles, score = work.tiles, work.slots.score
    assert tiles is not None and isinstance(score, DotScore)
    query, key, value = (
        tensor.expand(*work.leading, *tensor.shape[-2:])
        for tensor in (score.project_query(work.query), work.key, work.value)
    )
    if tiles.dead is not None:
        query = query.masked_fill(tiles.dead, 0)
    strip = Strip(band, query.shape[-2], score.scale(key.shape[-1]))
    context, logs = banded(query, key, value, strip)
    context = with_lost_rows(query, context)
    kept = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad)
    if work.need == "stats" and not kept:
        return Attended(context, log_normalizer=logs)
    if work.need == "context":
        return Attended(context)
    if work.only is None or work.only.queries is None:
        attended = _weights_of(work, _grouped(replace(work, only=None)))
        return attended._replace(context=context)
    return Attended(context, _chosen_weights(work, tiles, work.only))


def _chosen_weights(work: Work, tiles: Tiles, only: WeightsOf) -> Tensor | None:
    """The weights of chosen queries, from these and every key, and nothing else."""
    tile, allowed = tiles.rows(torch.tensor(only.queries, device=work.query.device))
    query, key = only.of_heads(work.query), only.of_heads(work.key)
    leading = work.leading if only.heads is None else (*work.leading[:-1], len(only.heads))
    work = replace(work, query=query, key=key, value=key, leading=torch.Size(leading), only=None)
    slots = tile_slots(work.slots, tile)
    small = tile_work(work, slots, tile, tile_seen(slots, tile, allowed))
    weights = beside(small, small.query, None).weights
    return None if weights is None else tile.scatter(weights)


def tile_seen(slots: Slots, tile: Tile, allowed: Tensor) -> Visible | None:
    """Find what the tiles' rows and columns see: by the mask, and by a bias of -inf."""
    if isinstance(slots.bias, Tensor):
        forbidden = torch.isneginf(slots.bias)
        allowed = allowed & ~forbidden if bool(forbidden.any()) else allowed
    seen = visible(allowed)
    if seen is None:
        return None
    return replace(seen, hidden=_but_for_pads(seen.hidden, tile.pairs.real.squeeze(-2)))


def tile_work(work: Work, slots: Slots, tile: Tile, seen: Visible | None) -> Work:
    """Return the small dense attention of one group of tiles."""
    query, key, value = tile.of_queries(work.query), tile.of_keys(work.key), None
    value = key if work.value is work.key else tile.of_keys(work.value)
    if seen is not None:
        own = value is not key
        query, key = seen.hide_rows(query), seen.hide_columns(key)
        value = seen.hide_columns(value) if own else key
    axis = tile_axis(len(work.leading))
    leading = (*work.leading[:axis], tile.count, *work.leading[axis:])
    return replace(
        work,
        slots=slots,
        query=query,
        key=key,
        value=value,
        visible=seen,
        leading=torch.Size(leading),
        tiles=None,
        pairs=tile.pairs,
    )


def _but_for_pads(hidden: Tensor | None, real: Tensor) -> Tensor | None:
    """A padded column holds the first real one, so it need not be emptied where that need not."""
    if hidden is None:
        return None
    real, hidden = torch.broadcast_tensors(real, hidden)
    hidden = torch.where(real, hidden, hidden.gather(-1, first_real(real)))
    return hidden if bool(hidden.any()) else None


def tile_slots(slots: Slots, tile: Tile) -> Slots:
    """Cut what speaks of positions."""
    bias, reweighter = slots.bias, slots.reweighter
    if isinstance(bias, Placed):
        bias = bias.at(tile.pairs)
    elif bias is not None:
        bias = tile.pairs.lookup(bias if bias.dim() > 1 else bias.unsqueeze(0), right=True)
    if isinstance(reweighter, Positional):
        reweighter = reweighter.at(tile.pairs)
    return replace(slots, bias=bias, reweighter=reweighter)


def _attend(work: Work, tile: Tile, allowed: Tensor) -> Attended:
    from qkv.attention.kernels import choose

    slots = tile_slots(work.slots, tile)
    seen = tile_seen(slots, tile, allowed)
    if _few_at_a_time(work, tile):
        return Attended(tile.back(_tiled(work, slots, tile, seen)))
    small = tile_work(work, slots, tile, seen)
    out = choose("auto", small).run(small)
    return Attended(
        tile.back(out.context),
        None if out.weights is None else tile.scatter(out.weights),
        None if out.log_normalizer is None else _row(tile, out.log_normalizer),
        None if out.log_prob is None else _row(tile, out.log_prob),
        None if out.log_distribution is None else tile.scatter(out.log_distribution, -math.inf),
    )


def _few_at_a_time(work: Work, tile: Tile) -> bool:
    """Whether tiles may be computed a few at a time, which keeps less and is faster."""
    slots, shape = work.slots, work.key.shape
    columns = tile.pairs.key.shape
    plain = (
        slots.fusable
        and work.need == "context"
        and tile.rows is None
        and (slots.bias is None or not learns(slots.bias))
    )
    fits = (
        len(work.leading) == 2
        and shape[-1] == work.value.shape[-1]
        and all(size == 1 for n, size in enumerate(columns[:-2]) if n != 1)
    )
    here = work.query.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return plain and fits and here and not transformed() and available()


def _tiled(work: Work, slots: Slots, tile: Tile, seen: Visible | None) -> Tensor:
    score = slots.score
    assert isinstance(score, DotScore) and not isinstance(slots.bias, Placed)
    query, key, value = (
        tensor.expand(*work.leading, *tensor.shape[-2:])
        for tensor in (score.project_query(work.query), work.key, work.value)
    )
    columns = tile.pairs.key.flatten(0, -2)
    scale = score.scale(work.key.shape[-1])
    blocks = SharedTiles(tile, columns, seen, slots.bias, scale)
    return with_lost_rows(blocks.rows(query), tiled(query, key, value, blocks))


def _row(tile: Tile, rows: Tensor) -> Tensor:
    return tile.back(rows.unsqueeze(-1)).squeeze(-1)


def _put(all_: Tensor | None, rows: Tensor, some: Tensor | None, axis: int) -> Tensor | None:
    return None if all_ is None or some is None else _put_rows(all_, rows, some, axis)


def _put_rows(all_: Tensor, rows: Tensor, some: Tensor, axis: int) -> Tensor:
    """A mask may have a batch that no tensor has: one part has it, one where all may meet not."""
    leading = torch.broadcast_shapes(all_.shape[:axis], some.shape[:axis])
    all_, some = (part.expand(*leading, *part.shape[axis:]) for part in (all_, some))
    return all_.index_copy(axis, rows, some)
