"""One attention."""

from __future__ import annotations

from dataclasses import dataclass

from qkv.attention.normalizers import NORMALIZERS
from qkv.attention.scores import SCORES
from qkv.config.kinds import STRICT, Natural, known


@dataclass(frozen=True)
class AttentionConfig:
    """One attention: the slots of e = score(q, k), alpha = normalize(e), c = alpha v."""

    __pydantic_config__ = STRICT

    score: str = "additive"
    """dot, scaled_dot, cosine, general, additive, concat, deep, or location (up to 512 keys)."""
    hidden: Natural = 0
    """Width of the additive, concat and deep scores; 0 takes the decoder's width."""
    normalizer: str = "softmax"
    """softmax, sparsemax, entmax, sigmoid; one position: hard (training.reinforce) or gumbel."""

    def __post_init__(self) -> None:
        known("score", self.score, SCORES)
        known("normalizer", self.normalizer, NORMALIZERS)
