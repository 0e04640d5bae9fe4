"""A labelled text as a question: log p of its label, or of each word's, by the text's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.explain.attribution.levels import mixing_of_levels
from qkv.explain.attribution.pair import mixing_of
from qkv.explain.attribution.question import Features, Mixing, Question, Rows
from qkv.explain.heads import watched
from qkv.models.labeller import Levels


class Decision(Protocol):
    """What a model says of a batch, and where it looked."""

    @property
    def logits(self) -> Float[Tensor, "batch *words labels"]:
        """Of each text; of a tagger, of each word."""

    @property
    def attention(self) -> Float[Tensor, "batch *words words"]:
        """A row a decision."""

    @property
    def levels(self) -> Levels | None:
        """Of a model that reads sentences, what it attended to at both levels."""


class Labels(Protocol):
    """A model of labels in three steps; lengths count what is real."""

    def embed(
        self, tokens: Int[Tensor, "batch words *letters"]
    ) -> Float[Tensor, "batch words dim"]:
        """Return the embeddings."""
        ...

    def silence(
        self, tokens: Int[Tensor, "batch words *letters"]
    ) -> Float[Tensor, "batch words dim"]:
        """Return what stands for these words where they are to say nothing."""
        ...

    def annotate(
        self, embedded: Float[Tensor, "batch words dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch words width"]:
        """Return what the encoder says of each word."""
        ...

    def decide(
        self, annotations: Float[Tensor, "batch words width"], lengths: Int[Tensor, " batch"]
    ) -> Decision:
        """Attend, and say which label it is."""
        ...

    def parameters(self) -> Any:
        """Those of a module, by which its device is known."""
        ...


def ask_label(
    model: Labels, tokens: Sequence[int] | Int[Tensor, "words letters"], labels: Sequence[int]
) -> Question:
    """Return the question how log p of each label hangs on each token.

    The baseline is the embedding of a pad. Rollout and flow go through the attentions of the
    encoder, if it has some, and then through the one that decides; of a hierarchical model through
    both levels (`mixing_of_levels`), whose sentences end where they end, whatever is silenced.

    Args:
        model: in eval mode.
        tokens: ids of the text; of a model that reads letters, a row a word.
        labels: the column of the logits that is asked for: one of a text; of a tagger one a token.
    """
    device = next(model.parameters()).device
    chosen = torch.tensor(labels, device=device)
    given = torch.as_tensor(tokens, device=device)
    with torch.no_grad():
        embedded, baseline = model.embed(given[None])[0], model.silence(given[None])[0]

    def decide(rows: Rows) -> Decision:
        lengths = torch.full((len(rows),), len(tokens), device=device)
        with torch.backends.cudnn.flags(enabled=False):
            return model.decide(model.annotate(rows, lengths), lengths)

    def features(rows: Rows) -> Features:
        logits = decide(rows).logits
        return logits.reshape(len(rows), -1, logits.shape[-1])

    def score(features: Tensor, outputs: Tensor) -> Tensor:
        log_probs = features.log_softmax(-1)
        return log_probs.gather(-1, chosen[outputs].unsqueeze(-1)).squeeze(-1)

    def mixing() -> Mixing:
        assert isinstance(model, nn.Module)
        with torch.inference_mode(), watched(model) as found:
            decision = decide(embedded[None])
        if decision.levels is not None:
            return mixing_of_levels(found, decision.levels)
        heads = {name: weights[0].cpu() for name, weights in found.items()}
        own = decision.attention.reshape(1, -1, len(tokens)).cpu()
        return mixing_of(heads | {"attention": own})

    return Question(embedded, baseline, features, score, mixing)
