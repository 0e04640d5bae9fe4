"""Names to classes: a registry is a plain dict of "module:Class" strings, imported on use."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def find(slot: str, name: str, registry: Mapping[str, str]) -> Any:
    """Return the class that `registry` holds under `name`.

    Raises:
        ValueError: no such name; the message lists the known ones and suggests the nearest.
    """
    if name not in registry:
        near = difflib.get_close_matches(name, registry, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {slot} {name!r}; known: {', '.join(sorted(registry))}.{hint}")
    module, _, attribute = registry[name].partition(":")
    return getattr(import_module(module), attribute)
