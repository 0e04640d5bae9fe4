"""What search returns, and the record it is read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One output of a model for one source sentence.

    tokens: the target ids, without BOS and EOS.
    log_prob: sum of the model's log p(y_i | y_<i, x), that of EOS included.
    score: what hypotheses are ranked by (see `Scoring`).
    complete: it ended with EOS; False: it was cut at the longest length allowed.
    attention: one row per generated token, the row of EOS last if complete; one column per source
        token, the column of EOS last. None for a model without attention.
    """

    tokens: tuple[int, ...]
    log_prob: float
    score: float
    complete: bool
    attention: Float[Tensor, "length source"] | None = field(
        default=None, compare=False, repr=False
    )

    @property
    def length(self) -> int:
        """Return n, the number of generated tokens; EOS counts."""
        return len(self.tokens) + self.complete


class Record(NamedTuple):
    """One step of search: B sentences went in with P hypotheses each and came out with K.

    sentences: which sentences of the whole batch these B are, in rising order.
    beams, tokens: hypothesis k continues parent `beams[k]` with `tokens[k]`.
    attention: the rows of the parents; they are not copied to the children, only looked up.
    """

    sentences: Int[Tensor, " batch"]
    beams: Int[Tensor, "batch beams"]
    tokens: Int[Tensor, "batch beams"]
    attention: Float[Tensor, "batch parents source"] | None


def follow(
    records: list[Record],
    sentences: Int[Tensor, " found"],
    steps: Int[Tensor, " found"],
    slots: Int[Tensor, " found"],
) -> tuple[Int[Tensor, "found time"], Float[Tensor, "found time source"] | None]:
    """Walk the back-pointers of finished hypotheses and return their tokens and attention rows.

    Hypothesis h belongs to `sentences[h]` and ended in step `steps[h]` (from 0) in `slots[h]`.
    All are walked at once, from the last step to the first; time beyond an end is zero.
    """
    slots = slots.clone()
    tokens = slots.new_zeros(len(slots), len(records))
    rows = records[0].attention
    attention = None if rows is None else rows.new_zeros(*tokens.shape, rows.shape[-1])
    for step in range(len(records) - 1, -1, -1):
        record = records[step]
        found = (steps >= step).nonzero().squeeze(1)
        row = torch.searchsorted(record.sentences, sentences[found])
        tokens[found, step] = record.tokens[row, slots[found]]
        slots[found] = record.beams[row, slots[found]]
        if attention is not None and record.attention is not None:
            attention[found, step] = record.attention[row, slots[found]]
    return tokens, attention
