"""Texts as they are given from Python: a list of them, never one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_list(texts: Sequence[Any], verb: str) -> None:
    """Refuse one text in place of a list: it would be read as a list of its characters.

    Raises:
        ValueError: it is one text.
    """
    if isinstance(texts, str):
        raise ValueError(f"{verb} takes a list of texts; for one, write [{texts[:40]!r}]")


def check_texts(texts: Sequence[str], verb: str) -> None:
    """Refuse what is not a list of texts.

    Raises:
        ValueError: it is one text, or holds something else.
    """
    check_list(texts, verb)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise ValueError(f"{verb} takes texts, but that at {place} is a {kind}")
