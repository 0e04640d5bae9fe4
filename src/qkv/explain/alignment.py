"""An alignment, and the forms it is written in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from qkv.text.tokens import Token


class Link(NamedTuple):
    """Source unit `source` belongs to target unit `target`, both from 0."""

    source: int
    target: int
    weight: float


@dataclass(frozen=True, eq=False)
class Alignment:
    """Which source unit each target unit attends to; units are words, or tokens.

    source, target: the units, with their places in the user's text.
    matrix: the weights, a row a target unit and a column a source unit; EOS has neither. A row
        sums to 1 less what went to EOS, or to 1 if it was renormalised.
    links: the pairs that `method` picks, by target, then source.
    renormalized: whether each row was divided by its sum.
    """

    source: tuple[Token, ...]
    target: tuple[Token, ...]
    matrix: Float[Tensor, "target source"]
    links: tuple[Link, ...]
    method: str
    renormalized: bool

    def pharaoh(self) -> str:
        """Return the links as `i-j` (source-target, from 0), by source, then target."""
        return " ".join(f"{link.source}-{link.target}" for link in sorted(self.links))

    def pairs(self) -> str:
        """Return the links in the units' own text, by target: `c-K a-AE t-T`."""
        return " ".join(
            f"{self.source[link.source].text}-{self.target[link.target].text}"
            for link in self.links
        )

    def json(self) -> dict[str, Any]:
        """Return plain values for JSON: units with character offsets, links, matrix, method."""
        return {
            "method": self.method,
            "renormalized": self.renormalized,
            "source": [_unit(token) for token in self.source],
            "target": [_unit(token) for token in self.target],
            "links": [link._asdict() for link in self.links],
            "matrix": self.matrix.tolist(),
        }


def _unit(token: Token) -> dict[str, Any]:
    return {"text": token.text, "start": token.start, "end": token.end}
