"""The file that keeps one side: JSON, with a hash over its content."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qkv.files import write_atomically

_FORMAT = "qkv text side"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Content:
    """What decides how text becomes ids."""

    kind: str
    lowercase: bool
    symbols: tuple[str, ...]
    model: bytes


def digest(content: Content) -> str:
    """Return a hash of the content, whatever the layout of the file that holds it."""
    return _digest(_fields(content))


def write(path: Path, content: Content) -> None:
    """Write the content; a reader sees the old file or the new one, never half of one."""
    fields = _fields(content)
    record = {"format": _FORMAT, "version": _VERSION, "hash": _digest(fields), **fields}
    write_atomically(path, (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode())


def read(path: Path) -> Content:
    """Read what `write` wrote.

    Raises:
        ValueError: it is no such file, or not as it was written; names the file and the fault.
    """
    record = _record(path)
    if record.get("version") != _VERSION:
        raise ValueError(
            f"{path}: this is version {record.get('version')!r} of the format, and this qkv reads "
            f"version {_VERSION}; use the qkv that wrote it"
        )
    names = {"kind": str, "lowercase": bool, "symbols": list, "model": str}
    for name, type_ in names.items():
        if not isinstance(record.get(name), type_):
            raise ValueError(
                f"{path}: the field {name!r} is missing or of a wrong type; "
                "take a fresh copy of the file, or train again"
            )
    fields = {name: record[name] for name in names}
    if _digest(fields) != record.get("hash"):
        raise ValueError(
            f"{path}: the content does not match its hash, so it was edited or damaged after it "
            "was written; ids would no longer mean what the model learned. Take a fresh copy"
        )
    try:
        model = base64.b64decode(record["model"], validate=True)
    except binascii.Error:
        raise ValueError(f"{path}: the stored model is not base64; take a fresh copy") from None
    return Content(record["kind"], record["lowercase"], tuple(record["symbols"]), model)


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a saved text side (not UTF-8 text)") from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: cut short, or not a saved text side (not JSON: line {error.lineno}, "
            f"{error.msg}); take a fresh copy of the file"
        ) from None
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise ValueError(
            f'{path}: JSON, but not a saved text side (no "format": "{_FORMAT}"); '
            "give the file that Side.save wrote"
        )
    return record


def _fields(content: Content) -> dict[str, Any]:
    return {
        "kind": content.kind,
        "lowercase": content.lowercase,
        "symbols": list(content.symbols),
        "model": base64.b64encode(content.model).decode("ascii"),
    }


def _digest(fields: dict[str, Any]) -> str:
    canonical = json.dumps(fields, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode("ascii"), digest_size=16).hexdigest()
