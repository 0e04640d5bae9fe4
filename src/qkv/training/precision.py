"""In which type the matrix products of an update are computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@contextmanager
def products(precision: str, device: torch.device) -> Iterator[None]:
    """Let products of float32 matrices round their factors, forward and backward.

    Where a CPU has instructions for bfloat16 they read float32 and sum in float32, so that nothing
    else is converted, stored or summed in bfloat16 as autocast would; small products stay exact.
    """
    if not _rounds(precision, device):
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context of the forward pass: autocast, where `products` alone do not do."""
    if precision == "float32" or _rounds(precision, device):
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


def _rounds(precision: str, device: torch.device) -> bool:
    return (
        precision == "bfloat16"
        and device.type == "cpu"
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )
