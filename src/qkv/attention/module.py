"""The five slots as one module: the value that a model holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from qkv.attention.kernels import choose
from qkv.attention.slots import Slots, fill
from qkv.attention.work import prepared_for, step, whole

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from qkv.attention.masks.mask import Mask
    from qkv.attention.normalizers.normalizer import Normalizer
    from qkv.attention.prepared import Prepared
    from qkv.attention.result import Attended
    from qkv.attention.reweighters.reweighter import Reweighter
    from qkv.attention.scores.score import Score
    from qkv.attention.work import Need


class Attention(nn.Module):
    """attend() with its slots filled, and dropout on the weights while training.

    Holds parameters, never data: what is prepared from the keys is a value that the caller keeps.

        prepared = attention.prepare(key, mask=Mask.lengths(n))     # once per sentence
        out = attention.attend(query, prepared)                     # once per decoder step
    """

    def __init__(
        self,
        *,
        score: str | Score = "scaled_dot",
        bias: Tensor | None = None,
        normalizer: str | Normalizer = "softmax",
        reweighter: Reweighter | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a probability, 0 <= dropout < 1, got {dropout}")
        slots = fill(score, bias, normalizer, reweighter)
        self.score = slots.score
        self.normalizer = slots.normalizer
        self.reweighter = reweighter
        self.dropout = dropout
        if isinstance(bias, nn.Parameter):
            self.bias: Tensor | None = bias
        else:
            self.register_buffer("bias", bias)

    def forward(
        self,
        query: Float[Tensor, "*batch queries query_dim"],
        key: Float[Tensor, "*batch keys key_dim"],
        value: Float[Tensor, "*batch keys value_dim"] | None = None,
        *,
        mask: Mask | None = None,
        need: Need = "context",
        kernel: str = "auto",
    ) -> Attended:
        """Ask all queries at once; see attend()."""
        work = whole(self._slots(), query, key, value, mask, need)
        return choose(kernel, work).run(work)

    def prepare(
        self,
        key: Float[Tensor, "batch *heads keys key_dim"],
        value: Float[Tensor, "batch *heads keys value_dim"] | None = None,
        *,
        mask: Mask | None = None,
    ) -> Prepared:
        """Do once what every query shares: project and hide the keys, draw the mask.

        A mask that tells queries apart (causal, ...) is drawn at each attend() instead.
        """
        return prepared_for(self._slots(), key, value, mask, None)

    def attend(
        self,
        query: Float[Tensor, "batch *heads queries query_dim"],
        prepared: Prepared,
        *,
        need: Need = "context",
    ) -> Attended:
        """Ask some queries: one decoder step, or a beam's hypotheses side by side."""
        work = step(self._slots(), query, prepared, need)
        return choose("auto", work).run(work)

    def _slots(self) -> Slots:
        dropout = self.dropout if self.training else 0.0
        return Slots(self.score, self.normalizer, self.bias, self.reweighter, dropout)
