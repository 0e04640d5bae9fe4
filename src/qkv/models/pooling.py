"""A sequence of vectors to one: attention with a learned query (Yang et al. 2016, section 2.2)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.attention import Mask
from qkv.attention.scores.score import AdditiveScore
from qkv.config import AttentionConfig
from qkv.models.parts import build_attention


class Pooling(nn.Module):
    """c = sum_j alpha_j h_j,   alpha = normalize(score(u, h_j)),   u learned.

    With the additive score, v tanh(W u + U h_j), W u is the bias b of the paper's equation 5 and v
    its context vector, which starts at random, as in the paper. A decoder's additive score starts
    at v = 0, where W and U have no gradient; a text that can be judged without attention would
    hardly give them one.

    Parameters: u [width], and those of the attention.

    Differs from the paper: any score and normaliser; what is attended to is h itself.
    """

    def __init__(self, config: AttentionConfig, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(width) * width**-0.5)
        self.attention = build_attention(config, width, width)
        if isinstance(self.attention.score, AdditiveScore):
            nn.init.normal_(self.attention.score.v, std=self.attention.score.v.numel() ** -0.5)

    def forward(
        self, annotations: Float[Tensor, "batch words width"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch words"]:
        """Return the weights; zero at the pads."""
        query = self.query.expand(annotations.shape[0], 1, -1)
        attended = self.attention(query, annotations, mask=Mask.lengths(lengths), need="weights")
        weights: Tensor = attended.weights.squeeze(1)
        return weights
