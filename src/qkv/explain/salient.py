"""What a weight can be compared with: how much each output token hangs on each source token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor

from qkv.attention.registry import find
from qkv.explain.attribution import METHODS, Method, Question
from qkv.explain.attribution.label import ask_label
from qkv.explain.attribution.pair import ask
from qkv.models.model import EncoderDecoder
from qkv.text import SPECIALS, UNK, Encoded, Side
from qkv.text.given import check_list, check_texts

NOTES = {
    "gradient": "||d log p(y_i) / d x_j||",
    "gradient-input": "x_j . d log p(y_i) / d x_j",
    "integrated-gradients": "from the embedding of a pad at every token to the source",
    "jacobian": "||d features_i / d x_j||, of all that output i is read off",
    "leave-one-out": "log p(y_i) less that with the embedding of a pad at j",
    "rollout": "attentions multiplied through all layers, half of each the residual",
    "flow": "the largest flow through all layers of attention, half of each the residual",
}

SIGNED = frozenset({"gradient-input", "integrated-gradients", "leave-one-out"})
"""Methods whose values have a sign."""


class Trained(Protocol):
    """What is asked of a run."""

    @property
    def network(self) -> Any:
        """The model, in eval mode."""

    @property
    def source(self) -> Side:
        """The side that it reads."""

    @property
    def target(self) -> Side:
        """The side that it writes."""


@dataclass(frozen=True, eq=False)
class Saliency:
    """How much each output token hangs on each source token, by one method.

    values: a row a target token and one for the end symbol, a column a source token and one for
        its end symbol (labels, and texts that have one, have no end symbols); signed where the
        method has a sign: above 0, a token speaks for the output.
    gap: of integrated gradients, by how much the sum of each row misses
        log p(y_i | x) - log p(y_i | baseline); None for the others.
    """

    method: str
    source: Encoded
    target: Encoded
    values: Float[Tensor, "outputs tokens"]
    gap: Float[Tensor, " outputs"] | None = None

    @property
    def signed(self) -> bool:
        """Whether the method has a sign."""
        return self.method in SIGNED

    @property
    def signed_shares(self) -> Float[Tensor, "outputs tokens"]:
        """The values, each row divided by the sum of its magnitudes; a row of zeros stays."""
        total = self.values.abs().sum(-1, keepdim=True)
        return self.values / total.masked_fill(total == 0, 1)

    @property
    def shares(self) -> Float[Tensor, "outputs tokens"]:
        """The magnitudes, each row divided by its sum, as weights are."""
        return self.signed_shares.abs()

    @property
    def note(self) -> str:
        """What the values are, in a line."""
        gap = "" if self.gap is None else f"; completeness gap at most {self.gap.abs().max():.2g}"
        return NOTES[self.method] + gap

    def json(self) -> dict[str, Any]:
        """Return plain values for JSON: the values with their signs, and the shares.

        The last row and the last column are the end symbols', but for labels.
        """
        return {
            "method": self.method,
            "note": self.note,
            "source": self.source.text,
            "target": self.target.text,
            "source_tokens": [token.text for token in self.source.tokens],
            "target_tokens": [token.text for token in self.target.tokens],
            "values": self.values.tolist(),
            "shares": self.shares.tolist(),
            "gap": None if self.gap is None else self.gap.tolist(),
        }


def saliency(
    run: Trained,
    sources: Sequence[str],
    targets: Sequence[str | Sequence[int]],
    method: str = "gradient",
) -> list[Saliency]:
    """Return how much each target token hangs on each source token, for each pair.

    Of a run that classifies, a target is a label; of one that tags, a label a word.

    Args:
        run: what `qkv.load` returned.
        sources: source texts.
        targets: target texts, or the ids of translations (their text may be cut otherwise).
        method: one of `METHODS`: gradient, gradient-input, integrated-gradients (`qkv[explain]`),
            jacobian, leave-one-out, rollout and flow (`qkv[explain]`), which read attention alone.

    Raises:
        ValueError: an unknown method, one that the model cannot answer, a package that is not
            there, a label that the model does not know, or more of one side than of the other.
    """
    check_texts(sources, "saliency")
    check_list(targets, "saliency")
    if len(sources) != len(targets):
        raise ValueError(f"{len(sources)} sources, but {len(targets)} targets; give one for each")
    answer: Method = find("saliency method", method, METHODS)
    found = []
    for text, given in zip(sources, targets, strict=True):
        source = run.source.encode(text)
        target = run.target.encode(given) if isinstance(given, str) else run.target.describe(given)
        question = ASKED[run.network.predicts](run.network, source, target)
        values, gap = answer(question)
        kept = None if gap is None else gap.cpu()
        found.append(Saliency(method, source, target, values.cpu(), kept))
    return found


def _of_pair(model: EncoderDecoder, source: Encoded, target: Encoded) -> Question:
    return ask(model, source.ids, target.ids)


def _of_label(model: Any, source: Encoded, target: Encoded) -> Question:
    return _of_labels(model, source, target, 1)


def _of_tags(model: Any, source: Encoded, target: Encoded) -> Question:
    return _of_labels(model, source, target, len(source.ids))


def _of_labels(model: Any, source: Encoded, target: Encoded, count: int) -> Question:
    if not source.ids:
        raise ValueError("a text without a token has nothing that its label could hang on")
    if len(target.ids) != count or UNK in target.ids:
        raise ValueError(
            f"{target.text!r} is not {count} label{'s' * (count > 1)} that the model knows "
            f"({source.text[:40]!r} has {len(source.ids)} tokens)"
        )
    tokens, _ = model.read_texts([source])
    return ask_label(model, tokens[0], [id - len(SPECIALS) for id in target.ids])


ASKED: dict[str, Callable[[Any, Encoded, Encoded], Question]] = {
    "sequence": _of_pair,
    "label": _of_label,
    "tags": _of_tags,
}
"""By what a model predicts."""
