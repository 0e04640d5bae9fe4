"""A file is whole or absent, and an error says which file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from qkv.files import write_atomically


def test_a_full_disk_leaves_nothing_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("qkv.files.os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*page\.html'$") as caught:
        write_atomically(tmp_path / "page.html", b"content")
    assert caught.value.filename == str(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match=r"file/page\.html'$"):
        write_atomically(tmp_path / "file" / "page.html", b"content")
