"""What the loops of local attention compute, in plain torch: any derivative, and nothing saved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from qkv.attention.scores.score import tanh_energies

if TYPE_CHECKING:
    from torch import Tensor

    from qkv.attention.kernels.narrow.compiled import Form, Inputs


def composed(inputs: Inputs, form: Form) -> tuple[Tensor, Tensor, Tensor]:
    """Context, log-normaliser, and the weights of each run, [items, queries, most]."""
    a, b, v, value, centre = inputs
    b, value = read_alone(b, form), read_alone(value, form)
    energies = (a @ b.mT) * form.scale if v is None else tanh_energies(a, b, v)
    key = torch.arange(b.shape[1], device=b.device)
    allowed = (key >= form.first.unsqueeze(-1)) & (key < form.stop.unsqueeze(-1))
    dead = ~allowed.any(-1, keepdim=True)
    energies = torch.where(allowed, energies, -math.inf).masked_fill(dead, 0)
    weights = torch.softmax(energies, -1).masked_fill(dead, 0)
    log_normalizer = torch.logsumexp(energies, -1).masked_fill(dead.squeeze(-1), -math.inf)
    if centre is not None:
        apart = key - centre.unsqueeze(-1)
        weights = weights * torch.exp(-apart.square() / (2 * form.sigma**2))
    column, real = columns(form, b.shape[1])
    some = weights.gather(-1, column.clamp(max=b.shape[1] - 1)).masked_fill(~real, 0)
    return weights @ value, log_normalizer, some


def read_alone(rows: Tensor, form: Form) -> Tensor:
    """Empty the keys or values that no run has: 0 times what is no number is none."""
    column, _ = columns(form, rows.shape[1])
    met = torch.zeros(len(column), rows.shape[1] + 1, dtype=torch.bool, device=rows.device)
    met = met.scatter_(1, column.flatten(1), True)[:, :-1]
    if len(rows) < len(met):
        met = met.any(0, keepdim=True)
    return rows if bool(met.all()) else rows.masked_fill(~met.unsqueeze(-1), 0)


def columns(form: Form, keys: int) -> tuple[Tensor, Tensor]:
    """Which key stands at each place of each run, and whether one does; `keys` where none."""
    place = torch.arange(form.most, device=form.first.device)
    column = form.first.unsqueeze(-1) + place
    real = column < form.stop.unsqueeze(-1)
    return column.masked_fill(~real, keys), real


def spread(weights: Tensor, form: Form, keys: int) -> Tensor:
    """From the weights of each run to those of every key, 0 beyond the run."""
    column, _ = columns(form, keys)
    whole = weights.new_zeros(*weights.shape[:-1], keys + 1)
    return whole.scatter(-1, column, weights)[..., :-1]
