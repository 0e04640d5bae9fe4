"""What a score is."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Score(nn.Module, ABC):
    """e_ij = score(q_i, k_j). Abstract; it knows nothing of masks, kernels or models.

    family: which kernels can serve it. A "dot" score promises
        `e = scale * project_query(q) . prepare(k)`  (see DotScore).
    has_parameters: False for those that a bare name is enough to build.
    prepares: False where prepared keys are the keys as they are, or nothing that was in them.
    query_dim, key_dim: the widths it was built for; None for any.
    """

    family: ClassVar[Literal["dot", "additive", "other"]] = "other"
    has_parameters: ClassVar[bool] = True
    prepares: ClassVar[bool] = True
    query_dim: int | None = None
    key_dim: int | None = None

    @classmethod
    @abstractmethod
    def sized(cls, query_dim: int, key_dim: int, hidden: int) -> Self:
        """Build one for these widths; refuse widths that it cannot compare."""

    @abstractmethod
    def prepare(self, key: Float[Tensor, "*batch keys key_dim"]) -> Tensor:
        """Do once per key what every query shares: row j depends on key j and on j alone."""

    def prepare_at(self, key: Tensor, positions: Int[Tensor, " keys"]) -> Tensor:
        """Prepare keys that stand at these positions; to most scores it is no matter where."""
        prepared: Tensor = self.prepare(key)
        return prepared

    @abstractmethod
    def forward(
        self,
        query: Float[Tensor, "*batch queries query_dim"],
        prepared: Float[Tensor, "*batch keys width"],
    ) -> Float[Tensor, "*batch queries keys"]:
        """Return the energies before mask and normaliser, float32 for half-precision input."""

    @abstractmethod
    def pair_cost(self, width: int) -> tuple[int, int]:
        """Operations, and numbers held at once, for one (query, key) pair in plain torch."""

    def of_heads(self, kept: Int[Tensor, " kept"]) -> Self:
        """Return a copy for these heads alone; most scores are shared by the heads."""
        return copy.deepcopy(self)

    @property
    def most_held(self) -> int | None:
        """Numbers held at once at most, for however many pairs; None: there is no limit."""
        return None


class DotScore(Score):
    """The dot family: e_ij = scale * project_query(q_i) . prepare(k_j). Abstract."""

    family = "dot"

    @abstractmethod
    def scale(self, width: int) -> float:
        """What the dot product of two vectors of this width is multiplied by."""

    def project_query(
        self, query: Float[Tensor, "*batch queries query_dim"]
    ) -> Float[Tensor, "*batch queries width"]:
        """Bring the query to the prepared keys' space."""
        return query

    def prepare(
        self, key: Float[Tensor, "*batch keys key_dim"]
    ) -> Float[Tensor, "*batch keys width"]:
        """Bring the keys to the query's space."""
        return key

    def forward(
        self,
        query: Float[Tensor, "*batch queries query_dim"],
        prepared: Float[Tensor, "*batch keys width"],
    ) -> Float[Tensor, "*batch queries keys"]:
        """Return the energies before mask and normaliser."""
        projected = at_least_float32(self.project_query(query)) * self.scale(prepared.shape[-1])
        return projected @ at_least_float32(prepared).mT

    def pair_cost(self, width: int) -> tuple[int, int]:
        """One multiply-add a dimension; one energy."""
        return 2 * width, 1


class AdditiveScore(Score):
    """The additive family: e_ij = v . tanh(to_hidden(q_i) + prepare(k_j)). Abstract.

    Parameters: v [hidden], and those of its projections.
    """

    family = "additive"
    v: nn.Parameter

    @abstractmethod
    def to_hidden(
        self, query: Float[Tensor, "*batch queries query_dim"]
    ) -> Float[Tensor, "*batch queries hidden"]:
        """Project the queries."""

    @property
    def query_weight(self) -> Float[Tensor, "hidden query_dim"] | None:
        """What `to_hidden` multiplies the queries by; None: it does something else."""
        return None

    def forward(
        self,
        query: Float[Tensor, "*batch queries query_dim"],
        prepared: Float[Tensor, "*batch keys hidden"],
    ) -> Float[Tensor, "*batch queries keys"]:
        """Return the energies e, before mask and normaliser."""
        return tanh_energies(self.to_hidden(query), prepared, self.v)

    def pair_cost(self, width: int) -> tuple[int, int]:
        """Add, tanh and multiply-add a dimension; one number a dimension."""
        return 4 * width, width


def tanh_energies(
    query: Float[Tensor, "*batch queries hidden"],
    key: Float[Tensor, "*batch keys hidden"],
    v: Float[Tensor, " hidden"],
) -> Float[Tensor, "*batch queries keys"]:
    """e_ij = v . tanh(query_i + key_j), for a query and key that are projected already."""
    query, key = at_least_float32(query), at_least_float32(key)
    return torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3)) @ v.to(key.dtype)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half-precision products are summed in float32: their own sums would lose the small terms."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def same_width(name: str, query_dim: int, key_dim: int) -> None:
    """Refuse queries and keys that a plain dot product cannot compare."""
    if query_dim != key_dim:
        raise ValueError(
            f"score {name!r} needs queries and keys of one width, got query_dim={query_dim} and "
            f"key_dim={key_dim}; 'general', 'additive' and 'concat' compare different widths"
        )
