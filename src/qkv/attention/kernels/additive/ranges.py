"""Where exp(2a) exp(2b) can stand for exp(2(a + b))."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


class Limits(NamedTuple):
    """What a dtype can hold.

    reach: exp(2x) and exp(-2x) are normal numbers for |x| up to this.
    saturation: from here on tanh is 1 as far as the dtype can tell.
    cap: its square is finite, and 1 / cap nothing beside 1.
    """

    reach: float
    saturation: float
    cap: float


LIMITS = {
    torch.float32: Limits(43.0, 10.0, 2.0**62),
    torch.float64: Limits(350.0, 20.0, 2.0**500),
}


class Centre(NamedTuple):
    """Added to a, taken from b, per dimension; and how far from 0 either needs to be told.

    holds: of each item, whether the exponentials are within reach, and these numbers so of use.
    """

    shift: Float[Tensor, "items 1 hidden"]
    limit: Float[Tensor, "items 1 hidden"]
    holds: Bool[Tensor, "items 1 1"]


def centre(
    a: Float[Tensor, "items queries hidden"], b: Float[Tensor, "items keys hidden"]
) -> Centre | None:
    """Find what to add to a and take from b; None where their exponentials would overflow."""
    found = middle(a, b)
    return found if bool(found.holds.all()) else None


def middle(
    a: Float[Tensor, "items queries hidden"], b: Float[Tensor, "items keys hidden"]
) -> Centre:
    """Find what to add to a and take from b, and for which items that will do.

    Of each dimension, the side that varies less, by half a range h, is centred: it lies within h.
    On the other, whatever lies beyond h + saturation meets nothing but saturated tanh, and may be
    brought there. So the exponentials hold if h + saturation is within reach.
    """
    reach, saturation, _ = LIMITS[a.dtype]
    a_low, a_high = a.amin(1, keepdim=True), a.amax(1, keepdim=True)
    b_low, b_high = b.amin(1, keepdim=True), b.amax(1, keepdim=True)
    a_half, b_half = (a_high - a_low) / 2, (b_high - b_low) / 2
    on_key = b_half <= a_half
    limit = torch.where(on_key, b_half, a_half) + saturation
    shift = torch.where(on_key, b_low / 2 + b_high / 2, -a_low / 2 - a_high / 2)
    # What is not a number is not within reach, either.
    return Centre(shift, limit, (limit <= reach).all(-1, keepdim=True))
