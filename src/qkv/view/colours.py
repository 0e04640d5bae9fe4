"""Two sequential colour maps, two that diverge from zero, and the scale of a weight.

Both run evenly in lightness (OKLab), so they also read in grey and with any colour blindness. On
paper, zero recedes into white and one is dark; on a dark page or a terminal, one is light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

PAPER = ["f2f6f9", "c5dded", "9ac2e1", "71a7d4", "498bc8", "2d6fb3", "1a5399", "143977", "10234f"]
NIGHT = ["212730", "283d5a", "2c5582", "2e71a4", "2291bb", "39b0c8", "60cfc7", "aee6b8", "f4f6c8"]
# For what has a sign: blue is more, orange less, even in lightness to both sides; the two stay
# apart with any colour blindness, and zero is the page, white or dark.
_LESS, _MORE = ["7a2e00", "b0500a", "d98a3d", "f0c48f"], ["b4d3ea", "6ea5d6", "2f6fb0", "103f7c"]
PAPER_SIGNED = [*_LESS, "ffffff", *_MORE]
_LESS, _MORE = ["ffdcae", "f2a55a", "c26f24", "6f4420"], ["24527d", "2c83b8", "5bbcd6", "c4f0ee"]
NIGHT_SIGNED = [*_LESS, "212730", *_MORE]
TOPS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

Colour = tuple[int, int, int]


def top(weights: Float[np.ndarray, "targets sources"]) -> float:
    """Return the end of the colour scale: the first of 0.02 .05 .1 .2 .5 1 that holds all weights.

    Attention spread over forty tokens stays below 0.1 and would be blank on a scale to 1. Every
    drawing prints the scale it used.
    """
    largest = float(weights.max(initial=0.0))
    return next((end for end in TOPS if largest <= end), 1.0)


def rgb(fraction: float, ramp: list[str]) -> Colour:
    """Return red, green and blue of a fraction of the scale, linear between the ramp's stops."""
    place = min(max(fraction, 0.0), 1.0) * (len(ramp) - 1)
    below = min(int(place), len(ramp) - 2)
    low, high = bytes.fromhex(ramp[below]), bytes.fromhex(ramp[below + 1])
    share = place - below
    red, green, blue = (int(a + (b - a) * share + 0.5) for a, b in zip(low, high, strict=True))
    return red, green, blue


def hexadecimal(fraction: float, ramp: list[str]) -> str:
    """Return the colour of a fraction of the scale as `#rrggbb`."""
    return "#" + bytes(rgb(fraction, ramp)).hex()
