"""Numbers that are read again and again, in pages as large as the system has."""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

_LINE, _PAGE = 64, 2**21


def in_large_pages(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors into one piece of memory.

    Weights of some tens of megabytes fill thousands of pages of 4 KB, more than a processor keeps
    the addresses of: pages of 2 MB are read a tenth faster. Where the system has none, or does not
    give them, the memory is as any other.
    """
    sizes = [-(-tensor.nbytes // _LINE) * _LINE for tensor in tensors]
    memory = mmap.mmap(-1, sum(sizes) + 2 * _PAGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    whole = torch.frombuffer(memory, dtype=torch.uint8)
    first = -whole.data_ptr() % _PAGE
    starts = itertools.accumulate(sizes[:-1], initial=first)
    pieces = [
        whole[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        for start, tensor in zip(starts, tensors, strict=True)
    ]
    for piece, tensor in zip(pieces, tensors, strict=True):
        piece.copy_(tensor)
    return pieces
