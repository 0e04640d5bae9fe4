"""linear_attend(): attention whose cost grows as T + S, in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qkv.attention.checks import check_inputs, check_lengths
from qkv.attention.linear.features import build
from qkv.attention.linear.prepared import attend, prepare
from qkv.attention.linear.state import raised

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from qkv.attention.linear.features.feature_map import FeatureMap
    from qkv.attention.masks.mask import Mask
    from qkv.attention.result import Attended

CHUNK = 64


def linear_attend(
    query: Float[Tensor, "*batch queries dim"],
    key: Float[Tensor, "*batch keys dim"],
    value: Float[Tensor, "*batch keys value_dim"] | None = None,
    *,
    features: str | FeatureMap = "elu",
    mask: Mask | None = None,
    need: Literal["context", "weights", "stats"] = "context",
    chunk: int = CHUNK,
) -> Attended:
    """Read the values through sums over the keys (Katharopoulos et al. 2020, eq. 5 and 9).

        c_i = phi(q_i) . sum_j phi(k_j) v_j^T / (phi(q_i) . sum_j phi(k_j))

    over the keys j that query i may meet: all, or those of `Mask.lengths`, of a keep or drop mask
    with one row for all queries, of `Mask.causal`, or of several of these joined by &.
    value=None reads the keys. Leading dimensions are batch and heads, equal or broadcastable.
    need: "stats" gives the log of the denominator; "weights" writes the weights
    phi(q_i) . phi(k_j) / denominator out, [queries, keys] numbers that nothing else needs. What is
    asked never changes the context. chunk: how many queries the causal form takes at once; any
    number gives the same. float16 and bfloat16 are summed in float32.

    Raises:
        ValueError: shapes or dtypes that do not fit, features that need more than a name, or a
            mask that lets queries meet different keys in any way but the causal one.
    """
    value = key if value is None else value
    check_inputs(query, key, value)
    dimensions = max(query.dim(), key.dim(), value.dim())
    prepared = prepare(
        filled(features), raised(key, dimensions), raised(value, dimensions), mask, query.shape[-2]
    )
    check_lengths(mask, key.shape[-2])
    return attend(query, prepared, need, checked(chunk))


def filled(features: str | FeatureMap, dim: int | None = None) -> FeatureMap:
    """Turn a name into features."""
    return build(features, dim=dim) if isinstance(features, str) else features


def checked(chunk: int) -> int:
    """Refuse a chunk that is none.

    Raises:
        ValueError: it is not a whole number of 1 or more.
    """
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise ValueError(f"chunk is a whole number of queries, 1 or more, got {chunk!r}")
    return chunk
