"""The recurrent form (Katharopoulos et al. 2020, eq. 16-20): a decoder's step costs O(1).

    S_i = S_{i-1} + phi(k_i) v_i^T,   z_i = z_{i-1} + phi(k_i)
    c_i = phi(q_i) S_i / (phi(q_i) . z_i)

Differs from the paper: both sums carry exp(-log_scale), the largest scale of the keys so far,
which cancels; so no exponent overflows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from qkv.attention.checks import check_inputs, check_pairs, leading_shape
from qkv.attention.linear.features.feature_map import Mapped
from qkv.attention.linear.rule import Rule, read
from qkv.attention.result import Attended
from qkv.attention.scores.score import at_least_float32

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from qkv.attention.linear.features.feature_map import FeatureMap
    from qkv.attention.masks.mask import Mask


@dataclass(frozen=True, eq=False)
class LinearState:
    """All that linear attention keeps of the keys and values so far: a value of fixed size.

    sums: sum_j phi(k_j) [v_j, 1]^T exp(-log_scale): the last column is the denominator's.
    log_scale: the largest of the keys' scales; the dtype's lowest number before the first key.
    draw: which draw of the features the sums are of.

        state = LinearState.empty(features, key_dim=16, value_dim=16)
        state = state.append(key, value)      # [..., 1, dim] a step, or a whole prompt
        out = state.read(query)
    """

    features: FeatureMap
    sums: Float[Tensor, "*batch width value_dim+1"]
    log_scale: Float[Tensor, "*batch 1 1"]
    draw: int = 0

    @staticmethod
    def empty(
        features: FeatureMap,
        *,
        key_dim: int,
        value_dim: int,
        leading: tuple[int, ...] = (),
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> LinearState:
        """The state before the first key, float32 at least.

        leading: batch and heads; they may be left to the first append.
        """
        dtype = torch.promote_types(dtype, torch.float32)
        sums = torch.zeros(
            *leading, features.width(key_dim), value_dim + 1, dtype=dtype, device=device
        )
        nothing = torch.full((*leading, 1, 1), torch.finfo(dtype).min, dtype=dtype, device=device)
        return LinearState(features, sums, nothing, features.draw)

    def append(
        self,
        key: Float[Tensor, "*batch keys key_dim"],
        value: Float[Tensor, "*batch keys value_dim"] | None = None,
        *,
        mask: Mask | None = None,
    ) -> LinearState:
        """The state with these keys as well; value=None takes the keys.

        Raises:
            ValueError: shapes that do not fit, or a mask that tells queries apart.
        """
        value = key if value is None else value
        key, value, rule = aligned(key, value, mask)
        self._check(key, value)
        if rule.offset is not None:
            raise ValueError(
                f"a state knows no queries, so it takes no {mask!r}: append the keys that the "
                "next query meets, then read. Mask.lengths, or a keep or drop mask with one row "
                "for all queries, hides padding"
            )
        leading_of(key, value, rule)
        with full_precision(key):
            return self.absorb(*mapped_pairs(self.features, key, value, rule))

    def absorb(self, key: Mapped, value: Float[Tensor, "*batch keys value_dim+1"]) -> LinearState:
        """The state with keys that are mapped already, and values with their column of ones."""
        if key.features.shape[-2] == 0:
            return self
        top = torch.maximum(self.log_scale, key.log_scale.amax(-2, keepdim=True))
        scaled = key.features * torch.exp(key.log_scale - top)
        sums = self.sums * torch.exp(self.log_scale - top) + scaled.mT @ value
        return replace(self, sums=sums, log_scale=top)

    def read(
        self,
        query: Float[Tensor, "*batch queries key_dim"],
        *,
        need: Literal["context", "stats"] = "context",
    ) -> Attended:
        """What these queries read from all keys so far; zeros from none.

        Raises:
            ValueError: need="weights", which a state has no keys for, or a query of another width.
        """
        if need not in ("context", "stats"):
            raise ValueError(
                f"a state gives need='context' or 'stats', got {need!r}: it keeps sums, not keys; "
                "linear_attend(..., need='weights') has them"
            )
        check_inputs(query, query, query)
        self._check(query, None)
        dead = self.log_scale == torch.finfo(self.log_scale.dtype).min
        with full_precision(query):
            mapped = self.features(at_least_float32(query).masked_fill(dead, 0))
            mixed = mapped.features @ self.sums
            return divided(mixed, mapped.log_scale + self.log_scale, query.dtype, need)

    def select(self, rows: Int[Tensor, " chosen"]) -> LinearState:
        """The same for these batch items, in this order, repeated if they are."""
        return replace(
            self, sums=chosen(self.sums, rows, 3), log_scale=chosen(self.log_scale, rows, 3)
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Its tensors by name; the feature map is saved where it is held."""
        return {"sums": self.sums, "log_scale": self.log_scale}

    @staticmethod
    def from_state_dict(features: FeatureMap, tensors: Mapping[str, Tensor]) -> LinearState:
        """The state that state_dict() wrote, to go on from with the features as they are saved."""
        return LinearState(features, tensors["sums"], tensors["log_scale"], features.draw)

    def check_draw(self) -> None:
        """Refuse to mix sums of old features with new ones.

        Raises:
            ValueError: the features were drawn anew since this state was made.
        """
        if self.draw != self.features.draw:
            raise ValueError(
                f"the {type(self.features).__name__} features were drawn anew (draw "
                f"{self.features.draw}) since these keys were mapped (draw {self.draw}), so the "
                "sums mean nothing to new queries: make a new state, or prepare the keys again"
            )

    def _check(self, rows: Tensor, value: Tensor | None) -> None:
        self.check_draw()
        check_dim(self.features, rows)
        if torch.promote_types(rows.dtype, torch.float32) != self.sums.dtype:
            raise ValueError(
                f"the state sums in {self.sums.dtype}, got rows of {rows.dtype}: convert them, or "
                "make it with their dtype, LinearState.empty(..., dtype=key.dtype)"
            )
        sizes = zip(reversed(self.sums.shape[:-2]), reversed(rows.shape[:-2]), strict=False)
        if any(own != given and 1 not in (own, given) for own, given in sizes):
            raise ValueError(
                f"the state is of batch and heads {list(self.sums.shape[:-2])}, got rows "
                f"{list(rows.shape)}: before [time, dim] they are equal or 1"
            )
        width, value_dim = self.sums.shape[-2], self.sums.shape[-1] - 1
        if self.features.width(rows.shape[-1]) != width:
            raise ValueError(
                f"the state holds {width} features a key, but rows of width {rows.shape[-1]} have "
                f"{self.features.width(rows.shape[-1])}: keep to the key_dim it was made with"
            )
        if value is not None and value.shape[-1] != value_dim:
            raise ValueError(f"the state holds values of width {value_dim}, got {value.shape[-1]}")


def check_dim(features: FeatureMap, rows: Tensor) -> None:
    """Refuse queries or keys of a width that the features were not drawn for.

    Raises:
        ValueError: naming both widths.
    """
    if features.dim not in (None, rows.shape[-1]):
        raise ValueError(
            f"{type(features).__name__} was built for queries and keys of width {features.dim}, "
            f"got {rows.shape[-1]}"
        )


def aligned(key: Tensor, value: Tensor, mask: Mask | None) -> tuple[Tensor, Tensor, Rule]:
    """Keys and values with equally many dimensions, and what the mask means to them.

    Raises:
        ValueError: keys and values that do not fit, or a mask that cannot be followed.
    """
    check_inputs(key, key, value)
    check_pairs(key, value)
    dimensions = max(key.dim(), value.dim())
    rule = read(mask, key.shape[-2], dimensions - 2, key.device)
    return raised(key, dimensions), raised(value, dimensions), rule


def leading_of(key: Tensor, value: Tensor, rule: Rule) -> torch.Size:
    """Batch and heads of the sums.

    Raises:
        ValueError: sizes that are neither equal nor 1.
    """
    given = {"key": key, "value": value}
    if rule.keep is not None and rule.keep.dim() > 1:
        given["keep"] = rule.keep.unsqueeze(-1)
    return leading_shape(given)


def raised(tensor: Tensor, dimensions: int) -> Tensor:
    """Add leading dimensions of 1, so that every tensor has as many."""
    missing = dimensions - tensor.dim()
    return tensor[(None,) * missing] if missing > 0 else tensor


def mapped_pairs(
    features: FeatureMap, key: Tensor, value: Tensor, rule: Rule
) -> tuple[Mapped, Tensor]:
    """Map the keys, and give each value its column of ones; what is hidden has no feature.

    Hidden rows are emptied first: 0 * NaN is NaN, forward and backward.
    """
    hidden = None if rule.keep is None else ~rule.keep.unsqueeze(-1)
    if hidden is not None:
        key, value = key.masked_fill(hidden, 0), value.masked_fill(hidden, 0)
    mapped = features(at_least_float32(key))
    if hidden is not None:
        lowest = torch.finfo(mapped.log_scale.dtype).min
        mapped = Mapped(
            mapped.features.masked_fill(hidden, 0), mapped.log_scale.masked_fill(hidden, lowest)
        )
    return mapped, F.pad(at_least_float32(value), (0, 1), value=1.0)


def divided(mixed: Tensor, log_scale: Tensor, dtype: torch.dtype, need: str) -> Attended:
    """Numerator over denominator, and the denominator's logarithm if asked.

    A denominator of 0 belongs to a query that meets nothing, or to similarities that are all below
    the smallest number of the dtype: it reads zeros.
    """
    numerator, denominator = mixed[..., :-1], mixed[..., -1:]
    nothing = denominator == 0
    denominator = denominator.masked_fill(nothing, 1)
    context = (numerator / denominator).to(dtype)
    if need != "stats":
        return Attended(context)
    logs = (denominator.log() + log_scale).masked_fill(nothing, -torch.inf)
    return Attended(context, log_normalizer=logs.squeeze(-1))


def full_precision(tensor: Tensor) -> torch.autocast:
    """Sums and exponents stay float32 where autocast would round them to half precision."""
    return torch.autocast(tensor.device.type, enabled=False)


def chosen(tensor: Tensor, rows: Tensor, least: int) -> Tensor:
    """These rows of dimension 0, where it is a batch: not stretched, not absent."""
    return tensor if tensor.dim() < least or tensor.shape[0] == 1 else tensor[rows]
