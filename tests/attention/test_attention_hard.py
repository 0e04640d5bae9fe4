"""Normalisers that draw one position a query: their frequencies, their gradients, their rest."""

from __future__ import annotations

import math

import pytest
import torch
from attention_masks import CASES, dense
from attention_oracle import B, H, S, T, make_inputs, make_score
from torch.testing import assert_close

import qkv
from qkv.attention.normalizers import build
from qkv.attention.normalizers.gumbel import Gumbel
from qkv.attention.normalizers.hard import Hard

EPS = torch.finfo(torch.float64).eps
DRAWING = ("hard", "gumbel")
each = pytest.mark.parametrize("name", DRAWING)
NEEDS = ["context", "weights", "stats"]


def attended(name, case, need="weights", *, seed=None, dtype=torch.float64):
    """One call; a seed draws, no seed takes the likeliest."""
    torch.manual_seed(7)
    score, (mask, rule) = make_score("additive", dtype), CASES[case]
    tensors = [t.requires_grad_() for t in make_inputs("additive", dtype)]
    module = build(name).train(seed is not None)
    torch.manual_seed(seed or 0)
    out = qkv.attend(*tensors, score=score, mask=mask, normalizer=module, need=need)
    return out, tensors, score, dense(rule)


@each
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [None, 3])
def test_each_row_is_one_hot_on_an_allowed_key_and_a_dead_row_is_zero(name, case, seed):
    out, (_, _, value), _, keep = attended(name, case, seed=seed)
    assert_close(out.weights.sum(-1), keep.any(-1).double(), rtol=0, atol=0)
    assert set(out.weights.unique().tolist()) <= {0.0, 1.0}
    assert not out.weights[~keep].any()
    assert_close(out.context, out.weights @ value, rtol=0, atol=0)


@each
@pytest.mark.parametrize("case", ["none", "keep", "lengths_and_causal"])
def test_outside_training_the_likeliest_allowed_key_is_read(name, case):
    out, (query, key, _), score, keep = attended(name, case)
    energies = score(query, score.prepare(key)).masked_fill(~keep, -math.inf)
    for b, h, i in keep.any(-1).nonzero().tolist():
        row = energies[b, h, i].tolist()
        assert out.weights[b, h, i, max(range(S), key=row.__getitem__)] == 1
    again, *_ = attended(name, case)
    assert torch.equal(again.context, out.context)


@each
def test_the_seed_fixes_a_draw_and_what_is_asked_does_not_change_it(name):
    one, *_ = attended(name, "keep", seed=3)
    for need in NEEDS:
        assert torch.equal(attended(name, "keep", need, seed=3)[0].context, one.context)
    assert not torch.equal(attended(name, "keep", seed=4)[0].weights, one.weights)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_positions_are_drawn_as_often_as_the_softmax_says(name, dtype):
    torch.manual_seed(1)
    draws = 40_000
    energies = torch.tensor([0.5, -1.0, -math.inf, 2.0, 0.0, -4.0], dtype=dtype)
    counts = build(name)(energies.expand(draws, 6), stats=False).weights.double().sum(0)
    p = energies.double().softmax(0)
    # A count is binomial: five standard deviations, 6e-7 of chance for each of 36 counts.
    assert ((counts - draws * p).abs() <= 5 * (draws * p * (1 - p)).sqrt()).all()
    assert counts[2] == 0


def test_hard_returns_log_p_of_the_position_it_drew_and_of_all():
    for case in ("none", "keep", "lengths"):
        out, (query, key, _), score, keep = attended("hard", case, "stats", seed=5)
        drawn = attended("hard", case, "weights", seed=5)[0].weights
        energies = score(query, score.prepare(key)).masked_fill(~keep, -math.inf)
        alive = keep.any(-1)
        p = energies[alive].softmax(-1)
        read = drawn[alive].argmax(-1, keepdim=True)
        slack = {"rtol": 0.0, "atol": 4 * S * EPS * 10}  # S terms of a softmax, |log p| below 10
        assert_close(out.log_prob[alive], p.gather(-1, read).squeeze(-1).log(), **slack)
        assert_close(out.log_distribution[alive], p.log(), **slack)
        assert_close(out.log_normalizer[alive], energies[alive].logsumexp(-1), **slack)
        assert not out.log_prob[~alive].any()
        assert out.log_distribution[~alive].isneginf().all()


def test_log_p_is_differentiable_in_the_energies_and_the_draw_is_not():
    torch.manual_seed(2)
    energies = torch.randn(4, 5).double()
    energies[0, 1] = -math.inf
    energies.requires_grad_()
    module = Hard()

    def log_prob(energies):
        torch.manual_seed(3)
        return module(energies, stats=True).log_prob

    found = module(energies, stats=True)
    assert not found.weights.requires_grad
    (gradient,) = torch.autograd.grad(log_prob(energies).sum(), energies)
    torch.manual_seed(3)
    drawn = module(energies, stats=False).weights
    # d log p(a) / d e = one_hot(a) - p
    assert_close(gradient, drawn - energies.detach().softmax(-1), rtol=0.0, atol=5 * EPS)
    finite = torch.randn(4, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(log_prob, (finite,))
    assert torch.autograd.gradgradcheck(log_prob, (finite,))


@each
def test_a_dead_row_has_no_gradient_and_spares_its_neighbours(name):
    out, tensors, score, keep = attended(name, "keep", "stats", seed=3)
    total = out.context.square().sum()
    if out.log_prob is not None:
        total = total + out.log_prob.sum()
    gradients = torch.autograd.grad(total, [*tensors, *score.parameters()])
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)
    assert not gradients[0][~keep.any(-1)].any()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_gumbel_has_the_gradient_of_its_relaxed_draw(temperature):
    torch.manual_seed(4)
    energies = torch.randn(3, 5).double()
    energies[1, 2] = -math.inf
    energies.requires_grad_()
    weights = torch.randn(3, 5).double()
    torch.manual_seed(5)
    out = Gumbel(temperature)(energies, stats=False).weights
    (gradient,) = torch.autograd.grad((out * weights).sum(), energies)
    torch.manual_seed(5)
    noise = -torch.empty(3, 5).double().exponential_().log()
    y = ((energies + noise) / temperature).softmax(-1)
    (expected,) = torch.autograd.grad((y * weights).sum(), energies)
    assert_close(gradient, expected, rtol=0.0, atol=20 * EPS)
    assert torch.equal(out.argmax(-1), y.argmax(-1)) and gradient[1, 2] == 0


@each
def test_a_nan_energy_is_never_read_past(name):
    energies = torch.tensor([[0.0, math.nan, 1.0], [0.0, 2.0, 1.0]])
    for training in (True, False):
        weights = build(name).train(training)(energies, stats=True).weights
        assert weights[0].isnan().any() and weights[1].sum() == 1


@pytest.mark.parametrize("temperature", [0, -1.0, math.inf, math.nan])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(ValueError, match="a temperature is a finite number above 0"):
        Gumbel(temperature)


def test_a_layer_draws_while_it_trains_only():
    layer = qkv.MultiHeadAttention(12, 3, normalizer="hard")
    x = torch.randn(B, T, 12)
    assert torch.equal(layer.eval()(x).context, layer(x).context)
    layer.train()
    assert not torch.equal(layer(x).context, layer(x).context)
    assert layer(x, need="weights").weights.shape == (B, H, T, T)
