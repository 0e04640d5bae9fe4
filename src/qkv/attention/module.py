"""The five slots as one module: the value that a model holds."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qkv.attention.biases.position_bias import Placed, PositionBias
from qkv.attention.checks import (
    check_inputs,
    check_key,
    check_lengths,
    check_mask,
    check_pairs,
    check_positions,
    check_tensors,
)
from qkv.attention.heads import keep_heads
from qkv.attention.kernels import run
from qkv.attention.kernels.additive.table import ask
from qkv.attention.local.local import extent
from qkv.attention.plain import plain, plain_step
from qkv.attention.prepared import prepare, see
from qkv.attention.recorded import recorded
from qkv.attention.result import Attended
from qkv.attention.slots import Slots, fill
from qkv.attention.work import both, raised, step, whole

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from qkv.attention.local.local import Local
    from qkv.attention.masks.mask import Mask
    from qkv.attention.masks.visible import Visible
    from qkv.attention.normalizers.normalizer import Normalizer
    from qkv.attention.prepared import Prepared
    from qkv.attention.reweighters.reweighter import Reweighter
    from qkv.attention.rotary import Rotary
    from qkv.attention.scores.score import Score
    from qkv.attention.tiles import Tiles
    from qkv.attention.work import Need


class Attention(nn.Module):
    """attend() with its slots filled, and dropout on the weights while training.

    Holds parameters, never data: what is prepared from the keys is a value that the caller keeps.

        prepared = attention.prepare(key, mask=Mask.lengths(n))     # once per sentence
        out = attention.attend(query, prepared)                     # once per decoder step

    Two slots more than attend() has, since they need to know where a query stands:
    local: each query reads a window alone (qkv.local). rotary: positions turn query and key.
    `positions` says where the queries stand in their own sequence; without it query i stands at i.
    """

    def __init__(
        self,
        *,
        score: str | Score = "scaled_dot",
        bias: Tensor | PositionBias | None = None,
        normalizer: str | Normalizer = "softmax",
        reweighter: Reweighter | None = None,
        dropout: float = 0.0,
        local: Local | None = None,
        rotary: Rotary | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a probability, 0 <= dropout < 1, got {dropout}")
        if local is not None and reweighter is not None:
            raise ValueError("local attention may bring a reweighter of its own: give one of them")
        slots = fill(score, bias, normalizer, reweighter)
        self.score = slots.score
        self.normalizer = slots.normalizer
        self.reweighter = reweighter
        self.dropout = dropout
        self.local = local
        self.rotary = rotary
        if bias is None or isinstance(bias, nn.Parameter | nn.Module):
            self.bias: Tensor | PositionBias | None = bias
        else:
            self.register_buffer("bias", bias)

    def forward(
        self,
        query: Float[Tensor, "*batch queries query_dim"],
        key: Float[Tensor, "*batch keys key_dim"],
        value: Float[Tensor, "*batch keys value_dim"] | None = None,
        *,
        mask: Mask | None = None,
        need: Need = "context",
        kernel: str = "auto",
        positions: Int[Tensor, " queries"] | None = None,
    ) -> Attended:
        """Ask all queries at once; see attend()."""
        value = key if value is None else value
        if need == "context" and kernel == "auto" and positions is None and self._plain():
            context = plain(self.score, query, key, value, mask)
            if context is not None:
                return Attended(context)
        check_inputs(query, key, value)
        check_mask(mask)
        slots, local = self._placed(query, key, mask, positions)
        mask = both(mask, local)
        query, key = self.turn(query, positions), self.turn(key)
        work = whole(slots, query, key, value, mask, need, kernel)
        return run(kernel, work)

    def prepare(
        self,
        key: Float[Tensor, "batch *heads keys key_dim"],
        value: Float[Tensor, "batch *heads keys value_dim"] | None = None,
        *,
        mask: Mask | None = None,
    ) -> Prepared:
        """Do once what every query shares: turn, hide and project the keys, draw the mask.

        A mask that tells queries apart (causal, ...) is drawn at each attend() instead.
        """
        value = key if value is None else value
        check_mask(mask)
        check_tensors(key, key, value)
        check_lengths(mask, key.shape[-2])
        check_key(self.score, key)
        check_pairs(key, value)
        prepared = prepare(self.score, self.turn(key), value, mask)
        return prepared.tabled() if self._tabled else prepared

    def attend(
        self,
        query: Float[Tensor, "batch *heads queries query_dim"],
        prepared: Prepared,
        *,
        need: Need = "context",
        positions: Int[Tensor, " queries"] | None = None,
    ) -> Attended:
        """Ask some queries: one decoder step, or a beam's hypotheses side by side."""
        if prepared.table is not None and self._tabled:
            asked = ask(self.score, query, prepared.table, need)
            if asked is not None:
                return asked
        if need == "context" and positions is None and self._plain():
            context = plain_step(self.score, query, prepared)
            if context is not None:
                return Attended(context)
        slots, local = self._placed(query, prepared.key, prepared.mask, positions)
        work = step(slots, self.turn(query, positions), prepared, need, local)
        return run("auto", work)

    def see(
        self, mask: Mask, sizes: tuple[int, int, int], device: torch.device
    ) -> Visible | Tiles | None:
        """Draw a mask, or lay it out in tiles, for queries, keys and leading dimensions."""
        return see(self._slots(None), mask, sizes, device)

    def prepare_rows(
        self,
        key: Float[Tensor, "*batch keys key_dim"],
        positions: Int[Tensor, " keys"] | None = None,
    ) -> Float[Tensor, "*batch keys width"]:
        """Turn and project keys that a cache will hold, row by row, from these positions on."""
        turned = self.turn(key, positions)
        if positions is None:
            prepared: Tensor = self.score.prepare(turned)
            return prepared
        return self.score.prepare_at(turned, positions)

    def attend_rows(
        self,
        query: Float[Tensor, "batch *heads queries query_dim"],
        rows: Prepared,
        *,
        need: Need = "context",
        positions: Int[Tensor, " queries"] | None = None,
    ) -> Attended:
        """Ask what a cache holds, as prepare_rows() made it."""
        return self.attend(query, rows, need=need, positions=positions)

    def unseeing(
        self,
        query: Float[Tensor, "batch *heads queries query_dim"],
        rows: Prepared,
        positions: Int[Tensor, " queries"] | None = None,
    ) -> Bool[Tensor, "*batch queries 1"] | None:
        """Which queries have no key in their window; None where all have one, or no window."""
        if self.local is None:
            return None
        with torch.no_grad():
            _, local = self._placed(query, rows.key, rows.mask, positions)
        mask = both(rows.mask, local)
        assert mask is not None
        sizes = query.shape[-2], rows.key.shape[-2], rows.key.dim() - 2
        seen = self.see(mask, sizes, query.device)
        return None if seen is None else seen.dead

    def turn(
        self,
        vectors: Float[Tensor, "*batch time width"],
        positions: Int[Tensor, " time"] | None = None,
    ) -> Float[Tensor, "*batch time width"]:
        """Turn queries or keys by their positions, where there is a rotary slot."""
        if self.rotary is None:
            return vectors
        if positions is None:
            positions = torch.arange(vectors.shape[-2], device=vectors.device)
        turned: Tensor = self.rotary(vectors, positions)
        return turned

    def of_heads(self, kept: Int[Tensor, " kept"]) -> Attention:
        """Return a copy for these heads alone: what each part has for each head is cut out.

        Raises:
            ValueError: a part, such as any reweighter, that cannot say what belongs to a head.
        """
        if self.reweighter is not None:
            raise ValueError(
                f"the reweighter {type(self.reweighter).__name__} may hold numbers for each "
                "head, and cannot say which: leave out heads of a layer without one"
            )
        bias = self.bias
        if isinstance(bias, PositionBias):
            bias = bias.of_heads(kept)
        elif bias is not None:
            per_head = bias.dim() > 2 and bias.shape[-3] > 1
            bias = keep_heads(bias, kept, -3) if per_head else copy.deepcopy(bias)
        copied = Attention(
            score=self.score.of_heads(kept),
            bias=bias,
            normalizer=self.normalizer.of_heads(kept),
            dropout=self.dropout,
            local=copy.deepcopy(self.local),
            rotary=copy.deepcopy(self.rotary),
        )
        return copied.train(self.training)

    @property
    def _tabled(self) -> bool:
        """Whether a step is additive attention and no more, and nothing of it is recorded."""
        return (
            self.score.family == "additive"
            and not torch.is_grad_enabled()
            and self.normalizer.name == "softmax"
            and self.bias is None
            and self.reweighter is None
            and self.local is None
            and self.rotary is None
            and not (self.training and self.dropout)
            and not recorded()
        )

    def _placed(
        self, query: Tensor, key: Tensor, mask: Mask | None, positions: Tensor | None
    ) -> tuple[Slots, Mask | None]:
        """Fill the slots for queries at these positions, and say what else they may not meet."""
        if positions is not None:
            check_positions(positions, query.shape[-2])
        slots = self._slots(positions)
        if self.local is None:
            return slots, None
        if positions is None:
            positions = torch.arange(query.shape[-2], device=query.device)
        query = raised(query, key.dim())
        local = self.local(query, positions, extent(mask, key.shape[-2], query))
        return replace(slots, reweighter=local.reweighter), local.mask

    def _plain(self) -> bool:
        """Whether nothing but the score and a softmax has a say."""
        return (
            self.bias is None
            and self.reweighter is None
            and self.local is None
            and self.rotary is None
            and self.normalizer.name == "softmax"
            and not (self.training and self.dropout)
        )

    def _slots(self, positions: Tensor | None) -> Slots:
        bias, dropout = self.bias, self.dropout if self.training else 0.0
        placed = Placed(bias, positions) if isinstance(bias, PositionBias) else bias
        return Slots(self.score, self.normalizer, placed, self.reweighter, dropout)
