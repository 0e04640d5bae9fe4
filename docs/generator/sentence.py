"""The one sentence pair of the gallery (Bahdanau, Cho and Bengio 2015, figure 3a).

Vectors stand for what a trained model would have there: a word and its translation share a
direction, planted, and each has noise of its own. All in float64, from fixed seeds.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn

_ENGLISH = "the agreement on the European Economic Area was signed in August 1992 ."
_FRENCH = "l' accord sur la zone économique européenne a été signé en août 1992 ."
SOURCE, TARGET = _ENGLISH.split(), _FRENCH.split()
GOLD = torch.tensor([0, 1, 2, 3, 6, 5, 4, 7, 7, 8, 9, 10, 11, 12])
"""Which source word each target word translates."""
WIDTH = 16


def vectors() -> tuple[Tensor, Tensor]:
    """Return queries [1, target, 16] and keys [1, source, 16]; entries have variance 1."""
    chance = random.Random(1409)
    meaning = {word: _drawn(chance) for word in dict.fromkeys(SOURCE)}
    source = torch.stack([meaning[word] + 0.4 * _drawn(chance) for word in SOURCE])
    meant = torch.stack([meaning[SOURCE[gold]] for gold in GOLD])
    target = meant + 0.4 * torch.stack([_drawn(chance) for _ in TARGET])
    return _scaled(target).unsqueeze(0), _scaled(source).unsqueeze(0)


def fit(module: nn.Module, weights: Callable[[], Tensor], steps: int = 25) -> None:
    """Train what has parameters to look at the gold words, a little: as after some training."""
    parameters = list(module.parameters())
    if not parameters:
        return
    optimizer = torch.optim.Adam(parameters, lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        looked = weights()[..., range(len(GOLD)), GOLD]
        (-looked.log().mean()).backward()
        optimizer.step()


def _drawn(chance: random.Random) -> Tensor:
    return torch.tensor([chance.gauss(0, 1) for _ in range(WIDTH)], dtype=torch.float64)


def _scaled(rows: Tensor) -> Tensor:
    return rows * WIDTH**0.5 / rows.norm(dim=-1, keepdim=True)
