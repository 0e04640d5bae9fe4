"""What search returns, and the record it is read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
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
    All are walked at once, from the last step to the first; time beyond an end is zero. They are
    few: numpy, on the processor, takes a third of what the same operations on tensors take.
    """
    of, ends, at = (part.cpu().numpy() for part in (sentences, steps, slots.clone()))
    tokens = np.zeros((len(at), len(records)), np.int64)
    first = records[0].attention
    attention = None
    if first is not None:
        attention = torch.zeros(*tokens.shape, first.shape[-1], dtype=first.dtype)
    left = row = None
    for step in range(len(records) - 1, -1, -1):
        record = records[step]
        found = np.flatnonzero(ends >= step)
        if row is None or left is not record.sentences or len(found) != len(row):
            left = record.sentences
            row = np.searchsorted(left.cpu().numpy(), of[found])
        slot = at[found]
        tokens[found, step] = record.tokens.cpu().numpy()[row, slot]
        at[found] = record.beams.cpu().numpy()[row, slot]
        if attention is not None and record.attention is not None:
            attention[found, step] = record.attention.cpu()[row, at[found]]
    return torch.from_numpy(tokens), attention
