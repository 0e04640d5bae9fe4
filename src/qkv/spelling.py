"""What someone who misspelt a name most likely meant."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that the fewest edits turn this one into; None if it is like none.

    The first of equals. Like: at most a third of the longer word's letters differ, or one letter.
    """
    best, fewest = None, float("inf")
    for other in known:
        count = edits(word, other)
        if count < fewest and count <= max(1, max(len(word), len(other)) // 3):
            best, fewest = other, count
    return best


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of an error message: a question, or nothing."""
    near = nearest(word, known)
    return f" Did you mean {near!r}?" if near else ""


def edits(a: str, b: str) -> int:
    """Return how many insertions, deletions, replacements and swaps of neighbours turn a into b.

    Damerau 1964, in the restricted form: no letter is edited twice.
    """
    rows = [list(range(len(b) + 1))]
    for i in range(1, len(a) + 1):
        row = [i]
        for j in range(1, len(b) + 1):
            change = a[i - 1] != b[j - 1]
            row.append(min(rows[-1][j] + 1, row[j - 1] + 1, rows[-1][j - 1] + change))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                row[j] = min(row[j], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]
