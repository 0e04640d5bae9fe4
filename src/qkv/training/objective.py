"""What a model is trained for: the loss, what it is counted over, and the outputs it is judged by.

Chosen by what the model predicts, so that the training loop knows no kind of model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from qkv.config import GuidedConfig, SearchConfig
from qkv.data import Examples
from qkv.labelling import Classification, Tagged, classify, tag
from qkv.models.labeller import Labeller
from qkv.models.model import EncoderDecoder, Model
from qkv.search.translate import translate
from qkv.text import Side
from qkv.training.label_loss import LabelLoss
from qkv.training.loss import SequenceLoss

Progress = Callable[[int], None] | None


class Objective(ABC):
    """What is learned from pairs. Abstract."""

    @abstractmethod
    def loss(
        self,
        model: Model,
        label_smoothing: float,
        estimator: nn.Module | None = None,
        guidance: GuidedConfig | None = None,
    ) -> nn.Module:
        """Return what gives the smoothed and the plain sum of -log p of a batch."""

    @abstractmethod
    def counts(self, examples: Examples) -> NDArray[np.int64]:
        """Return how many terms each example has in those sums."""

    @abstractmethod
    def outputs(
        self,
        model: Model,
        sides: tuple[Side, Side],
        texts: Sequence[str],
        search: SearchConfig,
        progress: Progress = None,
    ) -> list[str]:
        """Return what the model says of each text, as the references would say it."""


class Sequences(Objective):
    """The next token, for each token of the target and its end."""

    def loss(
        self,
        model: Model,
        label_smoothing: float,
        estimator: nn.Module | None = None,
        guidance: GuidedConfig | None = None,
    ) -> nn.Module:
        """See `Objective.loss`."""
        assert isinstance(model, EncoderDecoder)
        return SequenceLoss(model, label_smoothing, estimator, guidance)

    def counts(self, examples: Examples) -> NDArray[np.int64]:
        """Return the tokens of the targets, their ends counted."""
        return examples.lengths[:, 1]

    def outputs(
        self,
        model: Model,
        sides: tuple[Side, Side],
        texts: Sequence[str],
        search: SearchConfig,
        progress: Progress = None,
    ) -> list[str]:
        """Return the best translations."""
        assert isinstance(model, EncoderDecoder)
        found = translate(model, *sides, texts, search, progress=progress)
        return [translations[0].text for translations in found]


class Labels(Objective):
    """The labels of each text.

    ask: what returns them, each with its `text`: one label, or a line of those of the words.
    """

    def __init__(self, ask: Callable[..., Sequence[Classification] | Sequence[Tagged]]) -> None:
        self.ask = ask

    def loss(
        self,
        model: Model,
        label_smoothing: float,
        estimator: nn.Module | None = None,
        guidance: GuidedConfig | None = None,
    ) -> nn.Module:
        """See `Objective.loss`."""
        assert isinstance(model, Labeller)
        return LabelLoss(model, label_smoothing)

    def counts(self, examples: Examples) -> NDArray[np.int64]:
        """Return the number of labels: of a text one, of a sentence one a word."""
        return examples.target.lengths

    def outputs(
        self,
        model: Model,
        sides: tuple[Side, Side],
        texts: Sequence[str],
        search: SearchConfig,
        progress: Progress = None,
    ) -> list[str]:
        """Return the most probable labels."""
        assert isinstance(model, Labeller)
        return [one.text for one in self.ask(model, *sides, texts, progress=progress)]


OBJECTIVES: dict[str, Objective] = {
    "sequence": Sequences(),
    "label": Labels(classify),
    "tags": Labels(tag),
}


def objective_of(model: Model) -> Objective:
    """Return what a model is trained for."""
    return OBJECTIVES[model.predicts]
