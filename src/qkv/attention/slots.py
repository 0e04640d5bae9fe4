"""The five slots of the equation, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from torch import Tensor

from qkv.attention.biases.position_bias import Placed, PositionBias
from qkv.attention.checks import check_bias, check_part, check_reweighter
from qkv.attention.normalizers import build as build_normalizer
from qkv.attention.normalizers.normalizer import Normalizer
from qkv.attention.registry import find
from qkv.attention.reweighters.gaussian import Gaussian
from qkv.attention.reweighters.reweighter import Positional, Reweighter
from qkv.attention.scores import SCORES
from qkv.attention.scores.score import Score


@dataclass(frozen=True, eq=False)
class Slots:
    """score, bias, normalizer, reweighter; and the dropout that only a training module sets."""

    score: Score
    normalizer: Normalizer
    bias: Tensor | Placed | None = None
    reweighter: Reweighter | None = None
    dropout: float = 0.0

    @property
    def tileable(self) -> bool:
        """Whether every part can be asked about some pairs only: a reweighter may need the row."""
        return self.reweighter is None or isinstance(self.reweighter, Positional)

    @property
    def fusable(self) -> bool:
        """Whether a fused kernel can do all stages at once, so that a pair costs little."""
        plain = self.reweighter is None and not self.dropout
        return plain and self.score.family == "dot" and self.normalizer.name == "softmax"

    @property
    def narrow(self) -> bool:
        """Whether loops over short runs of keys have every part."""
        plain = self.bias is None and not self.dropout and self.normalizer.name == "softmax"
        gaussian = self.reweighter is None or isinstance(self.reweighter, Gaussian)
        return plain and gaussian and self.score.family != "other"


def fill(
    score: str | Score,
    bias: Tensor | PositionBias | None,
    normalizer: str | Normalizer,
    reweighter: Reweighter | None,
) -> Slots:
    """Turn names into parts.

    Raises:
        ValueError: an unknown name, a name whose score has parameters, a bias that is a mask, a
            reweighter by name, or a class in the place of an object.
    """
    check_bias(bias)
    check_reweighter(reweighter)
    if not isinstance(score, str):
        check_part("score", score, Score)
    if not isinstance(normalizer, str):
        check_part("normalizer", normalizer, Normalizer)
    return Slots(
        _named_score(score) if isinstance(score, str) else score,
        _named_normalizer(normalizer) if isinstance(normalizer, str) else normalizer,
        Placed(bias) if isinstance(bias, PositionBias) else bias,
        reweighter,
    )


@cache
def _named_score(name: str) -> Score:
    built: type[Score] = find("score", name, SCORES)
    if built.has_parameters:
        raise ValueError(
            f"score {name!r} has parameters, so its name is not enough: pass an object, "
            f"qkv.scores.{built.__name__}(...) or "
            f"qkv.scores.build({name!r}, query_dim=..., key_dim=...)"
        )
    return built.sized(1, 1, 1)


@cache
def _named_normalizer(name: str) -> Normalizer:
    normalizer = build_normalizer(name)
    if normalizer.has_parameters:
        built = type(normalizer).__name__
        raise ValueError(
            f"normalizer {name!r} has parameters, so its name is not enough: pass an object, "
            f"qkv.normalizers.{built}(...)"
        )
    return normalizer
