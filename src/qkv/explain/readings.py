"""Which of a model's attentions are read as its alignment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from qkv.text import Encoded

SHIFT = "+shift"
_FORM = re.compile(r"(model|mean|max|(?P<layer>[0-9]+)(\.(?P<head>[0-9]+))?)(?P<shift>\+shift)?")

Rows = Float[Tensor, "rows sources"]


class Looked(NamedTuple):
    """Where a model looked in a source while it read a target; both sides end with the end symbol.

    own: the rows that the model itself gives as its alignment.
    heads: those of every layer and head that attends to the source; a recurrent model has one.
    """

    source: Encoded
    target: Encoded
    own: Float[Tensor, "targets sources"]
    heads: Float[Tensor, "layers heads targets sources"]


@dataclass(frozen=True)
class Reading:
    """One way to make a row a target token out of all attention to the source, by its name.

        model       what the model itself gives (a Transformer: its config's model.alignment)
        mean        the mean of all layers and heads
        max         the largest over all layers and heads, each row divided by its sum
        2           the mean of the heads of layer 2
        2.3         head 3 of layer 2; both from 0
        ...+shift   the same, one row later

    Row i of attention is that which predicts token i, having read token i - 1, and in the upper
    layers it often lies on the words of token i - 1. With +shift, token i takes row i + 1, which
    has read it (Chen et al. 2020, Accurate Word Alignment Induction, section 3: Shift-Att).

    Raises: ValueError for a name of another form.
    """

    name: str

    def __post_init__(self) -> None:
        if _FORM.fullmatch(self.name) is None:
            raise ValueError(
                f"attention {self.name!r} is not known; allowed: model, mean, max, a layer such "
                f"as 1, or a head as layer.head such as 1.0, each also with {SHIFT} behind it"
            )

    def __str__(self) -> str:
        return self.name

    def rows(self, looked: Looked) -> Rows:
        """Return a row a target token, and one for EOS unless it was shifted out.

        Raises:
            ValueError: the model has no such layer or head.
        """
        found = _FORM.fullmatch(self.name)
        assert found is not None
        if found["layer"] is not None:
            rows = _chosen(looked.heads, int(found["layer"]), found["head"])
        elif found[1] == "mean":
            rows = looked.heads.mean((0, 1))
        elif found[1] == "max":
            rows = looked.heads.amax((0, 1))
            rows = rows / rows.sum(-1, keepdim=True).clamp(min=1e-30)
        else:
            rows = looked.own
        return rows[1:] if found["shift"] else rows


def readings_of(layers: int, heads: int) -> Sequence[Reading]:
    """Return the readings of a model with so many layers and heads, the plainest first."""
    if layers == heads == 1:
        names = ["0.0"]
    else:
        names = ["mean", "max"]
        names += [str(layer) for layer in range(layers)]
        names += [f"{layer}.{head}" for layer in range(layers) for head in range(heads)]
    return [Reading(name + shift) for shift in ("", SHIFT) for name in names]


def _chosen(heads: Tensor, layer: int, head: str | None) -> Rows:
    layers, count = heads.shape[:2]
    if layer >= layers or int(head or 0) >= count:
        name = f"{layer}" if head is None else f"{layer}.{head}"
        raise ValueError(
            f"attention {name!r} of a model with {layers} layers of {count} heads that attend to "
            f"the source; allowed: 0 to {layers - 1}, or 0.0 to {layers - 1}.{count - 1}"
        )
    return heads[layer].mean(0) if head is None else heads[layer, int(head)]
