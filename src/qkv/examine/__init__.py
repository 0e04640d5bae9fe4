"""The tests of explanation on a run: its data, its model trained again, a report and a page."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.examine.examination import examine
    from qkv.examine.report import Report

_EXPORTS = {"Report": "report", "examine": "examination"}

__all__ = ["Report", "examine"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
