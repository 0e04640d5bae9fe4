"""How an output is searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qkv.config.kinds import STRICT, Amount, Count, Fraction, Natural, Positive, Real


@dataclass(frozen=True)
class SearchConfig:
    """How an output is searched."""

    __pydantic_config__ = STRICT

    method: Literal["beam", "greedy", "sample"] = "beam"
    """The search."""
    beam: Count = 5
    """beam: hypotheses kept a step."""
    alpha: Real = 1.0
    """Length penalty: score = log p / ((5 + n) / 6)^alpha (Wu et al. 2016, eq. 14)."""
    coverage: Amount = 0.0
    """Coverage penalty beta (Wu et al. 2016, eq. 14); 0: off."""
    temperature: Positive = 1.0
    """sample: divides the logits."""
    top_k: Natural = 0
    """sample: only the k likeliest tokens; 0: all."""
    top_p: Fraction = 1.0
    """sample: only the likeliest tokens whose mass reaches p."""
    max_ratio: Amount = 3.0
    """Longest output: max_ratio * source tokens + max_extra."""
    max_extra: Natural = 10
    """See max_ratio."""
    seed: int = 1
    """sample: fixes the draws."""
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    """Type of the matrix products; int8 and bfloat16 are faster where the processor has them."""


METHOD_OF = {
    "beam": "beam",
    "temperature": "sample",
    "top_k": "sample",
    "top_p": "sample",
    "seed": "sample",
}
"""The settings that only one method reads."""
