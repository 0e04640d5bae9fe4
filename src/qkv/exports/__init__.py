"""Trained models for other programs: CTranslate2 and ONNX, checked for equal tokens."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.exports.exporter import export

FORMATS = {
    "ctranslate2": "qkv.exports.ctranslate2:CTranslate2",
    "onnx": "qkv.exports.onnx:Onnx",
}
"""Formats by name, as "module:Class"."""

__all__ = ["FORMATS", "export"]


def __getattr__(name: str) -> Any:
    if name == "export":
        return import_module("qkv.exports.exporter").export
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
