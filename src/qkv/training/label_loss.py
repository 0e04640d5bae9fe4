"""The loss of a batch of labels."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from qkv.models.labeller import Labeller, without_end
from qkv.text import SPECIALS


class LabelLoss(nn.Module):
    """Sums of -log p over the labels of a batch: smoothed (to train on) and plain.

        smoothed = (1 - eps) * -log p(y) + eps * mean_v -log p(v)     (Szegedy et al. 2016, sec. 7)

    Sums, as in `SequenceLoss`. The end symbols of texts and labels are not read.
    """

    def __init__(self, model: Labeller, label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing

    def forward(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        target_in: Int[Tensor, "batch time"],
        target_out: Int[Tensor, "batch time"],
        wanted: None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Return the smoothed sum, with its graph, and the plain sum, without.

        wanted: attention is guided by the links of translations alone (see `SequenceLoss`).
        """
        tokens, lengths = without_end(source, lengths)
        logits = self.model.rows(self.model(tokens, lengths), lengths).float()
        targets = target_out[target_out >= len(SPECIALS)] - len(SPECIALS)
        smoothed = F.cross_entropy(
            logits, targets, reduction="sum", label_smoothing=self.label_smoothing
        )
        return smoothed, F.cross_entropy(logits.detach(), targets, reduction="sum")
