"""torch.func and forward mode pass through attend(): by the kernels that can, and plan says so."""

from __future__ import annotations

import pytest
import torch
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.testing import assert_close

import qkv
from qkv import Mask

# torch's own forward mode calls what torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

MANY, B, H, T, D = 3, 2, 2, 5, 7
MASKS = {
    "none": None,
    "causal": Mask.causal(),
    "lengths": Mask.lengths(torch.tensor([4, 2])),
    "window": Mask.window(1, 1),
}


def tensors(*sizes):
    torch.manual_seed(0)
    return torch.randn(*sizes, T, D, dtype=torch.float64)


def way(mask, kernel="auto"):
    return lambda x: qkv.attend(x, x.sin(), x.cos(), mask=mask, kernel=kernel).context


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_vmap_is_a_loop(mask):
    many = tensors(MANY, B, H)
    assert_close(vmap(way(mask))(many), torch.stack([way(mask)(one) for one in many]))


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_derivatives_of_each_mode_are_one(mask):
    one = tensors(B, H)
    backward = jacrev(way(mask))(one)
    assert_close(jacfwd(way(mask))(one), backward)
    expected = torch.autograd.functional.jacobian(way(mask, "reference"), one)
    assert_close(backward, expected)
    tangent = tensors(B, H).flip(0)
    moved = jvp(way(mask), (one,), (tangent,))[1]
    assert_close(moved, torch.einsum("bhtdcuse,cuse->bhtd", backward, tangent))


def test_second_derivatives_and_gradients_of_each_item():
    total = lambda x: way(Mask.causal())(x).square().sum()  # noqa: E731
    one = tensors(1, 1)
    assert_close(hessian(total)(one), torch.autograd.functional.hessian(total, one))
    many = tensors(MANY, B, H)
    assert_close(vmap(grad(total))(many), torch.stack([grad(total)(item) for item in many]))


def test_a_window_of_tiles_passes_too():
    long = torch.randn(1, 1, 1500, 8, generator=torch.Generator().manual_seed(0))
    near = way(Mask.window(20, 20))
    assert qkv.plan(long, long, long, mask=Mask.window(20, 20)).kernel == "sparse"
    gradient = grad(lambda x: near(x).sum())(long)
    needs = long.clone().requires_grad_()
    near(needs).sum().backward()
    assert_close(gradient, needs.grad)


def test_plan_says_why_the_fused_kernel_is_left():
    said = []

    def spy(x):
        said.append(qkv.plan(x, x, x))
        return qkv.attend(x, x, x).context.sum()

    grad(spy)(tensors(B, H))
    assert said[0].kernel == "reference"
    assert "torch.func" in said[0].reason
