"""The viewer in a notebook (the extra `qkv[notebook]`): the kernel sends one head at a time."""

from __future__ import annotations

import json
from typing import Any

import anywidget
import traitlets

from qkv.view.bundle import bundle
from qkv.view.document import part
from qkv.view.html import contents
from qkv.view.pack import pack
from qkv.view.viewer import Viewer


class Widget(anywidget.AnyWidget):
    """The same modules as the page's, over a binary trait.

    contents: names, labels and pictures of all maps, as JSON. wanted: "key map layer head", as the
    view asks. held: the `wanted` that `weights` answer. choice: where the reader is, for Python.
    """

    _esm = bundle("widget.js")
    _css = part("viewer.css")
    contents = traitlets.Unicode().tag(sync=True)
    wanted = traitlets.Unicode().tag(sync=True)
    held = traitlets.Unicode().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    choice = traitlets.Dict().tag(sync=True)

    def __init__(self, viewer: Viewer) -> None:
        self._shown = viewer.shown
        tree = contents(self._shown, viewer.title, "exact")
        super().__init__(contents=json.dumps(tree, ensure_ascii=False))
        self.observe(self._answer, "wanted")

    def _answer(self, change: Any) -> None:
        number, layer, head = (int(part) for part in change["new"].split()[1:])
        with self.hold_sync():  # both in one message
            self.weights = pack(self._shown[number], layer, head)
            self.held = change["new"]
