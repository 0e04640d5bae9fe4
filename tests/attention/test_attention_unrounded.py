"""Fused attention where float32 products may be rounded: its own are not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.testing import assert_close

import qkv
from qkv.attention.kernels import unrounded
from qkv.attention.kernels.tiled import available

pytestmark = pytest.mark.skipif(not available(), reason="torch's flash operator is another here")
TIME = 67  # so long that torch would round: its shortest products stay exact
MASKS = {
    "none": None,
    "causal": qkv.Mask.causal(),
    "lengths": qkv.Mask.lengths(torch.tensor([TIME, 29])),
    "drawn": qkv.Mask.keep(torch.rand(2, 1, TIME, TIME, generator=torch.manual_seed(1)) > 0.4),
}


@pytest.fixture
def rounding() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


def inputs() -> list[torch.Tensor]:
    torch.manual_seed(3)
    return [torch.randn(2, 3, TIME, 31, requires_grad=True) for _ in range(3)]


def answers(mask: qkv.Mask | None) -> list[torch.Tensor]:
    given = inputs()
    context = qkv.attend(*given, mask=mask, kernel="sdpa").context
    return [context, *torch.autograd.grad(context, given, torch.ones_like(context).cumsum(-1))]


@pytest.mark.parametrize("name", MASKS)
def test_no_bit_of_context_or_gradients_depends_on_how_others_are_rounded(name, request):
    exact = answers(MASKS[name])
    request.getfixturevalue("rounding")
    for found, want in zip(answers(MASKS[name]), exact, strict=True):
        assert torch.equal(found, want)


def test_there_is_a_second_derivative_still(rounding):
    query, key, value = inputs()
    context = qkv.attend(query, key, value, kernel="sdpa").context
    (first,) = torch.autograd.grad(context.square().sum(), query, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), query)
    exact = [tensor.detach().double().requires_grad_() for tensor in (query, key, value)]
    context = qkv.attend(*exact, kernel="reference").context
    (first,) = torch.autograd.grad(context.square().sum(), exact[0], create_graph=True)
    (want,) = torch.autograd.grad(first.sum(), exact[0])
    # Written in plain torch it may be rounded: bfloat16 keeps 8 bits of each of TIME terms.
    assert_close(second.double(), want, atol=TIME * 2**-8 * float(want.abs().max()), rtol=0)


def test_it_is_asked_only_where_products_are_rounded(rounding):
    x = torch.ones(1, 1, 2, 2)
    assert unrounded.rounds(x)
    assert not unrounded.rounds(x.double())
    torch.set_float32_matmul_precision("highest")
    assert not unrounded.rounds(x)
