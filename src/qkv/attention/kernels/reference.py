"""The reference: the five stages in plain torch, differentiable as often as one likes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.result import Attended

if TYPE_CHECKING:
    from qkv.attention.work import Work


def run(work: Work) -> Attended:
    """score, mask and bias, normalise, reweight, read."""
    score = work.slots.score
    if work.pairs is None:
        return finish(work, score(work.query, work.key))
    return finish(work, score.at(work.query, work.key, work.pairs))


def finish(work: Work, energies: Tensor) -> Attended:
    """Do all that follows the score; the energies of forbidden pairs may be anything."""
    slots, seen = work.slots, work.visible
    if slots.bias is not None:
        assert isinstance(slots.bias, Tensor)
        energies = energies + slots.bias
    if seen is not None:
        energies = torch.where(seen.allowed, energies, -math.inf)
        energies = _replaced(work, energies, 0.0)
    normalized = slots.normalizer(energies, stats=work.need == "stats")
    weights = _replaced(work, normalized.weights, 0.0)
    mixed = weights
    if slots.reweighter is not None:
        mixed = _replaced(work, slots.reweighter(weights), 0.0)
    if slots.dropout:
        mixed = torch.dropout(mixed, slots.dropout, train=True)
    context = (mixed @ work.value.to(mixed.dtype)).to(work.value.dtype)
    return Attended(
        _replaced(work, context, 0.0),
        weights.to(work.query.dtype) if work.need == "weights" else None,
        _row(work, normalized.log_normalizer, -math.inf),
        _row(work, normalized.log_prob, 0.0),
        None
        if normalized.log_distribution is None
        else _replaced(work, normalized.log_distribution, -math.inf),
    )


def _replaced(work: Work, rows: Tensor, dead: float) -> Tensor:
    """Put `dead` in the rows that may attend to nothing; no gradient passes there."""
    if work.visible is None or work.visible.dead is None:
        return rows
    return rows.masked_fill(work.visible.dead, dead)


def _row(work: Work, rows: Tensor | None, dead: float) -> Tensor | None:
    return None if rows is None else _replaced(work, rows.unsqueeze(-1), dead).squeeze(-1)
