"""The papers' settings; a command line reads them, so no tensor library is needed here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The papers' settings."""

    permutations: int = 100
    """Of the weights of each example (Jain and Wallace, algorithm 2)."""
    adversaries: int = 5
    """Rows of weights looked for at once (their code's K)."""
    steps: int = 500
    """Updates of each of them (their code)."""
    epsilon: float = 0.01
    """Total variation distance below which two outputs count as the same."""
    seeds: int = 3
    """Other seeds that the model is trained with."""
    divergence: float = 5e-4
    """Lambda of the adversarial model: weight of KL(its weights || the base model's)."""
    epochs: int = 8
    """Of the diagnostic MLP and of the adversarial model."""
