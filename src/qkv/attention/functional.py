"""attend(): the five stages in one call; plan(): what that call would run, and its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv.attention.kernels import explain, run
from qkv.attention.plain import plain
from qkv.attention.result import Attended
from qkv.attention.slots import fill
from qkv.attention.work import whole

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from qkv.attention.biases.position_bias import PositionBias
    from qkv.attention.kernels.kernel import Plan
    from qkv.attention.masks.mask import Mask
    from qkv.attention.normalizers.normalizer import Normalizer
    from qkv.attention.reweighters.reweighter import Reweighter
    from qkv.attention.scores.score import Score
    from qkv.attention.work import Need


def attend(  # noqa: PLR0913 - the slots of the equation are its arguments
    query: Float[Tensor, "*batch queries query_dim"],
    key: Float[Tensor, "*batch keys key_dim"],
    value: Float[Tensor, "*batch keys value_dim"] | None = None,
    *,
    score: str | Score = "scaled_dot",
    mask: Mask | None = None,
    bias: Float[Tensor, "*batch queries keys"] | PositionBias | None = None,
    normalizer: str | Normalizer = "softmax",
    reweighter: Reweighter | None = None,
    need: Need = "context",
    kernel: str = "auto",
) -> Attended:
    """Ask the keys and read the values: c = reweight(normalize(mask(score(q, k)) + bias)) v.

        query, key = torch.randn(2, 3, 16), torch.randn(2, 5, 16)  # [batch, time, dim]
        mask = qkv.Mask.lengths(torch.tensor([5, 2]))  # the second item has two keys
        weights = qkv.attend(query, key, score="dot", mask=mask, need="weights").weights

    value=None reads the keys themselves (Bahdanau's annotations). Leading dimensions are batch
    and heads, equal or broadcastable; a mask's are read from the left, a bias's from the right.
    need: "context" alone, or with the "weights", or with the "stats" (the log-normaliser), or
    qkv.WeightsOf(heads=..., queries=...) for some of the weights. What is asked never changes the
    context.

    score: "dot", "scaled_dot", "cosine"; with parameters, an object of qkv.scores: General,
        Additive, Concat, Deep, Location.
    mask: qkv.Mask.keep, drop, lengths, causal and others, joined by & | ~.
    normalizer: "softmax", "sparsemax", "entmax", "sigmoid", "hard", "gumbel", or an object of
        qkv.normalizers; with parameters: LearnedEntmax.
    kernel: "auto", "sdpa", "sparse", "narrow", "additive_triton", "additive_triton_energies",
        "additive_numba", "additive_numba_energies", "additive", "reference"; qkv.plan says which
        "auto" takes, and why.

    Raises:
        ValueError: shapes or dtypes that do not fit, a mask that is a bare tensor, an unknown
            name, or a `kernel` that cannot do this combination.
    """
    asked = need == "context" and kernel == "auto" and normalizer == "softmax"
    if asked and bias is None and reweighter is None:
        context = plain(score, query, key, key if value is None else value, mask)
        if context is not None:
            return Attended(context)
    slots = fill(score, bias, normalizer, reweighter)
    work = whole(slots, query, key, value, mask, need, kernel)
    return run(kernel, work)


def plan(  # noqa: PLR0913 - the same arguments as attend
    query: Float[Tensor, "*batch queries query_dim"],
    key: Float[Tensor, "*batch keys key_dim"],
    value: Float[Tensor, "*batch keys value_dim"] | None = None,
    *,
    score: str | Score = "scaled_dot",
    mask: Mask | None = None,
    bias: Float[Tensor, "*batch queries keys"] | PositionBias | None = None,
    normalizer: str | Normalizer = "softmax",
    reweighter: Reweighter | None = None,
    need: Need = "context",
    kernel: str = "auto",
) -> Plan:
    """Say which kernel attend() would run with these arguments, why, and what it costs.

    Raises:
        ValueError: as attend() would.
    """
    slots = fill(score, bias, normalizer, reweighter)
    work = whole(slots, query, key, value, mask, need, kernel)
    return explain(kernel, work)
