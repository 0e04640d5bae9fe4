"""Write figures to files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from qkv.view.figure import Figure
from qkv.view.html import html
from qkv.view.png import png
from qkv.view.svg import svg

_IMAGES: dict[str, Callable[[Figure], bytes]] = {
    ".svg": lambda figure: svg(figure).encode(),
    ".png": png,
}


def save(figures: Figure | Sequence[Figure], path: str | os.PathLike[str]) -> list[Path]:
    """Write figures as the suffix of the path says, and return the files written.

    `.html` is one page with all of them. `.svg` and `.png` hold one figure: several go to numbered
    files, `name-1.svg`, `name-2.svg` and so on, and `name.svg` is not written. A file appears
    whole or not at all, and replaces one of the same name.

    Raises:
        ValueError: another suffix, or no figure.
    """
    figures = [figures] if isinstance(figures, Figure) else figures
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix != ".html" and suffix not in _IMAGES:
        allowed = ", ".join([".html", *_IMAGES])
        raise ValueError(f"cannot save figures as {path.name!r}; allowed suffixes: {allowed}")
    if not figures:
        raise ValueError(f"no figure to save as {path.name!r}; give at least one")
    if suffix == ".html":
        title = figures[0].title if len(figures) == 1 else path.stem
        return [_write(path, html(figures, title or path.stem).encode())]
    paths = [path] if len(figures) == 1 else _numbered(path, len(figures))
    draw = _IMAGES[suffix]
    return [_write(place, draw(figure)) for place, figure in zip(paths, figures, strict=True)]


def _numbered(path: Path, count: int) -> list[Path]:
    return [path.with_stem(f"{path.stem}-{number}") for number in range(1, count + 1)]


def _write(path: Path, content: bytes) -> Path:
    """Write beside the path, then rename: a reader never sees half a file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
