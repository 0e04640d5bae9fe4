"""Files that are either whole or absent, and folders that one process at a time works in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a Unix: nothing is locked there
    fcntl = None  # type: ignore[assignment]


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to the disk, then rename: a reader never sees half a file.

    Raises:
        OSError: it cannot be written; `filename` is `path`.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:  # such as a full disk: what is half written only takes room
        with suppress(OSError):  # the folder itself may not be there
            beside.unlink(missing_ok=True)
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if need be.

    The system takes the lock back when its process ends, however it ends.

    Raises:
        ValueError: another process is working there, or a file stands in the way of the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        blocking = next(path for path in (folder, *folder.parents) if path.exists())
        raise ValueError(
            f"{folder} is to be a folder, but {blocking} is a file; give another --out, or move "
            "that file"
        ) from None
    with (folder / ".lock").open("a") as stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"another process is training in {folder}; wait for it, or give another --out"
                ) from None
        yield
