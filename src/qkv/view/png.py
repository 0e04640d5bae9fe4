"""Heat maps as PNG, drawn from the SVG by resvg (the extra `qkv[png]`)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import partial
from xml.sax.saxutils import escape, unescape

from qkv.view.figure import Figure
from qkv.view.fonts import Fonts, fonts
from qkv.view.svg import FONTS, svg

_TEXT = re.compile("(<text [^>]*>)([^<]*)(</text>)")


def png(figure: Figure, scale: int = 2) -> bytes:
    """Return the figure as a PNG image on white.

    Args:
        figure: what to draw.
        scale: pixels of the image per pixel of the SVG; 2 suits print and sharp screens.

    Raises:
        ImportError: the extra `qkv[png]` is not installed.
        ValueError: no installed font can draw some character, which would leave a box. fontconfig
            tells; on a system without it the labels are not checked.
    """
    if scale < 1:
        raise ValueError(f"scale is {scale}; an image needs at least 1 pixel per pixel of the SVG")
    drawing = svg(figure)
    texts = [unescape(text) for _, text, _ in _TEXT.findall(drawing)]
    chosen = fonts("".join(texts), FONTS)
    if chosen is None:
        return _draw(figure, drawing, scale, [], FONTS[-1])
    _refuse_boxes(figure, chosen.missing("".join(texts)))
    named = _TEXT.sub(partial(_name_fonts, chosen), drawing)
    return _draw(figure, named, scale, chosen.files(texts), chosen.main)


def _draw(figure: Figure, drawing: str, scale: int, files: Sequence[str], family: str) -> bytes:
    """Draw with the given font files, or with all of the system's if there are none."""
    try:
        import resvg_py
    except ImportError as error:
        raise ImportError(
            "PNG needs resvg: pip install 'qkv[png]'; .svg and .html do not"
        ) from error
    try:
        return resvg_py.svg_to_bytes(
            svg_string=drawing,
            zoom=scale,
            skip_system_fonts=bool(files),
            font_files=list(files),
            sans_serif_family=family,
        )
    except BaseException as error:  # a Rust panic is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(
            f"resvg cannot lay out a label of the figure {figure.title!r}: one that mixes joined "
            f"scripts or emoji in one token ({error}); save it as .svg or .html"
        ) from error


def _name_fonts(chosen: Fonts, match: re.Match[str]) -> str:
    """Name the font of every part of a text: resvg itself may fall back to bold or serif."""
    opening, text, closing = match.groups()
    parts = [
        escape(part)
        if family == chosen.main
        else f"<tspan font-family=\"'{family}'\">{escape(part)}</tspan>"
        for family, part in chosen.runs(unescape(text))
    ]
    return opening + "".join(parts) + closing


def _refuse_boxes(figure: Figure, characters: Sequence[str]) -> None:
    if characters:
        named = ", ".join(
            f"U+{ord(character):04X} {unicodedata.name(character, 'unnamed')}"
            for character in characters[:5]
        )
        more = f" and {len(characters) - 5} more" if len(characters) > 5 else ""
        raise ValueError(
            f"no installed font can draw {named}{more} in the figure {figure.title!r}; install "
            "one (Debian: fonts-noto-core, fonts-noto-cjk, fonts-noto-color-emoji), or save it as "
            ".svg or .html"
        )
