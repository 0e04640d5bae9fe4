"""Which attention is the alignment: every reading of a model, ranked on development pairs.

Without gold links, by agreement of two directions (Liang, Taskar and Klein 2006; Chen et al. 2020,
section 3.3):

    2 |F n B| / (|F| + |B|)

F links each target word to its best source word; B each source word to its best target word, by
the same rows, or by those of a model of the other direction. With gold links, by the alignment
error rate of F (Och and Ney 2003), S the sure ones and P all:

    1 - (|F n S| + |F n P|) / (|F| + |S|)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from qkv.config import Config
from qkv.data import Pair, load_pairs
from qkv.explain.aligner import Trained, look
from qkv.explain.linkers import per_source, per_target
from qkv.explain.readings import Looked, Reading, readings_of
from qkv.explain.words import word_weights

By = Literal["agreement", "aer"]
MOST = 500  # pairs that are read


class Ranked(NamedTuple):
    """A reading and its value; with a model of the other direction, one of that too."""

    value: float
    attention: str
    reverse: str | None = None


def dev_pairs(config: Config) -> Sequence[Pair]:
    """Return the development pairs that a config names, at most 500.

    Raises:
        ValueError: it names none, or they are not there any more.
    """
    return load_pairs(config.data, "dev").pairs[:MOST]


def criterion(pairs: Sequence[Pair]) -> By:
    """Return what pairs can be ranked by: the error where all have gold links."""
    return "aer" if all(pair.links is not None for pair in pairs) else "agreement"


def best_reading(
    run: Trained,
    pairs: Sequence[Pair | tuple[str, str]],
    *,
    by: By | None = None,
    reverse: Trained | None = None,
) -> Ranked:
    """Return the best of `rank`."""
    return rank(run, pairs, by=by, reverse=reverse)[0]


def rank(
    run: Trained,
    pairs: Sequence[Pair | tuple[str, str]],
    *,
    by: By | None = None,
    reverse: Trained | None = None,
) -> list[Ranked]:
    """Return every reading of a model, the best first; of equals, the plainest.

    Args:
        run: the model.
        pairs: on which to rank, source and target as the model has them: `qkv.data.Pair`, or
            ("source", "target").
        by: agreement, or aer, which needs gold links; None: aer where all pairs have them.
        reverse: a model of the other direction. By agreement, all pairs of a reading of one and a
            reading of the other are ranked; by aer, each model by itself, and equals are paired.

    Raises:
        ValueError: a model without attention; no pairs, or something else; aer, and a pair
            without gold links.
    """
    checked = [_pair(given, line) for line, given in enumerate(pairs, start=1)]
    if not checked:
        raise ValueError("no pairs to rank the readings of attention on")
    chosen = by or criterion(checked)
    if chosen == "aer" and criterion(checked) != "aer":
        raise ValueError(
            "readings of attention are ranked by aer where gold links are, and these pairs have "
            "none; rank by agreement, or give pairs with gold links"
        )
    found = _Linked.of(run, checked)
    if chosen == "aer":
        ranked = _by_error(found, _gold(checked))
        if reverse is None:
            return ranked
        turned = [pair.turned() for pair in checked]
        other = _by_error(_Linked.of(reverse, turned), _gold(turned))
        return [
            Ranked((one.value + two.value) / 2, one.attention, two.attention)
            for one, two in zip(ranked, other, strict=False)
        ]
    if reverse is None:
        agreed = _agreement(found.forward, found.backward)
        pairs_of = [(float(agreed[n, n]), name, None) for n, name in enumerate(found.names)]
        return _sorted(pairs_of, bigger=True)
    back = _Linked.of(reverse, [pair.turned() for pair in checked], transposed=True)
    agreed = _agreement(found.forward, back.forward)
    both = [
        (float(agreed[n, m]), name, other)
        for n, name in enumerate(found.names)
        for m, other in enumerate(back.names)
    ]
    return _sorted(both, bigger=True)


def _pair(given: Pair | tuple[str, str], line: int) -> Pair:
    if isinstance(given, tuple) and len(given) == 2:
        return Pair(*given, line)
    if not isinstance(given, Pair):
        raise ValueError(
            "pairs are qkv.data.Pair or ('source', 'target'), but one here is a "
            f"{type(given).__name__}"
        )
    return given


class _Linked(NamedTuple):
    """The links of every reading, over all cells of all pairs one after the other."""

    names: list[str]
    forward: Bool[Tensor, "readings cells"]
    backward: Bool[Tensor, "readings cells"]

    @classmethod
    def of(cls, run: Trained, pairs: Sequence[Pair], *, transposed: bool = False) -> _Linked:
        """transposed: cells in the order of the other direction."""
        texts = [pair.source for pair in pairs], [pair.target for pair in pairs]
        readings: Sequence[Reading] = ()
        found = []
        for looked in look(run, *texts):
            readings = readings or readings_of(*looked.heads.shape[:2])
            found.append(_cells(looked, readings, transposed=transposed))
        return cls([str(one) for one in readings], *torch.cat(found, dim=-1).unbind())


def _cells(
    looked: Looked, readings: Sequence[Reading], *, transposed: bool
) -> Bool[Tensor, "two readings cells"]:
    rows = [reading.rows(looked)[: len(looked.target.tokens)] for reading in readings]
    weights = word_weights(torch.stack(rows), looked.source, looked.target)
    links = torch.stack([per_target(weights, 0), per_source(weights, 0)])
    return (links.transpose(-1, -2) if transposed else links).flatten(2)


def _agreement(
    forward: Bool[Tensor, "readings cells"], backward: Bool[Tensor, "others cells"]
) -> Float[Tensor, "readings others"]:
    """Return 2 |F n B| / (|F| + |B|) of each with each."""
    one, two = forward.float(), backward.float()
    counts = one.sum(1).unsqueeze(1) + two.sum(1)
    return 2 * (one @ two.T) / counts.clamp(min=1)


def _gold(pairs: Sequence[Pair]) -> Bool[Tensor, "two cells"]:
    """Return the sure links, and all, in the order of the cells."""
    found = []
    for pair in pairs:
        shape = (2, len(pair.target.split()), len(pair.source.split()))
        links = torch.zeros(shape, dtype=torch.bool)
        for kind, given in enumerate((pair.sure, pair.links)):
            for j, i in given or ():
                links[kind, i, j] = True
        found.append(links.flatten(1))
    return torch.cat(found, dim=1)


def _by_error(found: _Linked, gold: Bool[Tensor, "two cells"]) -> list[Ranked]:
    predicted, wanted = found.forward.float(), gold.float()
    right = (predicted @ wanted.T).sum(1)
    errors = 1 - right / (predicted.sum(1) + wanted[0].sum()).clamp(min=1)
    given = [(float(e), name, None) for e, name in zip(errors, found.names, strict=True)]
    return _sorted(given, bigger=False)


def _sorted(given: Sequence[tuple[float, str, str | None]], *, bigger: bool) -> list[Ranked]:
    return sorted((Ranked(*one) for one in given), key=lambda one: one.value, reverse=bigger)
