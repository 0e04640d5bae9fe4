"""Splits that a word decides for itself."""

from __future__ import annotations

import hashlib


def position(key: str, salt: str) -> float:
    """Return a fixed number in [0, 1) for a key, as if drawn at random.

    A key's split then depends on nothing but the key: not on the order of the corpus, nor on what
    else is in it, so no key moves from test to train when the corpus grows.
    """
    digest = hashlib.blake2b(f"{salt}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
