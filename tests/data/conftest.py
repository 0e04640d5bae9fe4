"""Where the real corpora are, if they are anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture
def corpus_folder():
    """Return a function from a folder's name to its path, which skips the test without one."""
    root = Path(os.environ.get("QKV_DATA") or BESIDE)

    def find(name: str) -> str:
        if not (root / name).is_dir():
            pytest.skip(f"no {name} in {root}; set QKV_DATA to the folder that has the corpora")
        return str(root / name)

    return find
