"""The masks that the sweeps run over, each beside the rule that it must follow."""

from __future__ import annotations

import itertools

import torch
from attention_oracle import B, H, S, T

from qkv.attention import Mask

_generator = torch.Generator().manual_seed(7)
LENGTHS = torch.tensor([4, 0])
ANY = torch.rand(B, H, T, S, generator=_generator) < 0.5
ANY[0, 1, 2] = False  # a dead row
ANY[1, :, :, 3] = False  # a key of item 1 that no query meets
PER_ITEM = torch.rand(B, T, S, generator=_generator) < 0.5
PER_ITEM[0, :, 5] = True  # dropped, a key of item 0 that no query meets
PLACES = torch.rand(B, H, T, generator=_generator) * S
DRAWN, ONE = Mask.random(2, 5).dense(T, S), Mask.random(1, 5).dense(T, S)
SPARSE = (  # cases whose mask limits the keys of each query, so that the others can be left out
    "window",
    "window_ahead",
    "dilated",
    "strided",
    "block",
    "global",
    "window_and_lengths",
    "random",
    "around",
    "around_and_lengths",
    "big_bird",
    "per_head",
    "per_head_and_lengths",
)

CASES = {
    "none": (None, lambda b, h, i, j: True),
    "keep": (Mask.keep(ANY), lambda b, h, i, j: ANY[b, h, i, j]),
    "drop": (Mask.drop(PER_ITEM), lambda b, h, i, j: not PER_ITEM[b, i, j]),
    "lengths": (Mask.lengths(LENGTHS), lambda b, h, i, j: j < LENGTHS[b]),
    "causal": (Mask.causal(), lambda b, h, i, j: j <= i),
    "causal_behind": (Mask.causal(-2), lambda b, h, i, j: j <= i - 2),
    "lengths_and_causal": (
        Mask.lengths(LENGTHS) & Mask.causal(S - T),
        lambda b, h, i, j: j < LENGTHS[b] and j <= i + S - T,
    ),
    "either": (
        Mask.keep(PER_ITEM) | ~Mask.causal(),
        lambda b, h, i, j: PER_ITEM[b, i, j] or j > i,
    ),
    "window": (Mask.window(2, 1), lambda b, h, i, j: -2 <= j - i <= 1),
    "window_ahead": (Mask.window(-3, 4), lambda b, h, i, j: 3 <= j - i <= 4),
    "dilated": (Mask.dilated(2, 2), lambda b, h, i, j: j - i in (-4, -2, 0, 2, 4)),
    "strided": (Mask.strided(3), lambda b, h, i, j: (j - i) % 3 == 0),
    "block": (Mask.block(3), lambda b, h, i, j: i // 3 == j // 3),
    "global": (Mask.global_([1, 6]), lambda b, h, i, j: i in (1, 6) or j in (1, 6)),
    "window_and_lengths": (
        Mask.lengths(LENGTHS) & (Mask.window(0, 0) | Mask.global_([2])),
        lambda b, h, i, j: j < LENGTHS[b] and (i == j or 2 in (i, j)),
    ),
    "random": (Mask.random(2, 5), lambda b, h, i, j: DRAWN[i, j]),
    "around": (Mask.around(PLACES[:, 0], 1), lambda b, h, i, j: abs(j - PLACES[b, 0, i]) <= 1),
    "around_and_lengths": (
        Mask.around(PLACES, 1) & Mask.lengths(LENGTHS),
        lambda b, h, i, j: j < LENGTHS[b] and abs(j - PLACES[b, h, i]) <= 1,
    ),
    "big_bird": (
        Mask.window(1, 0) | Mask.global_([0]) | Mask.random(1, 5) | Mask.window(-4, 4),
        lambda b, h, i, j: -1 <= j - i <= 0 or 0 in (i, j) or ONE[i, j] or j - i == 4,
    ),
    "per_head": (
        Mask.per_head([Mask.window(1, 1), Mask.strided(3), Mask.global_([1])]),
        lambda b, h, i, j: (abs(j - i) <= 1, (j - i) % 3 == 0, 1 in (i, j))[h],
    ),
    "per_head_and_lengths": (
        Mask.per_head([Mask.window(0, 2), Mask.around(PLACES[:, 0], 1), Mask.random(2, 5)])
        & Mask.lengths(LENGTHS),
        lambda b, h, i, j: (
            j < LENGTHS[b] and (0 <= j - i <= 2, abs(j - PLACES[b, 0, i]) <= 1, DRAWN[i, j])[h]
        ),
    ),
    "per_head_of_keeps": (
        Mask.per_head([Mask.keep(PER_ITEM), ~Mask.lengths(LENGTHS), Mask.causal()]),
        lambda b, h, i, j: (PER_ITEM[b, i, j], j >= LENGTHS[b], j <= i)[h],
    ),
    "nothing": (Mask.lengths(torch.zeros(B, dtype=torch.long)), lambda b, h, i, j: False),
}


def dense(rule, batch: int = B, heads: int = H, queries: int = T, keys: int = S) -> torch.Tensor:
    """The rule, asked pair by pair."""
    allowed = torch.zeros(batch, heads, queries, keys, dtype=torch.bool)
    for pair in itertools.product(*map(range, allowed.shape)):
        allowed[pair] = bool(rule(*pair))
    return allowed


# Cases whose pairs are a band, which needs no layout where the dot product is fused.
BANDS = [name for name, (mask, _) in CASES.items() if mask is not None and mask.band(T, S)]
