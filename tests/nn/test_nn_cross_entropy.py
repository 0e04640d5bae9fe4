"""The fused cross-entropy against torch's own, on all logits at once."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, linear
from torch.testing import assert_close

from qkv.nn import cross_entropy as module
from qkv.nn.cross_entropy import linear_cross_entropy

TOKENS, FEATURES, WORDS = 13, 7, 11


def inputs(dtype=torch.float64, scale=1.0):
    draw = torch.Generator().manual_seed(1)
    shapes = (TOKENS, FEATURES), (WORDS, FEATURES), (WORDS,)
    given = [
        (scale * torch.randn(shape, generator=draw, dtype=torch.float64)).to(dtype)
        for shape in shapes
    ]
    targets = torch.randint(WORDS, (TOKENS,), generator=draw)
    return [tensor.requires_grad_() for tensor in given], targets


def slack(given, dtype=torch.float64):
    """A gradient sums at most tokens * words terms, each a product of numbers below the largest
    input; every term is rounded some four times."""
    largest = max(float(tensor.detach().abs().max()) for tensor in given)
    terms = 4 * TOKENS * WORDS * FEATURES * max(1.0, largest) ** 2
    return {"rtol": 0.0, "atol": terms * torch.finfo(dtype).eps}


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("chunk", [1, 3 * WORDS, 5 * WORDS + 1, 10**6])
def test_sums_and_gradients_are_those_of_the_cross_entropy_however_it_is_cut(
    chunk, smoothing, monkeypatch
):
    monkeypatch.setattr(module, "CHUNK", chunk)
    given, targets = inputs()
    found = linear_cross_entropy(*given, targets, smoothing)
    logits = linear(*given)
    expected = cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    assert_close(found.smoothed, expected, **slack(given))
    assert_close(found.plain, cross_entropy(logits, targets, reduction="sum"), **slack(given))
    for one, other in zip(
        torch.autograd.grad(0.37 * found.smoothed, given),
        torch.autograd.grad(0.37 * expected, given),
        strict=True,
    ):
        assert_close(one, other, **slack(given))


def test_large_logits_neither_overflow_nor_lose_the_target():
    """Logits in the thousands: most probabilities are 0, and so may the target's be."""
    given, targets = inputs(torch.float32, scale=40.0)
    found = linear_cross_entropy(*given, targets, 0.1)
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    expected = cross_entropy(linear(*exact), targets, reduction="sum", label_smoothing=0.1)
    assert expected > 1000
    assert_close(found.smoothed, expected.float(), **slack(given, torch.float32))
    for one, other in zip(
        torch.autograd.grad(found.smoothed, given),
        torch.autograd.grad(expected, exact),
        strict=True,
    ):
        # exp turns the error of a logit, FEATURES * eps * 40^2, into one of its probability.
        assert_close(one, other.float(), **slack(given, torch.float32))


def test_without_a_graph_the_sums_are_the_same_and_a_kept_graph_gives_the_same_gradient_twice():
    given, targets = inputs()
    found = linear_cross_entropy(*given, targets, 0.1)
    with torch.no_grad():
        assert_close(tuple(linear_cross_entropy(*given, targets, 0.1)), tuple(found))
    assert found.smoothed.requires_grad and not found.plain.requires_grad
    first = torch.autograd.grad(found.smoothed, given, retain_graph=True)
    assert_close(torch.autograd.grad(found.smoothed, given), first, rtol=0.0, atol=0.0)


def test_what_is_not_a_number_is_told():
    given, targets = inputs()
    with torch.no_grad():
        given[0][3, 2] = torch.nan
    assert linear_cross_entropy(*given, targets, 0.1).plain.isnan()


def test_under_autocast_products_are_rounded_and_gradients_keep_their_types():
    given, targets = inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = linear_cross_entropy(*given, targets, 0.1)
    exact = linear_cross_entropy(*given, targets, 0.1)
    assert found.smoothed.dtype == torch.float32
    rounding = torch.finfo(torch.bfloat16).eps
    assert_close(found.smoothed, exact.smoothed, rtol=4 * rounding, atol=0.0)
    assert not torch.equal(found.smoothed, exact.smoothed)
    for one, other in zip(
        torch.autograd.grad(found.smoothed, given),
        torch.autograd.grad(exact.smoothed, given),
        strict=True,
    ):
        assert one.dtype == torch.float32
        assert_close(one, other, rtol=0.0, atol=16 * rounding * float(other.abs().max()))
