"""Examples as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy.typing import NDArray
from torch import Tensor

from qkv.data.examples import Examples
from qkv.data.links import LinkedWords
from qkv.data.ragged import Ragged
from qkv.text.letters import WIDTH
from qkv.text.vocabulary import BOS, EOS, PAD


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Padded ids; beyond each length stands PAD, and nothing else is PAD.

    source ends with EOS; target_in is BOS y1 .. yn, and target_out is y1 .. yn EOS. The lengths
    count EOS. Where a model reads letters, a source token is a row: its id, and its letters, of
    which EOS and PAD have none. `indices` are the examples, in the order of the rows. `wanted` is
    the attention that the examples' word links ask for (see `LinkedWords`), 0 at EOS and PAD; None
    without links.
    """

    source: Int64[Tensor, "batch source *letters"]
    source_lengths: Int64[Tensor, " batch"]
    target_in: Int64[Tensor, "batch target"]
    target_out: Int64[Tensor, "batch target"]
    target_lengths: Int64[Tensor, " batch"]
    indices: Int64[Tensor, " batch"]
    wanted: Float32[Tensor, "batch target source"] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return the batch on a device."""
        given: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        there = {name: tensor for name, tensor in given.items() if tensor is not None}
        moved = {name: one.to(device, non_blocking=non_blocking) for name, one in there.items()}
        return replace(self, **moved)


def collate(examples: Examples, indices: Sequence[int]) -> Batch:
    """Return the batch of these examples."""
    source, source_lengths = _padded(examples.source, indices)
    target, target_lengths = _padded(examples.target, indices)
    wanted = _wanted(examples.linked, indices, (*target.shape, source.shape[1]))
    if examples.spelled is not None:
        source = _with_letters(source, [examples.spelled[i] for i in indices])
    # target is y1 .. yn EOS PAD ..; shifting it right by one puts EOS where padding must be.
    target_in = np.full_like(target, PAD)
    target_in[:, 0] = BOS
    target_in[:, 1:] = np.where(target[:, :-1] == EOS, PAD, target[:, :-1])
    return Batch(
        source=torch.from_numpy(source),
        source_lengths=torch.from_numpy(source_lengths),
        target_in=torch.from_numpy(target_in),
        target_out=torch.from_numpy(target),
        target_lengths=torch.from_numpy(target_lengths),
        indices=torch.tensor(indices, dtype=torch.long),
        wanted=wanted,
    )


def pad_ids(
    sequences: Sequence[Sequence[int]],
    letters: Sequence[NDArray[np.int32]] | None = None,
) -> tuple[Int64[Tensor, "batch time *letters"], Int64[Tensor, " batch"]]:
    """Return source ids with EOS and padding, and their lengths: the source part of a batch.

    letters: of each sequence those of its words, for a model that reads them.
    """
    padded, lengths = _padded(Ragged.of(sequences), range(len(sequences)))
    if letters is not None:
        padded = _with_letters(padded, letters)
    return torch.from_numpy(padded), torch.from_numpy(lengths)


def _wanted(
    linked: LinkedWords | None, indices: Sequence[int], shape: tuple[int, ...]
) -> Float32[Tensor, "batch target source"] | None:
    if linked is None:
        return None
    wanted = np.zeros(shape, np.float32)
    for rows, index in zip(wanted, indices, strict=True):
        own = linked.wanted(index)
        rows[: own.shape[0], : own.shape[1]] = own
    return torch.from_numpy(wanted)


def _with_letters(
    ids: NDArray[np.int64], letters: Sequence[NDArray[np.int32]]
) -> NDArray[np.int64]:
    """Put each word's letters behind its id."""
    rows = np.zeros((*ids.shape, 1 + WIDTH), dtype=np.int64)
    rows[..., 0] = ids
    for row, own in zip(rows, letters, strict=True):
        row[: own.size // WIDTH, 1:] = own.reshape(-1, WIDTH)
    return rows


def _padded(ragged: Ragged, indices: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = [ragged[i] for i in indices]
    lengths = np.array([len(row) + 1 for row in rows], dtype=np.int64)
    padded = np.full((len(rows), int(lengths.max(initial=1))), PAD, dtype=np.int64)
    for padded_row, row in zip(padded, rows, strict=True):
        padded_row[: len(row)] = row
        padded_row[len(row)] = EOS
    return padded, lengths
