"""Heat maps as PNG, drawn from the SVG by resvg (the extra `qkv[png]`)."""

from __future__ import annotations

import re
import unicodedata
from functools import partial

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
        ValueError: a label has a character that no installed font can draw, which would leave a box.
            Told by fontconfig; on a system without it the labels are not checked.
    """
    if scale < 1:
        raise ValueError(f"scale is {scale}; an image needs at least 1 pixel per pixel of the SVG")
    try:
        import resvg_py
    except ImportError as error:
        raise ImportError("PNG needs resvg: pip install 'qkv[png]'; .svg and .html do not") from error
    drawing = svg(figure)
    texts = [text for _, text, _ in _TEXT.findall(drawing)]
    chosen = fonts("".join(texts), FONTS)
    if chosen is None:
        return resvg_py.svg_to_bytes(svg_string=drawing, zoom=scale, sans_serif_family=FONTS[-1])
    _refuse_boxes(figure, chosen.missing("".join(texts)))
    return resvg_py.svg_to_bytes(
        svg_string=_TEXT.sub(partial(_name_fonts, chosen), drawing),
        zoom=scale,
        skip_system_fonts=True,
        font_files=chosen.files(texts),
        sans_serif_family=chosen.main,
    )


def _name_fonts(chosen: Fonts, match: re.Match[str]) -> str:
    """Name the font of every part of a text: left to itself resvg may fall back to bold or serif."""
    opening, text, closing = match.groups()
    parts = [
        part if family == chosen.main else f"<tspan font-family=\"'{family}'\">{part}</tspan>"
        for family, part in chosen.runs(text)
    ]
    return opening + "".join(parts) + closing


def _refuse_boxes(figure: Figure, characters: list[str]) -> None:
    if characters:
        named = ", ".join(
            f"U+{ord(character):04X} {unicodedata.name(character, 'unnamed')}"
            for character in characters[:5]
        )
        more = f" and {len(characters) - 5} more" if len(characters) > 5 else ""
        raise ValueError(
            f"no installed font can draw {named}{more} in the figure {figure.title!r}; install one "
            "(Debian: fonts-noto-core, fonts-noto-cjk, fonts-noto-color-emoji) or save as .svg or .html"
        )
