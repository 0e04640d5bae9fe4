"""Labels for texts and for words, from models that give them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.labelling.classifying import Classification, classify
    from qkv.labelling.tagging import Tagged, tag

_EXPORTS = {
    "Classification": "classifying",
    "Tagged": "tagging",
    "classify": "classifying",
    "tag": "tagging",
}

__all__ = ["Classification", "Tagged", "classify", "tag"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"qkv.labelling.{_EXPORTS[name]}"), name)
