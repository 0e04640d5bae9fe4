"""The viewer's modules as one script: a page that may load nothing cannot import."""

from __future__ import annotations

import re

from qkv.view.document import part

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)


def bundle(entry: str) -> str:
    """Return a module with all that it imports before it, each once, in the order of need.

    Every import is of plain names from a file beside it, and no two files name the same thing at
    their top; so leaving the import lines out joins them.
    """
    ordered: list[str] = []
    _visit(entry, ordered)
    return "".join(_IMPORT.sub("", part(name)) for name in ordered)


def _visit(name: str, ordered: list[str]) -> None:
    for needed in _IMPORT.findall(part(name)):
        if needed not in ordered:
            _visit(needed, ordered)
    ordered.append(name)
