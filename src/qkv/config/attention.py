"""One attention."""

from __future__ import annotations

from dataclasses import dataclass

from qkv.attention.biases import BIASES
from qkv.attention.linear.features import FEATURES
from qkv.attention.local import LOCALS
from qkv.attention.normalizers import NORMALIZERS
from qkv.attention.scores import SCORES
from qkv.config.kinds import STRICT, Amount, Count, Natural, Positive, known


@dataclass(frozen=True)
class AttentionConfig:
    """One attention: the slots of e = score(q, k), alpha = normalize(e), c = alpha v."""

    __pydantic_config__ = STRICT

    score: str = "additive"
    """dot, scaled_dot, cosine, general, additive, concat, deep, or location (up to 512 keys)."""
    hidden: Natural = 0
    """Width of the additive, concat and deep scores; 0 takes the decoder's width."""
    normalizer: str = "softmax"
    """softmax, sparsemax, entmax (alpha, or learned_entmax), sigmoid; one position a query: hard
    (trained as training.reinforce says) or gumbel."""
    alpha: Amount = 0.0
    """entmax: its alpha, above 1; 0: 1.5."""
    temperature: Positive = 1.0
    """softmax and gumbel: divides the energies."""
    scope: str = "global"
    """global: all keys; local-m or local-p: a window alone (Luong, Pham and Manning 2015, 3.2)."""
    window: Count = 10
    """local-m, local-p: keys on each side of the middle of the window (the paper's D: 10)."""
    bias: str = "none"
    """Self-attention of a Transformer: alibi, relative or relative_buckets, by position."""
    features: str = "none"
    """A Transformer's linear attention, in place of score and normalizer: elu, positive_random."""
    layer_scores: tuple[str, ...] = ()
    """A Transformer's score of each layer, each as `score` is; empty: `score` in all."""

    def __post_init__(self) -> None:
        known("score", self.score, SCORES)
        known("normalizer", self.normalizer, NORMALIZERS)
        known("scope", self.scope, ("global", *LOCALS))
        known("bias", self.bias, ("none", *BIASES))
        known("features", self.features, ("none", *FEATURES))
        for score in self.layer_scores:
            known("score", score, SCORES)
        if self.alpha and self.normalizer != "entmax":
            raise ValueError(
                f'alpha = {self.alpha} is entmax\'s, but normalizer = "{self.normalizer}"; leave '
                "one of them out"
            )
        if 0 < self.alpha <= 1:
            raise ValueError(f"entmax's alpha is above 1, got {self.alpha}; 1 itself is softmax")
        if self.temperature != 1 and self.normalizer not in ("softmax", "gumbel"):
            raise ValueError(
                f"temperature = {self.temperature} is for softmax and gumbel, but normalizer = "
                f'"{self.normalizer}"; leave one of them out'
            )
        others = (self.normalizer, self.scope, self.bias, self.layer_scores)
        if self.features != "none" and others != ("softmax", "global", "none", ()):
            raise ValueError(
                f'features = "{self.features}" is linear attention, which has no energies: leave '
                "out normalizer, scope, bias and layer_scores"
            )
