"""What the tests are given: examples, settings, and a way to train the model again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import nn

from qkv.explain.faithfulness.settings import Settings
from qkv.explain.faithfulness.subject import Explained, Subject

Tell = Callable[[float, str], None]
"""Called with the share of a test that is done, in 0..1, and a word on it."""


Attention = Literal["own", "uniform", "frozen"]


class Trainable(Explained, Protocol):
    """A model that can be trained."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its parameters."""

    def train(self, mode: bool = True) -> Any:
        """Switch dropout on or off."""

    def state_dict(self) -> dict[str, Any]:
        """Its parameters by name."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take them."""


class Retrain(Protocol):
    """Trains the model of the run again, as its config says, in a folder of its own."""

    def __call__(self, seed: int, attention: Attention) -> Explained:
        """Return the trained model, in eval mode.

        attention: trained like the rest (own), or kept where it starts: at equal weights
            (uniform), or at random parameters (frozen).
        """


class Build(Protocol):
    """Builds an untrained model of the run's config."""

    def __call__(self, seed: int, *, context: bool) -> Trainable:
        """Return it; without context its encoder reads each word by itself."""


@dataclass(frozen=True)
class Learning:
    """What the tests that train need: more examples, and models to train.

    learned: models that one test has trained and another reads, by name.
    """

    train: Subject
    dev: Subject
    retrain: Retrain
    build: Build
    learned: dict[str, Explained] = field(default_factory=dict)


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
