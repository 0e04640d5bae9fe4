"""What a docstring says of a mechanism: formula, parameters, cost, source, and what differs."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any

_SOURCE = re.compile(r"\(((?:[^()]*\b(?:19|20)\d\d\b|no paper)[^()]*)\)")
_LABEL = re.compile(r"\b(Parameters|Cost|Differs) ?(?:from [^:.]+)?: ")
_INDENT = 4


@dataclass(frozen=True)
class Told:
    """Each field as its docstring has it; empty where none says it."""

    source: str = ""
    formula: str = ""
    parameters: str = ""
    cost: str = ""
    differs: str = ""


def find(target: Any) -> Any:
    """Return what a registry holds: an object, or the one that a "module:name" string names."""
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def tell(target: Any) -> Told:
    """Read the docstrings of a class or function, and of its module.

    The one whose first line names a source comes first; the other fills in what it leaves out.
    """
    found = find(target)
    texts = [inspect.getdoc(found) or "", import_module(found.__module__).__doc__ or ""]
    own, module = (_read(inspect.cleandoc(text)) for text in texts)
    first, second = (own, module) if own.source else (module, own)
    names = Told.__dataclass_fields__
    return Told(**{name: getattr(first, name) or getattr(second, name) for name in names})


def summary(module: str) -> str:
    """Return the first paragraph of a module's docstring, and a formula if it has one."""
    text = inspect.cleandoc(import_module(module).__doc__ or "")
    opening = " ".join(text.partition("\n\n")[0].split())
    formula = _formula(text)
    return f"{opening}\n\n```text\n{formula}\n```" if formula else opening


def _read(text: str) -> Told:
    opening = " ".join(text.partition("\n\n")[0].split())
    said: dict[str, str] = {}
    for paragraph in _prose(text).split("\n\n"):
        line = " ".join(paragraph.split())
        labels = list(_LABEL.finditer(line))
        ends = [*(label.start() for label in labels), len(line)][1:]
        for label, end in zip(labels, ends, strict=False):
            said.setdefault(label[1].lower(), line[label.end() : end].strip().rstrip("."))
    return Told(source="; ".join(_SOURCE.findall(opening)), formula=_formula(text), **said)


def _formula(text: str) -> str:
    """Return the first indented block, without its indent."""
    lines = text.splitlines()
    inside = [bool(line) and line.startswith(" " * _INDENT) for line in lines]
    if True not in inside:
        return ""
    start = inside.index(True)
    stop = inside.index(False, start) if False in inside[start:] else len(lines)
    return inspect.cleandoc("\n" + "\n".join(lines[start:stop]))


def _prose(text: str) -> str:
    return "\n".join("" if line.startswith(" " * _INDENT) else line for line in text.splitlines())
