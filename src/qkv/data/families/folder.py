"""The folder that a corpus's files are in."""

from __future__ import annotations

from pathlib import Path


def find(directory: str, *names: str) -> str:
    """Return the first of these files that is there, plain or compressed.

    Raises:
        ValueError: none is; names the folder, what was looked for and what is there.
    """
    folder = Path(directory).expanduser()
    if not folder.is_dir():
        raise ValueError(f"data.directory = {directory!r} is no folder")
    for name in names:
        for ending in ("", ".xz", ".gz"):
            if (folder / (name + ending)).is_file():
                return str(folder / (name + ending))
    there = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    shown = ", ".join(there[:20]) + (", ..." if len(there) > 20 else "")
    raise ValueError(
        f"{folder} has no {' or '.join(names)} (plain, .xz or .gz); it has: {shown or 'nothing'}"
    )
