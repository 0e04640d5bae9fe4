"""What the tests are given: examples, settings, and a way to train the model again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from qkv.explain.faithfulness.subject import Explained, Subject

Tell = Callable[[float, str], None]
"""Called with the share of a test that is done, in 0..1, and a word on it."""


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


class Retrain(Protocol):
    """Trains the model of the run again, as its config says, in a folder of its own."""

    def __call__(self, name: str, seed: int, attention: Literal["own", "uniform", "frozen"]) -> (
        Explained
    ):
        """Return the trained model, in eval mode."""


@dataclass(frozen=True)
class Learning:
    """What the tests that train need: more examples, and a way to train."""

    train: Subject
    dev: Subject
    retrain: Retrain
    fresh: Callable[[int], Explained]
    """Build an untrained model of the run's config, with a seed."""


@dataclass(frozen=True)
class Material:
    """What is examined, how, and, for the tests that train, with what."""

    subject: Subject
    settings: Settings = field(default_factory=Settings)
    learning: Learning | None = None

    @property
    def teaching(self) -> Learning:
        """What training needs.

        Raises:
            ValueError: training was not asked for.
        """
        if self.learning is None:
            raise ValueError("this test trains models: ask for that with --train")
        return self.learning
