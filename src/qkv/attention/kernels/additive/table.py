"""Keys made ready for a decoder that asks them once a step: their exponentials are kept.

    table = table_of(prepared keys, values, seen)    # once a sentence
    out = ask(score, query, table, need)             # once a step

For what records nothing, on a CPU with numba, in float32; a step is one call of compiled loops.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.kernels.additive import absence, compiled
from qkv.attention.kernels.additive.equation import Inputs, composed
from qkv.attention.kernels.additive.ranges import LIMITS
from qkv.attention.kernels.additive.task import LANES, SLOTS, rounded
from qkv.attention.kernels.additive.threads import count, share
from qkv.attention.result import Attended
from qkv.attention.scores.score import AdditiveScore

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from qkv.attention.masks.visible import Visible
    from qkv.attention.scores.score import Score

GAINS_FROM = 2**14
"""Numbers of the keys from which on a table pays."""
WIDE = 64
"""Rows are multiples of so many numbers: four vectors of the widest kind."""


@dataclass(frozen=True, eq=False)
class Table:
    """exp(2 (b - centre)), and in two more rows the centre and half of the keys' range.

    allowed: which keys may be met; None for all.
    """

    exponentials: Float[Tensor, "batch rows width"]
    value: Float[Tensor, "batch keys value_dim"]
    allowed: Bool[Tensor, "batch keys"] | None

    @classmethod
    def of(
        cls,
        key: Float[Tensor, "batch keys hidden"],
        value: Float[Tensor, "batch keys value_dim"],
        allowed: Bool[Tensor, "batch keys"] | None,
    ) -> Table | None:
        """Take the exponentials; None where keys vary too much for them (see `ranges`)."""
        low, high = torch.aminmax(key, dim=1, keepdim=True)
        centre, half = (low + high) / 2, (high - low) / 2
        reach, saturation, _ = LIMITS[key.dtype]
        if not bool((half <= reach - saturation).all()):  # not a number, too
            return None
        (batch, keys, hidden) = key.shape
        rows = key.new_zeros(batch, keys + 2, rounded(hidden, WIDE))
        torch.exp(key.sub(centre).mul_(2), out=rows[:, :keys, :hidden])
        rows[:, keys, :hidden] = centre.squeeze(1)
        rows[:, keys + 1, :hidden] = half.squeeze(1)
        return cls(rows, value.contiguous(), allowed)

    def select(self, rows: Int[Tensor, " chosen"]) -> Table:
        """The same for these batch items."""
        allowed = self.allowed
        if allowed is not None and allowed.shape[0] > 1:
            allowed = allowed[rows]
        return Table(self.exponentials[rows], self.value[rows], allowed)

    def ask(
        self,
        query: Float[Tensor, "batch queries hidden"],
        v: Float[Tensor, " hidden"],
        weigh: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the context and, where wanted, the weights."""
        table, value, allowed = self.exponentials, self.value, self.allowed
        (batch, queries, hidden), (_, keys, read), width = query.shape, value.shape, table.shape[2]
        query, v = query.contiguous(), v.contiguous()
        context = value.new_empty(batch, queries, read)
        weights = value.new_empty(batch, queries, keys) if weigh else None
        threads = count(batch, batch * queries * keys * width)
        size = 5 * width + rounded(keys, LANES) + WIDE
        scratch = value.new_empty(threads * size)
        mask = (0, 0, 0, 0)
        if allowed is not None:
            by_item = allowed.stride(0) if allowed.shape[0] > 1 else 0
            mask = allowed.data_ptr(), by_item, 0, allowed.stride(1)
        task = _Task(
            0, 0, batch, batch, queries, keys, hidden, read,
            query.data_ptr(), table.data_ptr(), v.data_ptr(), value.data_ptr(),
            0 if weights is None else weights.data_ptr(), context.data_ptr(), 0, 0, 0,
            *mask, scratch.data_ptr(), size, 0, 0, 0, 0, width, 0,
        )  # fmt: skip
        share(compiled.loop("step", torch.float32), ctypes.addressof(task), threads)
        return context, weights


_Task = ctypes.c_int64 * SLOTS


def table_of(key: Tensor, value: Tensor, seen: Visible | None) -> Table | None:
    """Return a table of prepared keys; None where none can be asked, or it would not pay."""
    plain = key.dim() == value.dim() == 3 and key.dtype == value.dtype == torch.float32
    if not plain or key.device.type != "cpu" or key.shape[0] != value.shape[0]:
        return None
    if key.numel() < GAINS_FROM or absent() is not None:
        return None
    allowed = None
    if seen is not None:
        allowed = (seen.allowed if seen.dead is None else seen.allowed & ~seen.dead)[:, 0]
    return Table.of(key, value, allowed)


def ask(score: Score, query: Tensor, table: Table, need: object) -> Attended | None:
    """Attend, where the table can say what is asked; None where it cannot."""
    batch = table.value.shape[0]
    if need not in ("context", "weights") or query.dim() != 3 or query.shape[0] != batch:
        return None
    if query.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return None
    if score.query_dim not in (None, query.shape[2]):
        return None
    assert isinstance(score, AdditiveScore)
    return Attended(*table.ask(score.to_hidden(query), score.v, need == "weights"))


@cache
def absent() -> str | None:
    """Say why no table can be asked; None if one can. Found out once, at first use."""
    return absence.lacking("numba", "QKV_NUMBA", "numba", "fast") or absence.wrong(
        "numba", _agrees
    )


@torch.inference_mode(False)
@torch.no_grad()
def _agrees() -> bool:
    draw = torch.Generator().manual_seed(0)
    sizes = (2, 3, 67), (2, 37, 67), (67,), (2, 37, 5)
    a, b, v, value = (torch.randn(size, generator=draw) for size in sizes)
    exact = tuple(t.double() for t in (a, b, v))
    context, _, weights = composed(Inputs(*exact), value.double())
    table = Table.of(b, value, None)
    assert table is not None
    mine, seen = table.ask(a, v, weigh=True)
    assert seen is not None
    return absence.close((mine, seen), (context, weights))
