"""Trained models behind HTTP: translate, align, and look at the attention.

Needs the extra `serve`. Nothing here is imported by the rest, but for `qkv serve`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.serve.app import create_app
    from qkv.serve.limits import Limits

_HOMES = {"create_app": "qkv.serve.app", "Limits": "qkv.serve.limits"}

__all__ = ["Limits", "create_app"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
