"""Several maps in one viewer: the kinds of attention of a model, sentences, mechanisms."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qkv.view.html import frame
from qkv.view.maps import AttentionMaps
from qkv.view.pack import MOST_BYTES, Shown
from qkv.view.save import save


class Viewer:
    """Maps that are shown together: a notebook displays it, `save` writes it.

    With the extra `qkv[notebook]` a notebook shows a widget, which fetches one head at a time and
    says where the reader is; without it, the whole page in a sandboxed frame.

    Args:
        shown: figures and maps, in the order of the list.
        title: what they have in common.

    Raises:
        ValueError: nothing to show.
    """

    def __init__(self, shown: Sequence[Shown], title: str = "") -> None:
        if not shown:
            raise ValueError("a viewer needs at least one map, got none")
        self.shown: tuple[AttentionMaps, ...] = tuple(one.maps() for one in shown)
        self.title = title or self.shown[0].title

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        most_bytes: int = MOST_BYTES,
        precision: str = "exact",
    ) -> list[Path]:
        """Write one page with all of them; see `qkv.view.save`."""
        return save(self.shown, path, most_bytes=most_bytes, precision=precision)

    def __len__(self) -> int:
        return len(self.shown)

    def __getitem__(self, index: int) -> AttentionMaps:
        return self.shown[index]

    def __repr__(self) -> str:
        return f"Viewer({self.title!r}, {list(self.shown)})"

    def _repr_html_(self) -> str:
        return frame(self.shown, self.title)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if find_spec("anywidget") is None:
            return {"text/plain": repr(self), "text/html": self._repr_html_()}
        from qkv.view.widget import Widget

        return Widget(self)._repr_mimebundle_(include=include, exclude=exclude)
