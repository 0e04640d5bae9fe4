"""Whether a graph is recorded, or a call transformed, so that numbers cannot be looked at."""

from __future__ import annotations

import torch


def recorded() -> bool:
    """Whether torch.export or torch.compile records: shapes are symbols, and numbers unknown.

    What is left out because of the numbers (a mask that forbids nothing, a check of lengths) is
    then not left out: the graph serves any numbers.
    """
    return torch.compiler.is_compiling()


def transformed() -> bool:
    """Whether torch.func or forward mode is at work: neither knows what torch has fused."""
    return (
        torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )
