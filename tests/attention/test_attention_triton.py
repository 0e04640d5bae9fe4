"""The additive attention in Triton: outputs and gradients against the equation in float64.

Without a GPU the kernels run in Triton's interpreter, on the CPU: the same code, slowly, so the
sizes are small.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
pytest.importorskip("triton", reason="Triton is not installed (pip install 'qkv[gpu]')")

from test_attention_additive import Hidden

import qkv
from qkv import Mask
from qkv.attention.kernels import KERNELS
from qkv.attention.kernels.additive import triton_ways

NAMES = ("additive_triton", "additive_triton_energies")
each_kernel = pytest.mark.parametrize("kernel", NAMES)


@pytest.fixture(autouse=True)
def _anywhere(monkeypatch):
    """The interpreter takes tensors of the CPU, which the table leaves to other kernels."""
    assert triton_ways.absent() is None
    for name in NAMES:
        monkeypatch.setitem(KERNELS, name, replace(KERNELS[name], devices=None))


def drawn(*shapes, dtype=torch.float32):
    return [torch.randn(shape).to(DEVICE, dtype) for shape in shapes]


def relative(found, want, terms, dtype=torch.float32):
    """Each of `terms` roundings moves a result by eps of the largest number that was summed."""
    eps = torch.finfo(dtype).eps
    off = (found.double() - want.double()).abs().max()
    assert found.isfinite().all()
    assert off <= eps * terms * (1 + want.double().abs().max()), (off, want.abs().max())


@each_kernel
@pytest.mark.parametrize(
    "mask", [None, Mask.causal(2), Mask.lengths(torch.tensor([11, 3])), "rows"], ids=str
)
@pytest.mark.parametrize("need", ["context", "weights", "stats"])
def test_outputs_and_gradients_are_those_of_float64(kernel, mask, need):
    query, key, value = drawn((2, 5, 13), (2, 11, 13), (2, 11, 7))
    if mask == "rows":
        keep = torch.rand(2, 5, 11) < 0.5
        keep[0, 1] = keep[1, 4] = False
        mask = Mask.keep(keep)
    score = Hidden(torch.randn(13)).to(DEVICE)

    def attended(dtype, kernel):
        given = [t.to(dtype).requires_grad_() for t in (query, key, value)]
        own = Hidden(score.v.detach().to(dtype))
        out = qkv.attend(*given, score=own, mask=mask, need=need, kernel=kernel)
        made = [t for t in out if t is not None]
        loss = sum(t.masked_fill(t.isinf(), 0).sin().sum() for t in made)
        return made, torch.autograd.grad(loss, (*given, own.v))

    mine, back = attended(torch.float32, kernel)
    want, exact = attended(torch.float64, "reference")
    for x, y in zip(mine, want, strict=True):
        assert torch.equal(x.isinf(), y.isinf())
        relative(x.masked_fill(x.isinf(), 0), y.masked_fill(y.isinf(), 0), 13 * 4)
    for x, y in zip(back, exact, strict=True):
        relative(x, y, 13 * 4 + 11 * 5)
