"""Reweighters: what is read is not what the normaliser gave."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from attention_masks import CASES, dense
from attention_oracle import B, H, S, T, make_inputs
from torch.testing import assert_close

import qkv
from qkv.attention.reweighters import REWEIGHTERS, Gaussian


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("leading", [(B,), (B, H), ()], ids=str)
def test_gaussian_equals_luongs_equation_written_as_loops(case, leading):
    """w_ij = alpha_ij exp(-(j - p_i)^2 / (2 sigma^2)); the weights shown are the w."""
    mask, rule = CASES[case]
    query, key, value = make_inputs("dot")
    positions = 4 * torch.randn(*leading, T).double()
    slots = {"score": "dot", "mask": mask, "need": "weights"}
    plain = qkv.attend(query, key, value, **slots)

    out = qkv.attend(query, key, value, **slots, reweighter=Gaussian(positions, sigma=1.7))

    expected = torch.zeros(B, H, T, S, dtype=torch.float64)
    for b, h, i, j in itertools.product(range(B), range(H), range(T), range(S)):
        p = positions[(b, h)[: len(leading)]][i].item()
        expected[b, h, i, j] = plain.weights[b, h, i, j] * math.exp(-((j - p) ** 2) / 1.7**2 / 2)
    assert_close(out.weights, expected)
    assert_close(out.context, expected @ value)
    assert not out.context[~dense(rule).any(-1)].any()


def test_gaussian_worked_by_hand():
    """Two keys of equal weight, one at the position and one sigma away: 1/2 and e^(-1/2) / 2."""
    read = Gaussian(torch.tensor([0.0]), sigma=1.0)(torch.full((1, 2), 0.5))
    assert_close(read, torch.tensor([[0.5, 0.5 * math.exp(-0.5)]]))


def test_gaussian_has_two_derivatives_also_in_its_positions():
    tensors = [torch.randn(1, n, 3).double().requires_grad_() for n in (2, 4, 4)]
    positions = torch.tensor([[0.3, 2.1]]).double().requires_grad_()
    mask = qkv.Mask.keep(torch.tensor([[True, False, True, True], [False] * 4]))

    def context(query, key, value, positions):
        gaussian = Gaussian(positions, 1.3)
        return qkv.attend(query, key, value, mask=mask, reweighter=gaussian).context

    assert torch.autograd.gradcheck(context, (*tensors, positions))
    assert torch.autograd.gradgradcheck(context, (*tensors, positions))


def test_a_nan_position_of_a_dead_row_reaches_nobody():
    x = torch.randn(1, 3, 5).double().requires_grad_()
    mask = qkv.Mask.window(0, 0) & ~qkv.Mask.global_([1])  # query 1 may meet nothing

    def run(position):
        gaussian = Gaussian(torch.tensor([[0.0, position, 2.0]]).double(), 1.0)
        out = qkv.attend(x, x, mask=mask, reweighter=gaussian).context
        return out, torch.autograd.grad(out.square().sum(), x)[0]

    for clean, poisoned in zip(run(1.0), run(math.nan), strict=True):
        assert torch.equal(clean, poisoned)


def test_the_fused_kernel_leaves_a_reweighter_to_the_reference():
    assert "gaussian" in REWEIGHTERS
    x = torch.randn(2, 3, 5)
    with pytest.raises(ValueError, match="'sdpa' cannot do reweighter Gaussian"):
        qkv.attend(x, x, reweighter=Gaussian(torch.zeros(2, 3), 1.0), kernel="sdpa")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(torch.zeros(3, dtype=torch.long), 1.0), "got torch.int64"),
        (lambda: Gaussian([0.5], 1.0), "got list"),
        (lambda: Gaussian(torch.zeros(3), 0.0), "sigma is a finite number above 0"),
        (lambda: Gaussian(torch.zeros(2, 4), 1.0)(torch.zeros(2, 3, 5)), "do not fit"),
        (lambda: Gaussian(torch.zeros(2, 2, 3), 1.0)(torch.zeros(2, 3, 5)), "do not fit"),
        (
            lambda: qkv.attend(torch.zeros(2, 3), torch.zeros(2, 3), reweighter="gaussian"),
            r"reweighter is an object such as qkv\.reweighters\.Gaussian",
        ),
    ],
)
def test_a_reweighter_that_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
