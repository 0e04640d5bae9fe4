"""`align`: word alignments of given pairs by a trained model, or by two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from qkv.config import Config
from qkv.data import Examples, collate, sorted_batches
from qkv.explain.alignment import Alignment, Link
from qkv.explain.heads import across
from qkv.explain.linkers import Linker
from qkv.explain.readings import Looked, Reading
from qkv.explain.symmetrize import symmetrizer
from qkv.explain.words import align_words
from qkv.models.model import EncoderDecoder
from qkv.text import Side
from qkv.text.given import check_texts

_TOKENS = 4096  # padded tokens of a batch


class Trained(Protocol):
    """A model with what it reads and writes: a `qkv.Run`."""

    @property
    def config(self) -> Config:
        """How it was trained, and on what."""

    @property
    def source(self) -> Side:
        """What it reads."""

    @property
    def target(self) -> Side:
        """What it writes."""

    @property
    def model(self) -> EncoderDecoder:
        """The model, in eval mode."""


def align(
    run: Trained,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    attention: str = "model",
    method: str = "argmax",
    reverse: Trained | None = None,
    reverse_attention: str | None = None,
    symmetrize: str = "grow-diag",
) -> list[Alignment]:
    """Align the words of each source and target.

    The model reads the given target (forced decoding), its attention to the source is reduced to a
    row a token, tokens become words, and links are picked from the words' weights; the end symbol
    has no link.

    Args:
        run: a trained model, such as `qkv.load` returns.
        attention: which attention is read: model, mean, max, a layer, or layer.head, each with
            +shift or without (see `Reading`), or auto: that which does best on the dev data of
            the run's config (see `best_reading`).
        method: how links are picked (see `align_words`), a threshold as "threshold 0.4".
        reverse: a model of the other direction, whose links are joined with those of the first.
        reverse_attention: what is read of that one; None: the same.
        symmetrize: how they are joined (see `SYMMETRIZERS`).

    Raises:
        ValueError: a model without attention, or without such a layer or head; an unknown name;
            more sources than targets or fewer; with auto, no dev data.
    """
    symmetrizer(symmetrize)  # an unknown name is said before the work
    if attention == "auto" or reverse_attention == "auto":
        from qkv.explain.ranking import best_reading, dev_pairs

        best = best_reading(run, dev_pairs(run.config), reverse=reverse)
        attention, reverse_attention = best.attention, best.reverse
    forward = _one_way(run, sources, targets, attention, method)
    if reverse is None:
        return forward
    backward = _one_way(reverse, targets, sources, reverse_attention or attention, method)
    return [joined(one, other, symmetrize) for one, other in zip(forward, backward, strict=True)]


def joined(forward: Alignment, backward: Alignment, symmetrize: str) -> Alignment:
    """Return one alignment of two, of which the second goes from the target to the source.

    Its matrix is the mean of theirs.

    Raises:
        ValueError: an unknown symmetrisation; alignments of other words.
    """
    there = forward.source, forward.target
    if [[unit.text for unit in side] for side in there] != [
        [unit.text for unit in side] for side in (backward.target, backward.source)
    ]:
        raise ValueError("the two alignments are not of the same words, one in each direction")
    links = symmetrizer(symmetrize)(_mask(forward), _mask(backward).T)
    matrix = (forward.matrix + backward.matrix.T) / 2
    return Alignment(
        *there,
        matrix,
        tuple(Link(j, i, float(matrix[i, j])) for i, j in links.nonzero().tolist()),
        f"{forward.method}, {symmetrize}",
        forward.renormalized,
    )


def _mask(alignment: Alignment) -> torch.Tensor:
    mask = torch.zeros(alignment.matrix.shape, dtype=torch.bool)
    for link in alignment.links:
        mask[link.target, link.source] = True
    return mask


def _one_way(
    run: Trained, sources: Sequence[str], targets: Sequence[str], attention: str, method: str
) -> list[Alignment]:
    reading, linker = Reading(attention), Linker.named(method)
    return [
        align_words(
            reading.rows(looked),
            looked.source,
            looked.target,
            method=linker.method,
            threshold=linker.threshold,
        )
        for looked in look(run, sources, targets)
    ]


def look(run: Trained, sources: Sequence[str], targets: Sequence[str]) -> Iterator[Looked]:
    """Return where a model looks in each source while it reads the target, in the order given.

    Raises:
        ValueError: the model has no attention; one text instead of a list of them; more sources
            than targets or fewer.
    """
    for texts in (sources, targets):
        check_texts(texts, "align")
    if not run.model.attends:
        raise ValueError(
            f"a {type(run.model).__name__} has no attention to align by; train a model that has, "
            'such as model.kind = "rnnsearch"'
        )
    if len(sources) != len(targets):
        raise ValueError(f"{len(sources)} sources, but {len(targets)} targets; give one for each")
    read = [run.source.encode(text) for text in sources]
    written = [run.target.encode(text) for text in targets]
    found: dict[int, Looked] = {}
    if sources:
        examples = Examples.of((one.ids for one in read), (one.ids for one in written))
        for rows in sorted_batches(examples.lengths, _TOKENS):
            batch = collate(examples, rows)
            own, heads = across(run.model, batch)
            for place, row in enumerate(rows):
                height, width = (
                    int(lengths[place]) for lengths in (batch.target_lengths, batch.source_lengths)
                )
                found[row] = Looked(
                    read[row],
                    written[row],
                    own[place, :height, :width],
                    heads[place, :, :, :height, :width],
                )
    return (found[row] for row in range(len(sources)))
