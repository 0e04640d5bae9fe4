"""The word links that attention is to learn (training.guided)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qkv.data.links import check_links
from qkv.data.pairs import Pair
from qkv.evaluate import Gold, read_gold


def linked_pairs(pairs: Sequence[Pair], file: str) -> tuple[Pair, ...]:
    """Return the training pairs with their links: those of a file, or, without one, their own.

    file: line i belongs to pair i (see `read_gold`); its sure and possible links count alike.

    Raises:
        ValueError: the pairs have no links of their own; the file has more or fewer lines than
            there are pairs, other texts, or a link to a word that is not there.
    """
    if not file:
        if any(pair.links is None for pair in pairs):
            raise ValueError(
                "training.guided.weight is set, but these training pairs have no word links of "
                "their own; set training.guided.links to a file with a line of links (0-0 1-2) "
                "for each of them"
            )
        return tuple(pairs)
    given = read_gold(file)
    if len(given) != len(pairs):
        raise ValueError(
            f"training.guided.links = {file!r} has {len(given)} lines, but there are {len(pairs)} "
            "training pairs; line i belongs to pair i"
        )
    return tuple(_linked(*both, file) for both in zip(pairs, given, strict=True))


def _linked(pair: Pair, gold: Gold, file: str) -> Pair:
    where = f"{file}:{gold.line}"
    texts = (pair.source, pair.target)
    if gold.source is not None and (gold.source, gold.target) != texts:
        raise ValueError(
            f"{where}: the links of {gold.source!r} and {gold.target!r}, but the training pair "
            f"has {pair.source!r} and {pair.target!r}; line i belongs to pair i"
        )
    check_links(gold.possible, *texts, where)
    return replace(pair, links=gold.possible, sure=gold.sure)
