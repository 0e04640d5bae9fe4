"""Hard attention: one position per query (Xu et al. 2015, section 4.1; Mnih et al. 2014).

    a_i ~ Categorical(softmax(e_i)) while training,   a_i = argmax_j e_ij otherwise
    alpha_i = one_hot(a_i)

Outside training the likeliest position is read, so that an output does not depend on chance.
Parameters: none.
Cost: a random number a pair while training, and a softmax where `stats` are asked.
Differs from the papers: outside training nothing is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.normalizers.normalizer import Normalized, Normalizer

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Hard(Normalizer):
    """Each query reads one key. No gradient passes through the draw.

    The energies learn from what `stats` returns: log p of the position drawn, and of every
    position, both differentiable (see qkv.nn.reinforce). Random numbers are torch's global ones.
    """

    name = "hard"
    draws = True

    def forward(
        self, energies: Float[Tensor, "*batch queries keys"], *, stats: bool
    ) -> Normalized:
        """Return one-hot weights; with `stats`, also log p(a_i), log p and the log-normaliser."""
        with torch.no_grad():
            noisy = energies + gumbel_noise(energies) if self.training else energies
            position = noisy.argmax(-1, keepdim=True)
        weights = one_hot(position, energies)
        if not stats:
            return Normalized(weights)
        log_normalizer = torch.logsumexp(energies, dim=-1)
        log_distribution = torch.log_softmax(energies, dim=-1)
        log_prob = log_distribution.gather(-1, position).squeeze(-1)
        return Normalized(weights, log_normalizer, log_prob, log_distribution)


def gumbel_noise(energies: Tensor) -> Tensor:
    """Return g with which argmax(e + g) is a draw from softmax(e) (Gumbel 1954).

    g = -log E, E exponential. It is finite, so that a forbidden -inf stays -inf.
    """
    dtype = torch.promote_types(energies.dtype, torch.float32)
    exponential = torch.empty_like(energies, dtype=dtype).exponential_()
    return -exponential.clamp(min=torch.finfo(dtype).tiny).log()


def one_hot(
    position: Int[Tensor, "*batch queries 1"], energies: Float[Tensor, "*batch queries keys"]
) -> Float[Tensor, "*batch queries keys"]:
    """Return 1 at each position, without a gradient; a NaN stays, so that nobody overlooks it."""
    energies = energies.detach()
    weights = torch.zeros_like(energies).scatter(-1, position, 1.0)
    return weights.masked_fill(energies.isnan(), torch.nan)
