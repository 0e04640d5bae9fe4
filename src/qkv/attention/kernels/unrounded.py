"""torch's fused attention where a CPU may round the factors of float32 products to bfloat16.

Asked by torch.set_float32_matmul_precision("medium"), as a training in bfloat16 does, torch's
flash kernel hands its many small products to a library for large ones, and takes ten times as
long. Its own products stay exact here, forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from qkv.attention.kernels.tiled import available, flash_backward, fused


def rounds(tensor: Tensor) -> bool:
    """Whether float32 products would be rounded here, and this file can help it."""
    return (
        torch.get_float32_matmul_precision() != "highest"
        and tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and available()
    )


def unrounded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float,
) -> Tensor:
    """scaled_dot_product_attention: [batch, heads, time, dim], a mask that gets no gradient."""
    context: Tensor = _Unrounded.apply(query, key, value, attn_mask, is_causal, scale)
    return context


class _Unrounded(torch.autograd.Function):
    """torch's operator and its backward, each with exact products."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        causal: bool,
        scale: float,
    ) -> Tensor:
        given = tuple(t if t.stride(-1) == 1 else t.contiguous() for t in (query, key, value))
        with _exact():
            context, logs, mask = fused(given, mask, scale, causal)
        ctx.save_for_backward(*given, context, logs, mask)
        ctx.causal, ctx.scale = causal, scale
        ctx.set_materialize_grads(False)
        return context

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradient is None:  # another way back was taken, see kernels/twice.py
            return (None,) * 6
        *given, mask = ctx.saved_tensors
        with _exact(), torch.no_grad():
            found = flash_backward(
                gradient, *given, 0.0, ctx.causal, attn_mask=mask, scale=ctx.scale
            )
        return (*found, None, None, None)


@contextmanager
def _exact() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
