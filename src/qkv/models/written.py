"""Which attentions the written-out decoders have, and what they need of one."""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple

import torch
from torch import Tensor

from qkv.attention import Attention, Prepared
from qkv.attention.local import LocalM
from qkv.attention.masks.visible import Visible, drawn
from qkv.attention.prepared import empty
from qkv.attention.scores.score import AdditiveScore, DotScore, Score
from qkv.attention.work import both, raised
from qkv.nn.gated import written_out
from qkv.nn.reading import AdditiveReader, DotReader, Reader, Source


def source_of(
    attention: Attention, memory: Prepared, steps: int, to_context: Tensor
) -> Source | None:
    """Return what the loops of `qkv.nn` read, in so many steps; None where they do not do.

    to_context: the weight that multiplies what was read; all must be of one type.

    They do on a CPU, for the scores that Bahdanau and Luong have, with a softmax, and read all of
    a source or Luong's monotonic windows.
    """
    asked = asked_by(attention.score, memory.key)
    if asked is None or not written_out(memory.key) or not _plain(attention):
        return None
    kind, key, query, v = asked
    value, seen, local = memory.value, memory.seen, attention.local
    if any(tensor.dtype != value.dtype for tensor in (key, query, to_context)):
        return None  # some layers were given another type for search
    if isinstance(local, LocalM):
        mask = both(memory.mask, local.around(torch.arange(steps)))
        assert mask is not None
        seen = drawn(mask, steps, key.shape[1], 1, key.device)
        if seen is not None:
            key, value = empty(key, value, seen.hidden)
    if seen is None:
        return Source(kind, key, value, query, v)
    assert isinstance(seen, Visible)
    dead = None if seen.dead is None else raised(seen.dead, 3)
    return Source(kind, key, value, query, v, raised(seen.allowed, 3), dead)


def _plain(attention: Attention) -> bool:
    """Whether there is a softmax and nothing that the loops do not have."""
    return (
        attention.normalizer.name == "softmax"
        and (attention.local is None or isinstance(attention.local, LocalM))
        and attention.bias is None
        and attention.reweighter is None
        and attention.rotary is None
        and not (attention.dropout and attention.training)
    )


class Asked(NamedTuple):
    """A score as the loops have it: see `Source`."""

    kind: type[Reader]
    keys: Tensor
    query: Tensor
    v: Tensor | None


@singledispatch
def asked_by(score: Score, keys: Tensor) -> Asked | None:
    """Return a score's parts, given the keys as it prepared them; None: it has no such form."""
    return None


@asked_by.register
def _(score: DotScore, keys: Tensor) -> Asked | None:
    if type(score).project_query is not DotScore.project_query:
        return None  # its queries are not the states themselves
    scale = score.scale(keys.shape[-1])
    keys = keys if scale == 1 else keys * scale
    return Asked(DotReader, keys, keys.new_empty(0, keys.shape[-1]), None)


@asked_by.register
def _(score: AdditiveScore, keys: Tensor) -> Asked | None:
    query = score.query_weight
    return None if query is None else Asked(AdditiveReader, keys, query, score.v)
