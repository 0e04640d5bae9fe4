"""Dropout from sixteen bits a number."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from qkv.nn.dropout import Dropout

COUNT = 200_003  # odd: the last draw of 64 bits is not used up


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_one_asked_for_and_the_rest_scaled_by_what_is_left(share):
    torch.manual_seed(1)
    out = Dropout(share)(torch.ones(COUNT))
    drawn = round(2**16 * share) / 2**16
    dropped = (out == 0).double().mean().item()
    # Five standard deviations of a mean of COUNT draws.
    assert abs(dropped - drawn) < 5 * math.sqrt(drawn * (1 - drawn) / COUNT)
    kept = out[out != 0]
    assert_close(kept, torch.full_like(kept, 1 / (1 - drawn)))


def test_neighbours_are_dropped_independently():
    """Four numbers share a draw of 64 bits: every pair of the four must be dropped together
    as often as chance has it."""
    torch.manual_seed(1)
    dropped = (Dropout(0.5)(torch.ones(COUNT // 4 * 4)) == 0).double().view(-1, 4)
    together = dropped.t() @ dropped / len(dropped)
    expected = torch.full((4, 4), 0.25).double().fill_diagonal_(0.5)
    deviation = 0.5 / math.sqrt(len(dropped))
    assert_close(together, expected, rtol=0.0, atol=5 * deviation)


def test_the_gradient_is_zero_where_the_output_is_and_else_the_scale():
    inputs = torch.randn(7, 11, 13, dtype=torch.float64, requires_grad=True)
    out = Dropout(0.25)(inputs)
    (gradient,) = torch.autograd.grad(out.sum(), inputs)
    assert_close(gradient * inputs, out)
    assert 0 < int((gradient == 0).sum()) < gradient.numel()


def test_the_seed_fixes_the_draws_and_in_eval_mode_there_are_none():
    inputs, dropout = torch.randn(3, 5, 7), Dropout(0.5)

    def drawn(seed):
        torch.manual_seed(seed)
        return dropout(inputs)

    assert_close(drawn(1), drawn(1), rtol=0.0, atol=0.0)
    assert not torch.equal(drawn(1), drawn(2))
    assert dropout.eval()(inputs) is inputs


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_or_everything_is_dropped(share):
    inputs = torch.randn(3, 5)
    assert_close(Dropout(share)(inputs), inputs * (1 - share))
