"""The reference: the five stages in plain torch, differentiable as often as one likes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.masks.visible import Triangle, Visible
from qkv.attention.result import Attended

if TYPE_CHECKING:
    from qkv.attention.normalizers.normalizer import Normalized
    from qkv.attention.weights_of import WeightsOf
    from qkv.attention.work import Work


def run(work: Work) -> Attended:
    """score, mask and bias, normalise, reweight, read."""
    return finish(work, work.slots.score(work.query, work.key))


def finish(work: Work, energies: Tensor) -> Attended:
    """Do all that follows the score; the energies of forbidden pairs may be anything."""
    slots = work.slots
    normalized = normalize(work, energies)
    weights = _replaced(work, normalized.weights, 0.0)
    if slots.reweighter is not None:
        weights = _replaced(work, slots.reweighter(weights), 0.0)
    kept = torch.dropout(weights, slots.dropout, train=True) if slots.dropout else weights
    context = (kept @ work.value.to(kept.dtype)).to(work.value.dtype)
    return Attended(
        _replaced(work, context, 0.0),
        weights.to(work.query.dtype) if work.need == "weights" else None,
        _row(work, normalized.log_normalizer, -math.inf),
        _row(work, normalized.log_prob, 0.0),
        None
        if normalized.log_distribution is None
        else _replaced(work, normalized.log_distribution, -math.inf),
    )


def beside(work: Work, context: Tensor, log_normalizer: Tensor | None) -> Attended:
    """Return what was asked for beside a context that is computed already.

    log_normalizer: of all queries, where it came with the context.
    """
    if work.need == "context":
        return Attended(context)
    if work.need == "stats" and log_normalizer is not None:
        return Attended(context, None, _row(work, log_normalizer, -math.inf))
    if work.only is not None:
        work = chosen(work, work.only)
    normalized = normalize(work, work.slots.score(work.query, work.key))
    if work.need == "stats":
        return Attended(context, None, _row(work, normalized.log_normalizer, -math.inf))
    return Attended(context, _replaced(work, normalized.weights, 0.0).to(work.query.dtype))


def normalize(work: Work, energies: Tensor) -> Normalized:
    """Add the bias, mask, normalise; a row that may attend to nothing gets anything."""
    slots, seen = work.slots, work.visible
    if slots.bias is not None:
        assert isinstance(slots.bias, Tensor)
        energies = energies + slots.bias
    if seen is not None:
        energies = torch.where(seen.allowed, energies, -math.inf)
        energies = _replaced(work, energies, 0.0)
    normalized: Normalized = slots.normalizer(energies, stats=work.need == "stats")
    return normalized


def chosen(work: Work, only: WeightsOf) -> Work:
    """Return the work of some heads and queries alone."""
    slots, seen = work.slots, work.visible
    if isinstance(slots.bias, Tensor):
        slots = replace(slots, bias=only.of(slots.bias))
    if seen is not None:
        seen = Visible(
            _chosen_pairs(seen, only), None if seen.dead is None else only.of(seen.dead), None
        )
    query = only.of(work.query)
    key = only.of_heads(work.key)
    heads = work.leading if only.heads is None else (*work.leading[:-1], len(only.heads))
    leading = torch.Size(heads)
    return replace(work, slots=slots, query=query, key=key, visible=seen, leading=leading)


def _chosen_pairs(seen: Visible, only: WeightsOf) -> Tensor:
    if not isinstance(seen.pairs, Triangle):
        return only.of(seen.pairs)
    every = torch.arange(seen.pairs.size, device=seen.pairs.device)
    return every <= only.of(every.unsqueeze(-1))


def _replaced(work: Work, rows: Tensor, dead: float) -> Tensor:
    """Put `dead` in the rows that may attend to nothing; no gradient passes there."""
    if work.visible is None or work.visible.dead is None:
        return rows
    return rows.masked_fill(work.visible.dead, dead)


def _row(work: Work, rows: Tensor | None, dead: float) -> Tensor | None:
    return None if rows is None else _replaced(work, rows.unsqueeze(-1), dead).squeeze(-1)
