"""What the numbers of a figure are: their name, their sign, and the colours they are read in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qkv.view.arrays import check_finite, check_range
from qkv.view.colours import NIGHT, NIGHT_SIGNED, PAPER, PAPER_SIGNED, top


@dataclass(frozen=True)
class Measure:
    """What one number is.

    name: as legends, tooltips and exports call it.
    signed: of any size to both sides of zero, which stands in the middle of the colours; else a
        weight, between 0 and 1.
    """

    name: str
    signed: bool = False

    @property
    def paper(self) -> list[str]:
        """The colours on a light page, least first."""
        return PAPER_SIGNED if self.signed else PAPER

    @property
    def night(self) -> list[str]:
        """The colours on a dark page or a terminal."""
        return NIGHT_SIGNED if self.signed else NIGHT

    def check(self, values: np.ndarray, name: str = "weights") -> None:
        """Refuse what is none of these numbers.

        Raises:
            ValueError: a weight is outside 0 ... 1, or a value is not finite.
        """
        (check_finite if self.signed else check_range)(values, name)

    def top(self, values: np.ndarray) -> float:
        """Return the end of the colour scale; a signed one begins at its negative.

        Of weights see `qkv.view.colours.top`; of values the first of 1, 2, 5 times a power of ten
        that holds their magnitudes.
        """
        return rounded(float(np.abs(values).max(initial=0.0))) if self.signed else top(values)

    def fraction(self, value: float, top: float) -> float:
        """Return where on its colours a number stands, from 0 to 1."""
        return 0.5 + value / top / 2 if self.signed else value / top

    def at(self, fraction: float, top: float) -> float:
        """Return the number that stands there."""
        return (2 * fraction - 1) * top if self.signed else fraction * top


WEIGHT = Measure("weight")
VALUE = Measure("value", signed=True)
SHARE = Measure("share", signed=True)
"""A signed part of its row, whose magnitudes add up to 1."""


def rounded(largest: float) -> float:
    """Return the first of 1, 2, 5 times a power of ten that is as large; 1 for nothing."""
    if not largest:
        return 1.0
    ten = 10.0 ** math.floor(math.log10(largest))
    return next((step * ten for step in (1, 2, 5) if largest <= step * ten), 10 * ten)
