"""The variants of a comparison: every combination of the varied values, as checked configs."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from qkv.compare.axes import KIND, Axis, with_kind
from qkv.config import Config
from qkv.configfile import config_tree, make_config

_LONGEST = 150  # characters of a folder's name; systems allow 255 bytes


@dataclass(frozen=True)
class Variant:
    """One combination.

    values: by the keys' full names. label: what is shown, `attention.score=dot training.seed=1`.
    left_out: keys of the recipe's model that this variant's kind of model does not have.
    """

    values: dict[str, Any]
    label: str
    config: Config
    left_out: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The name of its run folder: the same values always get the same one."""
        spelt = ",".join(f"{key}={plain(value)}" for key, value in self.values.items())
        name = quote(spelt, safe="=,[]")  # no two values share a name, and none has a slash
        if len(name) <= _LONGEST:
            return name
        return f"{name[:_LONGEST]}-{hashlib.sha256(spelt.encode()).hexdigest()[:12]}"


def variants_of(config: Config, axes: Sequence[Axis]) -> list[Variant]:
    """Return every combination, the last key's values changing fastest.

    Raises:
        ValueError: the config refuses one; it is named.
    """
    found = []
    for values in itertools.product(*(axis.values for axis in axes)):
        chosen = {axis.key: value for axis, value in zip(axes, values, strict=True)}
        label = " ".join(
            f"{axis.shown}={plain(value)}" for axis, value in zip(axes, values, strict=True)
        )
        tree, left_out = _tree(config, chosen)
        made = make_config(tree, origin=f"variant {label}")
        found.append(Variant(chosen, label, made, left_out))
    return found


def _tree(config: Config, values: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the config's tree with other values, and the model's keys that went."""
    tree = copy.deepcopy(config_tree(config))
    left_out: tuple[str, ...] = ()
    if KIND in values:
        before = tree["model"]
        tree = with_kind(tree, values[KIND])
        left_out = tuple(f"model.{key}" for key in before if key not in tree["model"])
    for key, value in values.items():
        *tables, last = key.split(".")
        table = tree
        for name in tables:
            table = table.setdefault(name, {})
        table[last] = value
    return tree, left_out


def plain(value: Any) -> str:
    """Return a value as a TOML file has it, without the quotes."""
    match value:
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{','.join(map(plain, value))}]"
    return str(value)
