"""Figures and attention maps as one self-contained page, and as a frame of a notebook."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from qkv.view.bundle import bundle
from qkv.view.colours import NIGHT, NIGHT_SIGNED, PAPER, PAPER_SIGNED, TOPS
from qkv.view.document import document, hashed, part
from qkv.view.labels import ems, isolate, visible
from qkv.view.maps import AttentionMaps
from qkv.view.pack import MOST_BYTES, Shown, entry, pack, refuse_large
from qkv.view.svg import FONTS

_FRAME = (300, 900)  # least and greatest height of a notebook's frame, in pixels


def html(
    shown: Sequence[Shown],
    title: str,
    *,
    precision: str = "exact",
    most_bytes: int = MOST_BYTES,
) -> str:
    """Return a page that shows the figures and maps, with search, exact values and export.

    The page loads nothing and may load nothing: its policy (CSP) allows no address, and only the
    script and the style sheet that it carries. It works from a file and in a sandboxed frame.
    Each head travels by itself, in base64, and is unpacked when it is looked at: about 5 bytes for
    a weight of float32, 11 for float64.

    Args:
        shown: what to show, in the order of the list; thousands are drawn on demand.
        title: what they have in common: model, corpus, method.
        precision: exact, or float16 or uint8 to have less; the page says that it is rounded.
        most_bytes: the largest page that is written.

    Raises:
        ValueError: there is nothing to show, or too much: then nothing was packed yet.
    """
    if not shown:
        raise ValueError("a page needs at least one figure, got none")
    maps = [one.maps() for one in shown]
    refuse_large(maps, precision, most_bytes)
    script, style = bundle("page.js"), part("page.css") + part("viewer.css")
    policy = (
        f"default-src 'none'; script-src {hashed(script)}; style-src {hashed(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    names = _json(contents(maps, title, precision))
    body = f"""<div id="viewer"></div>
<noscript>This page draws its figures with JavaScript, which is switched off here.</noscript>
<script id="figures" type="application/json">{names}</script>
{_heads(maps, precision)}
<script type="module">{script}</script>"""
    return document(title, style, body, policy)


def frame(shown: Sequence[Shown], title: str) -> str:
    """Return the page as a sandboxed frame: what a notebook shows without the widget."""
    page = html(shown, title or "Attention")
    height = max(map(_height, [one.maps() for one in shown]))
    height = min(max(height, _FRAME[0]), _FRAME[1])
    return (
        f'<iframe title="{escape(visible(title))}" sandbox="allow-scripts allow-downloads" '
        f'width="100%" height="{height}" style="border:0" srcdoc="{escape(page)}"></iframe>'
    )


def contents(maps: Sequence[AttentionMaps], title: str, precision: str) -> dict[str, Any]:
    """Return all that the viewer needs but the weights: what the page and the widget give it."""
    return {
        "title": isolate(visible(title)) if title else "",
        "ramps": {"light": PAPER, "dark": NIGHT},
        "signed": {"light": PAPER_SIGNED, "dark": NIGHT_SIGNED},
        "tops": TOPS,
        "families": ", ".join(f"'{family}'" for family in FONTS) + ", sans-serif",
        "maps": [entry(one, precision) for one in maps],
    }


def _height(maps: AttentionMaps) -> int:
    slanted = max([30, *(10 * ems(visible(label)) for label in maps.source)])
    return 270 + round(slanted) + 30 * len(maps.target)  # heading, buttons and scale take 270


def _heads(maps: Sequence[AttentionMaps], precision: str) -> str:
    return "\n".join(
        f'<script id="head-{number}-{layer}-{head}" type="text/plain">'
        f"{base64.b64encode(pack(one, layer, head, precision)).decode()}</script>"
        for number, one in enumerate(maps)
        for layer, head in np.ndindex(one.shape[:2])
    )


def _json(tree: dict[str, Any]) -> str:
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # nothing in it can close or open an element
