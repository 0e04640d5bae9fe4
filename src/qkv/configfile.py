"""Configs read from TOML or JSON: every unknown key and every wrong value is refused by name."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from qkv.config import MODEL_CONFIGS, Config
from qkv.config.problems import explain_value
from qkv.marks import without_mark
from qkv.spelling import did_you_mean, nearest


def load_config(path: Path) -> Config:
    """Read a config from TOML, or from the JSON of a run folder.

    Raises:
        ValueError: the file cannot be read, or a key or value in it is wrong; all are named.
    """
    try:
        text = without_mark(path.read_bytes(), f"config {path}").decode("utf-8")
        tree = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError as error:
        raise ValueError(f"config {path} does not exist") from error
    except OSError as error:
        raise ValueError(f"config {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        where = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"config {path}, line {where}: not UTF-8 ({error.reason})") from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"config {path} cannot be read: {error}") from error
    return make_config(tree, origin=str(path))


def make_config(tree: dict[str, Any], *, origin: str = "config") -> Config:
    """Check a tree of plain values and return the config it describes.

    Raises:
        ValueError: names every unknown key, with the nearest known one, and every wrong value.
    """
    try:
        # As JSON, since pydantic's strict mode takes an array for a tuple there, and only there.
        return _adapter().validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise ValueError(f"{origin}: " + "; ".join(lines)) from error


def config_tree(config: Config) -> dict[str, Any]:
    """Return a config as plain values, as TOML or JSON hold them."""
    return asdict(config)


@cache
def _adapter() -> TypeAdapter[Config]:
    return TypeAdapter(Config)


def _explain(problem: Any) -> str:
    """Say one of pydantic's findings in a line."""
    path = [str(part) for part in problem["loc"]]
    # Below `model`, pydantic's path has the kind as a step of its own.
    kind = path.pop(1) if path[:1] == ["model"] and len(path) > 1 else Config().model.kind
    where = ".".join(path)
    match problem["type"]:
        case "unexpected_keyword_argument":
            return f"unknown key {where}{_nearest(path, kind)}"
        case "union_tag_not_found":
            return f"model.kind is missing; allowed: {', '.join(MODEL_CONFIGS)}"
        case "union_tag_invalid":
            given = problem["ctx"]["tag"]
            hint = did_you_mean(given, MODEL_CONFIGS)
            return f"unknown model.kind {given!r}; allowed: {', '.join(MODEL_CONFIGS)}.{hint}"
        case "value_error":
            said = str(problem["ctx"]["error"])
            return said if where in said else f"{where}: {said}"
    return explain_value(where, problem)


def _nearest(path: Sequence[str], kind: str) -> str:
    """Return a hint to the nearest known key: of the same table, else of any other."""
    tree = config_tree(Config(model=MODEL_CONFIGS[kind]()))
    table = tree
    for part in path[:-1]:
        table = table[part]
    if near := nearest(path[-1], table):
        return f"; did you mean {near!r}?"
    elsewhere = dict(_dotted(tree))
    if near := nearest(path[-1], elsewhere):
        return f"; did you mean {elsewhere[near]}?"
    return f"; allowed here: {', '.join(table)}"


def _dotted(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give every key's last name and its full one."""
    for key, value in tree.items():
        yield key, prefix + key
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
