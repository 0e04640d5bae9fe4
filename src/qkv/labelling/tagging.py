"""From sentences to a label a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from qkv.labelling.batches import decide_all, read
from qkv.models.labeller import Labeller
from qkv.text import SPECIALS, Encoded, Side


@dataclass(frozen=True)
class Tagged:
    """The labels of a sentence's words.

    source: the sentence with its words and their spans.
    tags: the most probable label of each word. probabilities: how probable each is.
    attention: a row a word: what it read of the sentence.
    """

    source: Encoded
    tags: tuple[str, ...]
    probabilities: tuple[float, ...]
    attention: Float[Tensor, "words words"]

    @property
    def text(self) -> str:
        """The labels in a line."""
        return " ".join(self.tags)


def tag(
    model: Labeller,
    source: Side,
    target: Side,
    texts: Sequence[str],
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Tagged]:
    """Return the labels of each sentence's words.

    Args:
        progress: called after each batch with the number of sentences done in it.

    Raises:
        ValueError: one text instead of a list of them, or a text without a word.
    """
    encoded = read(source, texts, "tag")
    names = target.vocabulary.symbols[len(SPECIALS) :]
    found = []
    for one, (log_probs, attention) in zip(
        encoded, decide_all(model, encoded, progress=progress), strict=True
    ):
        best = log_probs.max(-1)
        found.append(
            Tagged(
                one,
                tuple(names[i] for i in best.indices.tolist()),
                tuple(best.values.exp().tolist()),
                attention,
            )
        )
    return found
