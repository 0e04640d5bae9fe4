"""Write figures to files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from qkv.files import write_atomically
from qkv.view.figure import Figure
from qkv.view.html import html
from qkv.view.pack import MOST_BYTES, Shown
from qkv.view.png import png
from qkv.view.svg import svg, svg_size

_IMAGES: dict[str, Callable[[Figure], bytes]] = {
    ".svg": lambda figure: svg(figure).encode(),
    ".png": png,
}


def save(
    shown: Shown | Sequence[Shown],
    path: str | os.PathLike[str],
    *,
    most_bytes: int = MOST_BYTES,
    precision: str = "exact",
) -> list[Path]:
    """Write figures and maps as the suffix of the path says, and return the files written.

    `.html` is one page with all of them. `.svg` and `.png` hold one figure: several go to numbered
    files, `name-1.svg`, `name-2.svg` and so on, and `name.svg` is not written. A file appears
    whole or not at all, and replaces one of the same name.

    most_bytes: the largest page, and the largest SVG that is drawn (for PNG too, which is drawn
        from it). precision: of the page, "exact", "float16" or "uint8".

    Raises:
        ValueError: another suffix, no figure, several heads for one image, or too much.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix != ".html" and suffix not in _IMAGES:
        allowed = ", ".join([".html", *_IMAGES])
        raise ValueError(f"cannot save figures as {path.name!r}; allowed suffixes: {allowed}")
    given = shown if isinstance(shown, Sequence) else [shown]
    if not given:
        raise ValueError(f"no figure to save as {path.name!r}; give at least one")
    if suffix == ".html":
        title = given[0].maps().title if len(given) == 1 else path.stem
        page = html(given, title or path.stem, precision=precision, most_bytes=most_bytes)
        return [_write(path, page.encode())]
    figures = [figure for one in given for figure in one.figures()]
    _refuse_large(figures, path, most_bytes)
    paths = [path] if len(figures) == 1 else _numbered(path, len(figures))
    draw = _IMAGES[suffix]
    return [_write(place, draw(figure)) for place, figure in zip(paths, figures, strict=True)]


def _numbered(path: Path, count: int) -> list[Path]:
    return [path.with_stem(f"{path.stem}-{number}") for number in range(1, count + 1)]


def _write(path: Path, content: bytes) -> Path:
    write_atomically(path, content)
    return path


def _refuse_large(figures: Sequence[Figure], path: Path, most_bytes: int) -> None:
    """Say how large an SVG would be before it is drawn, and how to have less of it.

    Raises:
        ValueError: it would be larger than allowed.
    """
    for figure in figures:
        size = svg_size(figure)
        if size > most_bytes:
            rows, columns = figure.weights.shape
            raise ValueError(
                f"{path.name} would take about {size / 1e6:,.0f} MB for {rows:,} x {columns:,} "
                f"cells, more than {most_bytes / 1e6:,.0f} MB; draw fewer rows and columns, save "
                "the .html, which packs them, or give save() a larger most_bytes"
            )
