"""What is varied: keys of a config, each with its values."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qkv.config import MODEL_CONFIGS, Config
from qkv.configfile import config_tree
from qkv.spelling import did_you_mean

KIND = "model.kind"


@dataclass(frozen=True)
class Axis:
    """A key and the values it takes.

    key: the full name, such as model.attention.score. shown: the name as it was given.
    """

    key: str
    shown: str
    values: tuple[Any, ...]


def parse_axes(config: Config, words: Sequence[str]) -> dict[str, list[Any]]:
    """Read `KEY=V1,V2,...`: a comma inside brackets belongs to a value.

    Returns: the values of each key, as `axes_of` takes them.

    Raises:
        ValueError: a word is of another form, or gives a key that another has given.
    """
    split = {}
    for word in words:
        key, equals, rest = word.partition("=")
        texts = [text.strip() for text in _split(rest)]
        if not key or not equals or not all(texts):
            raise ValueError(
                f"{word!r} is not of the form KEY=V1,V2,..., such as attention.score=dot,general"
            )
        if key in split:
            raise ValueError(f"{key} is varied twice; give all its values at once")
        split[key] = texts
    leaves = _leaves(config, [text for texts in split.values() for text in texts])
    return {
        key: [_value(text, leaves[full_key(key, leaves)]) for text in texts]
        for key, texts in split.items()
    }


def axes_of(config: Config, vary: Mapping[str, Sequence[Any]]) -> list[Axis]:
    """Find the keys that are meant.

    Args:
        vary: the values of each key; a key is a full name (model.attention.score), or as much of
            its end as no other key has (attention.score).

    Raises:
        ValueError: no key, an unknown or an ambiguous one, one that is named twice, no value for
            one, or a value twice.
    """
    if not vary:
        raise ValueError("there is nothing to vary; give a key and its values")
    leaves = _leaves(config, [value for values in vary.values() for value in values])
    axes: dict[str, Axis] = {}
    for shown, values in vary.items():
        key = full_key(shown, leaves)
        if key in axes:
            raise ValueError(
                f"{axes[key].shown} and {shown} are the same key, {key}; give all its values "
                "at once"
            )
        if not values:
            raise ValueError(f"{shown} has no values")
        repeated = [value for place, value in enumerate(values) if value in values[:place]]
        if repeated:
            raise ValueError(f"{shown} has the value {repeated[0]!r} twice")
        axes[key] = Axis(key, shown, tuple(values))
    return list(axes.values())


def full_key(given: str, leaves: Mapping[str, Any]) -> str:
    """Return the full name of a key of which the end is given.

    Raises:
        ValueError: no key ends so, or several do.
    """
    key = given.replace("-", "_")
    if key in leaves:
        return key
    found = [leaf for leaf in leaves if leaf.endswith(f".{key}")]
    if len(found) == 1:
        return found[0]
    below = [leaf for leaf in leaves if f".{key}." in f".{leaf}"]
    if below:
        raise ValueError(f"{given} is a table; vary a key of it: {', '.join(below)}")
    # attention.score is meant by, but does not name, a transformer's cross_attention.score.
    if found := found or [leaf for leaf in leaves if leaf.endswith(key)]:
        raise ValueError(f"{given} is no single key; write one of {', '.join(found)}")
    names = [name for leaf in leaves for name in _ends(leaf)]
    raise ValueError(f"unknown key {given}.{did_you_mean(key, names)}")


def with_kind(tree: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return a config's tree with another kind of model.

    Its model has the values of the keys that both kinds have, and its own defaults for the others.
    """
    model = tree["model"]
    if kind == model["kind"] or kind not in MODEL_CONFIGS:  # an unknown one: the config refuses it
        return tree | {"model": model | {"kind": kind}}
    fresh = asdict(MODEL_CONFIGS[kind]())
    kept = {key: value for key, value in model.items() if key in fresh}
    return tree | {"model": fresh | kept | {"kind": kind}}


def _leaves(config: Config, values: Sequence[Any]) -> dict[str, Any]:
    """Return every key and its value, those of the kinds of model that are varied included."""
    tree = config_tree(config)
    kinds = [value for value in values if isinstance(value, str) and value in MODEL_CONFIGS]
    others = {name: leaf for kind in kinds for name, leaf in _dotted(with_kind(tree, kind))}
    return others | dict(_dotted(tree))


def _dotted(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _ends(leaf: str) -> list[str]:
    parts = leaf.split(".")
    return [".".join(parts[place:]) for place in range(len(parts))]


def _split(text: str) -> list[str]:
    """Cut at the commas that stand outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _value(text: str, like: Any) -> Any:
    """Read a value of the type of the present one; one that cannot be read the config refuses."""
    if isinstance(like, str):
        return text
    if text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
