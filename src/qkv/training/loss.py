"""The loss of a batch."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from qkv.config import GuidedConfig
from qkv.models.model import EncoderDecoder, Forced
from qkv.nn.cross_entropy import linear_cross_entropy
from qkv.nn.reinforce import Drawn, Reinforce
from qkv.text import PAD


class SequenceLoss(nn.Module):
    """Sums of -log p over the target tokens of a batch: smoothed (to train on) and plain.

        smoothed = (1 - eps) * -log p(y) + eps * mean_v -log p(v)     (Szegedy et al. 2016, sec. 7)

    Sums, not means: whoever calls it divides by the tokens of the whole update, so that neither
    accumulation nor the number of processes changes the gradient. The output layer runs on real
    tokens only.

    Where the model draws positions (a hard normaliser, in training) an estimator turns the
    smoothed values into a loss with the right expected gradient; the plain sum is then that of the
    positions which were read, and in eval mode that of the likeliest ones.

    Where the attention that is wanted is given, the smoothed sum has its cross-entropy too, with
    the weight that `guidance` says (see `guided`).
    """

    def __init__(
        self,
        model: EncoderDecoder,
        label_smoothing: float,
        estimator: nn.Module | None = None,
        guidance: GuidedConfig | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing
        self.estimator = estimator
        self.guidance = guidance or GuidedConfig()

    def forward(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        target_in: Int[Tensor, "batch time"],
        target_out: Int[Tensor, "batch time"],
        wanted: Float[Tensor, "batch time source"] | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Return the smoothed sum, with its graph, and the plain sum, without."""
        forced = self.model.force(source, lengths, target_in, need_attention=wanted is not None)
        smoothed, plain = self._spoken(forced, target_out)
        if wanted is not None:
            assert forced.attention is not None, "the config lets attention alone be guided"
            shift = int(self.guidance.shifted)
            asked = guided(forced.attention[:, shift:], wanted[:, : wanted.shape[1] - shift])
            smoothed = smoothed + self.guidance.weight * asked
        return smoothed, plain

    def _spoken(
        self, forced: Forced, target_out: Int[Tensor, "batch time"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Return the sums of the tokens."""
        real = target_out != PAD
        if forced.drawn is not None:
            return self._drawn(forced, forced.drawn, target_out, real)
        features, targets = forced.features[real], target_out[real]
        output = self.model.output
        if output.last is not None:
            last = output.last
            hidden = output.hidden_states(features)
            return linear_cross_entropy(
                hidden, last.weight, last.bias, targets, self.label_smoothing
            )
        smoothed, plain = self._tokens(features, targets)
        return smoothed.sum(), plain.detach().sum()

    def _drawn(
        self,
        forced: Forced,
        drawn: Drawn,
        target_out: Int[Tensor, "batch time"],
        real: Bool[Tensor, "batch time"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Let the estimator choose the positions whose losses it weighs."""
        assert isinstance(self.estimator, Reinforce), "positions are drawn, and nobody learns"
        readings = self.estimator.readings(forced.features, drawn)
        features = readings.features[real]
        targets = target_out[real].unsqueeze(-1).expand(features.shape[:-1])
        smoothed, plain = self._tokens(features, targets)
        gains = smoothed.new_zeros(readings.weights.shape)
        gains[real] = -smoothed
        loss = self.estimator(gains, readings, drawn, forced.features, real)
        return loss, (plain.detach() * readings.weights[real]).sum()

    def _tokens(
        self, features: Float[Tensor, "*tokens features"], targets: Int[Tensor, "*tokens"]
    ) -> tuple[Float[Tensor, "*tokens"], Float[Tensor, "*tokens"]]:
        """Return the smoothed and the plain loss of each token."""
        logits = self.model.output(features).float()
        # -log p(v) = normalizer - logit(v): no [tokens, vocabulary] tensor of log-probabilities.
        normalizer = logits.logsumexp(-1)
        plain = normalizer - logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        uniform = normalizer - logits.mean(-1)
        return (1 - self.label_smoothing) * plain + self.label_smoothing * uniform, plain


def guided(
    attention: Float[Tensor, "batch time source"], wanted: Float[Tensor, "batch time source"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of attention with the attention that is wanted, over all rows.

        - sum_ij g_ij log a_ij

    (Chen et al. 2016, Guided Alignment Training, eq. 9; Garg et al. 2019, eq. 5.) A row of which
    nothing is wanted adds nothing. A weight of 0, as outside a window, counts as 1e-8 and has no
    gradient: nothing could raise it.
    """
    assert attention.requires_grad or not torch.is_grad_enabled(), "attention has no graph"
    return -(wanted * attention.float().clamp(min=1e-8).log()).sum()
