"""Heat maps as one self-contained page, and as a frame of a notebook."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from qkv.view.colours import NIGHT, PAPER, TOPS
from qkv.view.document import document, hashed, part
from qkv.view.figure import Figure
from qkv.view.labels import ems, isolate, visible
from qkv.view.svg import FONTS

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./heatmap\.js";$', re.MULTILINE)
_FRAME = (300, 900)  # least and greatest height of a notebook's frame, in pixels


def html(figures: Sequence[Figure], title: str) -> str:
    """Return a page that shows the figures one at a time, with search, exact values and export.

    The page loads nothing and may load nothing: its policy (CSP) allows no address, and only the
    script and the style sheet that it carries. It works from a file and in a sandboxed frame.
    Weights travel in full precision, in base64: about 5 bytes for one of float32, 11 of float64.

    Args:
        figures: what to show, in the order of the list; thousands are drawn on demand.
        title: what they have in common: model, corpus, method.

    Raises:
        ValueError: there is no figure.
    """
    if not figures:
        raise ValueError("a page needs at least one figure, got none")
    script, style = _script(), part("page.css")
    policy = (
        f"default-src 'none'; script-src {hashed(script)}; style-src {hashed(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    body = f"""<div id="viewer"></div>
<noscript>This page draws its figures with JavaScript, which is switched off here.</noscript>
<script id="figures" type="application/json">{_data(figures, title)}</script>
<script type="module">{script}</script>"""
    return document(title, style, body, policy)


def frame(figure: Figure) -> str:
    """Return the page of one figure as a sandboxed frame: what a notebook shows."""
    page = html([figure], figure.title or "Attention")
    slanted = max([30, *(10 * ems(visible(label)) for label in figure.source)])
    height = 230 + round(slanted) + 30 * len(figure.target)  # heading, buttons and scale take 230
    height = min(max(height, _FRAME[0]), _FRAME[1])
    return (
        f'<iframe title="{escape(visible(figure.title))}" sandbox="allow-scripts allow-downloads" '
        f'width="100%" height="{height}" style="border:0" srcdoc="{escape(page)}"></iframe>'
    )


def _script() -> str:
    """Return both modules as one, since a page that may load nothing cannot import."""
    joined, replaced = _IMPORT.subn("", part("page.js"))
    assert replaced == 1, "page.js imports heatmap.js, once"
    return part("heatmap.js") + joined


def _data(figures: Sequence[Figure], title: str) -> str:
    page = {
        "title": _text(title),
        "ramps": {"light": PAPER, "dark": NIGHT},
        "tops": TOPS,
        "families": ", ".join(f"'{family}'" for family in FONTS) + ", sans-serif",
        "figures": [_entry(figure) for figure in figures],
    }
    text = json.dumps(page, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # nothing in it can close or open an element


def _entry(figure: Figure) -> dict[str, Any]:
    bits = 8 * figure.weights.dtype.itemsize
    packed = figure.weights.astype(f"<f{bits // 8}").tobytes()
    return {
        "title": _text(figure.title),
        "note": _text(figure.note),
        "target": [isolate(visible(label)) for label in figure.target],
        "source": [isolate(visible(label)) for label in figure.source],
        "bits": bits,
        "weights": base64.b64encode(packed).decode(),
    }


def _text(text: str) -> str:
    return isolate(visible(text)) if text else ""  # no title is none, an empty label is shown
