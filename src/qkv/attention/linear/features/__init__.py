"""Feature maps: the similarity of q and k is phi(q) . phi(k). `FEATURES` is the list of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qkv.attention.registry import find

if TYPE_CHECKING:
    from qkv.attention.linear.features.elu import Elu
    from qkv.attention.linear.features.feature_map import FeatureMap, Mapped
    from qkv.attention.linear.features.positive_random import PositiveRandom

FEATURES = {
    "elu": "qkv.attention.linear.features.elu:Elu",
    "positive_random": "qkv.attention.linear.features.positive_random:PositiveRandom",
}

__all__ = ["FEATURES", "Elu", "FeatureMap", "Mapped", "PositiveRandom", "build"]


def build(name: str, *, dim: int | None = None) -> FeatureMap:
    """Build the feature map called `name` for queries and keys of this width.

    Raises:
        ValueError: unknown name, or no dim for features that are drawn for one width.
    """
    built: type[FeatureMap] = find("features", name, FEATURES)
    if dim is None and built.needs_dim:
        raise ValueError(
            f"features {name!r} are drawn for one width, so the name is not enough: say dim=..., "
            f"or pass an object that is kept, qkv.linear.{built.__name__}(dim)"
        )
    return built.sized(dim or 1)


def __getattr__(name: str) -> Any:
    homes = {target.partition(":")[2]: target.partition(":")[0] for target in FEATURES.values()}
    homes |= dict.fromkeys(("FeatureMap", "Mapped"), "qkv.attention.linear.features.feature_map")
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
