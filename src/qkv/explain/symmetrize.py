"""Links of two directions made into one: intersection, union, and what grows between them.

`SYMMETRIZERS` is the one list of them. Each takes the links of both directions over the same
words, [target, source], and returns links.

Source: Koehn, Och and Marcu 2003, section 3.1; the order in which points are looked at, on which
the result depends, is that of the pseudo-code in Koehn et al. 2005 (Edinburgh System Description),
section 2.2: target words outside, source words inside, what is new counts at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor

Links = Bool[Tensor, "target source"]

_BESIDE = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def intersection(forward: Links, backward: Links) -> Links:
    """Keep what both directions say: few links, and sure ones."""
    return forward & backward


def union(forward: Links, backward: Links) -> Links:
    """Keep what either direction says."""
    return forward | backward


def grow_diag(forward: Links, backward: Links) -> Links:
    """From the intersection, take in what lies beside it in the union.

    A point of the union that touches a link (eight neighbours) is added if its target word or its
    source word has no link yet; again and again, until nothing is added.
    """
    known, allowed = (forward & backward).tolist(), (forward | backward).tolist()
    targets, sources = _linked(known)
    grows = True
    while grows:
        grows = False
        for i, row in enumerate(known):
            for j in range(len(row)):
                for i_new, j_new in _around(i, j, known) if row[j] else ():
                    if allowed[i_new][j_new] and not (targets[i_new] and sources[j_new]):
                        known[i_new][j_new] = targets[i_new] = sources[j_new] = grows = True
    return _links(known, forward)


def grow_diag_final(forward: Links, backward: Links) -> Links:
    """Then take in the links of either direction of a word that has none on one side."""
    grown = grow_diag(forward, backward).tolist()
    for links in (forward, backward):
        _finish(grown, links, lambda target, source: target and source)
    return _links(grown, forward)


def grow_diag_final_and(forward: Links, backward: Links) -> Links:
    """Then take in only the links of either direction between two words that have none."""
    grown = grow_diag(forward, backward).tolist()
    for links in (forward, backward):
        _finish(grown, links, lambda target, source: target or source)
    return _links(grown, forward)


def _finish(known: list[list[bool]], links: Links, full: Callable[[bool, bool], bool]) -> None:
    targets, sources = _linked(known)
    for i, j in links.nonzero().tolist():
        if not full(targets[i], sources[j]):
            known[i][j] = targets[i] = sources[j] = True


def _linked(known: list[list[bool]]) -> tuple[list[bool], list[bool]]:
    """Return which target words and which source words have a link."""
    return [any(row) for row in known], [any(column) for column in zip(*known, strict=True)]


def _around(i: int, j: int, known: list[list[bool]]) -> list[tuple[int, int]]:
    near = [(i + down, j + right) for down, right in _BESIDE]
    return [(a, b) for a, b in near if 0 <= a < len(known) and 0 <= b < len(known[i])]


def _links(known: list[list[bool]], like: Links) -> Links:
    return torch.tensor(known, dtype=torch.bool).view_as(like)


SYMMETRIZERS: dict[str, Callable[[Links, Links], Links]] = {
    "intersection": intersection,
    "union": union,
    "grow-diag": grow_diag,
    "grow-diag-final": grow_diag_final,
    "grow-diag-final-and": grow_diag_final_and,
}


def symmetrizer(name: str) -> Callable[[Links, Links], Links]:
    """Return one by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in SYMMETRIZERS:
        raise ValueError(f"unknown symmetrisation {name!r}; allowed: {', '.join(SYMMETRIZERS)}")
    return SYMMETRIZERS[name]
