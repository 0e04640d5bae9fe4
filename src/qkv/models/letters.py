"""A vector of each word from its letters (Ma and Hovy 2016, section 2.1)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.text.letters import LETTERS

_EMBEDDING = 32


class Letters(nn.Module):
    """A convolution over a word's letters, and the largest output of each filter.

        r_f = max_t (W_f [E b_{t-1}; E b_t; E b_{t+1}] + u_f)

    b are the word's bytes, with zeros around them; a word without any, such as a pad, is zero.

    Differs from the paper: bytes (see `qkv.text.letters`) in place of characters, embeddings of 32
    in place of 30.
    """

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(LETTERS, _EMBEDDING, padding_idx=0)
        bound = (3 / _EMBEDDING) ** 0.5  # section 3.2
        nn.init.uniform_(self.embedding.weight, -bound, bound)
        nn.init.zeros_(self.embedding.weight[0])
        self.convolution = nn.Conv1d(_EMBEDDING, filters, kernel_size=3, padding=1)

    def forward(
        self, letters: Int[Tensor, "batch words letters"]
    ) -> Float[Tensor, "batch words filters"]:
        """Read each word by itself."""
        flat = letters.flatten(0, 1)
        there = (flat > 0).unsqueeze(1)
        found = self.convolution(self.embedding(flat).transpose(1, 2))
        largest = found.masked_fill(~there, -torch.inf).amax(-1)
        return largest.masked_fill(~there.any(-1), 0).unflatten(0, letters.shape[:2])
