"""From a matrix of attention to links: which weights count as an alignment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Matrix = Float[Tensor, "*many target source"]
Links = Bool[Tensor, "*many target source"]


def per_target(matrix: Matrix, threshold: float) -> Links:
    """Link each target to the source it attends to most; to none if it attends to none."""
    return _largest(matrix, dim=-1) & (matrix > 0)


def per_source(matrix: Matrix, threshold: float) -> Links:
    """Link each source to the target that attends to it most; to none if none does."""
    return _largest(matrix, dim=-2) & (matrix > 0)


def mutual(matrix: Matrix, threshold: float) -> Links:
    """Link the pairs that are each other's choice: fewer links, and surer ones."""
    return per_target(matrix, threshold) & per_source(matrix, threshold)


def above(matrix: Matrix, threshold: float) -> Links:
    """Link every pair whose weight is at least the threshold: many to many."""
    return matrix >= threshold


def _largest(matrix: Matrix, dim: int) -> Links:
    """Mark the first largest weight of each row (dim -1) or column (dim -2)."""
    marked = torch.zeros_like(matrix, dtype=torch.bool)
    if matrix.numel() == 0:
        return marked
    return marked.scatter(dim, matrix.argmax(dim, keepdim=True), True)


LINKERS: dict[str, Callable[[Matrix, float], Links]] = {
    "argmax": per_target,
    "argmax-source": per_source,
    "mutual": mutual,
    "threshold": above,
}


@dataclass(frozen=True)
class Linker:
    """A method by its name, with its threshold (which only `threshold` reads).

    Raises: ValueError for an unknown name, or a threshold outside (0, 1].
    """

    method: str
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.method not in LINKERS:
            raise ValueError(
                f"unknown alignment method {self.method!r}; allowed: {', '.join(LINKERS)}"
            )
        if not 0 < self.threshold <= 1:
            raise ValueError(
                f"threshold = {self.threshold}: weights are shares, so give one in (0, 1]"
            )

    def __str__(self) -> str:
        return f"{self.method} {self.threshold}" if self.method == "threshold" else self.method

    @classmethod
    def named(cls, name: str) -> Linker:
        """Return the linker that prints like this: argmax, or threshold 0.4.

        Raises:
            ValueError: there is none.
        """
        method, _, threshold = name.partition(" ")
        if threshold and not threshold.replace(".", "", 1).isdecimal():
            raise ValueError(
                f"alignment method {name!r}: a threshold is a number, as in 'threshold 0.4'"
            )
        return cls(method, float(threshold or 0.5))

    def links(self, matrix: Matrix) -> Links:
        """Return which pairs are linked."""
        return LINKERS[self.method](matrix, self.threshold)
