"""Random numbers of one's own: each use draws from a generator that nobody else touches."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *stream: str | int) -> np.random.Generator:
    """Return the generator of one use, such as `generator(seed, "batches", epoch)`.

    The same arguments give the same numbers in every process, thread and worker, in any order of
    calls; different arguments give independent ones. No global state is read or changed.
    """
    key = hashlib.blake2b(repr((seed, stream)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(key, "little"))
