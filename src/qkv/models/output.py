"""Output layers: from a decoder's features to logits over the vocabulary."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qkv.nn.dropout import Dropout


class Output(nn.Module):
    """What turns features of some width into logits. Abstract.

    `last` is its last linear layer and `hidden_states` all that comes before, for a loss that
    computes both that layer and itself in one pass; last = None: there is no such layer.
    """

    last: nn.Linear | None = None

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def hidden_states(
        self, features: Float[Tensor, "*batch features"]
    ) -> Float[Tensor, "*batch width"]:
        """Return what the last layer reads."""
        return features


class LinearOutput(Output):
    """logits = W features + b; with `tied`, W is the target embedding (Press and Wolf 2017)."""

    def __init__(
        self, features: int, vocabulary: int, *, dropout: float, tied: nn.Embedding | None = None
    ) -> None:
        super().__init__(features)
        self.dropout = Dropout(dropout)
        self.bridge: nn.Module = nn.Identity()
        self.project = nn.Linear(features, vocabulary)
        if tied is not None:
            if features != tied.embedding_dim:
                self.bridge = nn.Linear(features, tied.embedding_dim, bias=False)
            self.project = nn.Linear(tied.embedding_dim, vocabulary)
            self.project.weight = tied.weight

    @property
    def last(self) -> nn.Linear:  # type: ignore[override]
        """The layer to the vocabulary."""
        return self.project

    def hidden_states(
        self, features: Float[Tensor, "*batch features"]
    ) -> Float[Tensor, "*batch width"]:
        """See `Output.hidden_states`."""
        states: Tensor = self.bridge(self.dropout(features))
        return states

    def forward(self, features: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch words"]:
        """Return the logits."""
        logits: Tensor = self.project(self.hidden_states(features))
        return logits


class MaxoutOutput(Output):
    """Deep output with one maxout layer (Bahdanau et al. 2015, appendix A.2.2).

        t~ = U_o s_i + V_o E y_{i-1} + C_o c_i,   t_k = max(t~_{2k-1}, t~_{2k}),   logits = W_o t

    The features are s_i, E y_{i-1} and c_i side by side.

    Differs from the paper: reads s_i, as its eq. 4 says, where its appendix writes s_{i-1}; both
    layers have biases, which the appendix leaves out.
    """

    def __init__(
        self,
        features: int,
        maxout: int,
        vocabulary: int,
        *,
        dropout: float,
        tied: nn.Embedding | None = None,
    ) -> None:
        super().__init__(features)
        self.hidden = nn.Linear(features, 2 * maxout)
        self.linear = LinearOutput(maxout, vocabulary, dropout=dropout, tied=tied)

    @property
    def last(self) -> nn.Linear:  # type: ignore[override]
        """The layer to the vocabulary."""
        return self.linear.last

    def hidden_states(
        self, features: Float[Tensor, "*batch features"]
    ) -> Float[Tensor, "*batch width"]:
        """See `Output.hidden_states`."""
        return self.linear.hidden_states(self._maxima(features))

    def forward(self, features: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch words"]:
        """Return the logits."""
        logits: Tensor = self.linear(self._maxima(features))
        return logits

    def _maxima(self, features: Tensor) -> Float[Tensor, "*batch maxout"]:
        pairs: Tensor = self.hidden(features).unflatten(-1, (-1, 2))
        return torch.maximum(pairs[..., 0], pairs[..., 1])


class NoOutput(Output):
    """The features are log-probabilities already: of models that speak before they sum."""

    def forward(self, features: Float[Tensor, "*batch words"]) -> Float[Tensor, "*batch words"]:
        """Return them."""
        return features
