"""What a value of a config may be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import ConfigDict, Field

from qkv.spelling import did_you_mean

STRICT = ConfigDict(extra="forbid", strict=True)

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Real = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]


def known(kind: str, name: str, allowed: Iterable[str]) -> None:
    """Refuse a name that no registry holds, and suggest the nearest one."""
    if name not in allowed:
        hint = did_you_mean(name, allowed)
        raise ValueError(f"unknown {kind} {name!r}; allowed: {', '.join(allowed)}.{hint}")
