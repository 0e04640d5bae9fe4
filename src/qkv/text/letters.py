"""The letters of words as numbers, for models that look into words they have never seen."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

WIDTH = 24
"""Letters of a word that are kept; of a longer one the first and the last half of these."""
LETTERS = 256
"""Numbers that a letter may be; 0 is none."""


def spell(words: Iterable[str]) -> NDArray[np.int32]:
    """Return [words, WIDTH]: each word's UTF-8 bytes, counted from 1, and zeros.

    Bytes need no vocabulary, so that no letter is unknown.
    """
    rows = []
    for word in words:
        read = word.encode()
        if len(read) > WIDTH:
            read = read[: WIDTH // 2] + read[-WIDTH // 2 :]
        rows.append([byte + 1 for byte in read] + [0] * (WIDTH - len(read)))
    return np.array(rows, dtype=np.int32).reshape(-1, WIDTH)
