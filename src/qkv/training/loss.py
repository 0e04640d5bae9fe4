"""The loss of a batch."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.models.model import EncoderDecoder
from qkv.text import PAD


class SequenceLoss(nn.Module):
    """Sums of -log p over the target tokens of a batch: smoothed (to train on) and plain.

        smoothed = (1 - eps) * -log p(y) + eps * mean_v -log p(v)     (Szegedy et al. 2016, sec. 7)

    Sums, not means: whoever calls it divides by the tokens of the whole update, so that neither
    accumulation nor the number of processes changes the gradient. The output layer runs on real
    tokens only.
    """

    def __init__(self, model: EncoderDecoder, label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing

    def forward(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        target_in: Int[Tensor, "batch time"],
        target_out: Int[Tensor, "batch time"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Return the smoothed sum, with its graph, and the plain sum, without."""
        real = target_out != PAD
        features = self.model.force(source, lengths, target_in).features[real]
        logits = self.model.output(features).float()
        # -log p(v) = normalizer - logit(v): no [tokens, vocabulary] tensor of log-probabilities.
        normalizer = logits.logsumexp(-1)
        plain = normalizer - logits.gather(-1, target_out[real].unsqueeze(-1)).squeeze(-1)
        uniform = normalizer - logits.mean(-1)
        smoothed = (1 - self.label_smoothing) * plain + self.label_smoothing * uniform
        return smoothed.sum(), plain.detach().sum()
