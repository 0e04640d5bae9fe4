"""From texts to labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from qkv.labelling.batches import decide_all, read
from qkv.models.labeller import Labeller
from qkv.text import SPECIALS, Encoded, Side


@dataclass(frozen=True)
class Classification:
    """The label of a text.

    source: the text with its tokens and their spans.
    label: the most probable one; of equals the first of the vocabulary.
    probabilities: of every label, the most probable first.
    attention: a weight a token.
    """

    source: Encoded
    label: str
    probabilities: dict[str, float]
    attention: Float[Tensor, " words"]

    @property
    def text(self) -> str:
        """The label, as the references write it."""
        return self.label

    @property
    def probability(self) -> float:
        """How probable the label is."""
        return self.probabilities[self.label]


def classify(
    model: Labeller,
    source: Side,
    target: Side,
    texts: Sequence[str],
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Classification]:
    """Return the label of each text.

    Args:
        progress: called after each batch with the number of texts done in it.

    Raises:
        ValueError: one text instead of a list of them, or a text without a token.
    """
    encoded = read(source, texts, "classify")
    names = target.vocabulary.symbols[len(SPECIALS) :]
    found = []
    for one, (log_probs, attention) in zip(
        encoded, decide_all(model, encoded, progress=progress), strict=True
    ):
        pairs = sorted(
            zip(names, log_probs.exp().tolist(), strict=True), key=lambda pair: -pair[1]
        )
        found.append(Classification(one, pairs[0][0], dict(pairs), attention))
    return found
