"""Normalizers: hand-worked rows, loops, other people's code, and two derivatives."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from attention_masks import CASES, dense
from attention_oracle import B, H, S, T, make_inputs, make_score, numbers
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import qkv
from qkv import normalizers
from qkv.attention.normalizers import NORMALIZERS, build

SLOTS = {
    "softmax": lambda: build("softmax"),
    "softmax_hot": lambda: normalizers.Softmax(temperature=2.5),
    "softmax_cold": lambda: normalizers.Softmax(temperature=0.3),
    "sparsemax": lambda: build("sparsemax"),
    "entmax": lambda: build("entmax"),
    "entmax_1.2": lambda: normalizers.Entmax(1.2),
    "entmax_2": lambda: normalizers.Entmax(2.0),
    "entmax_3": lambda: normalizers.Entmax(3.0),
    "learned_entmax": lambda: learned(H),
    "sigmoid": lambda: build("sigmoid"),
    "sigmoid_biased": lambda: normalizers.Sigmoid(bias=0.7),
}
DRAWING = ("hard", "gumbel")  # by chance, and one-hot: test_attention_hard.py holds these
each = pytest.mark.parametrize("case", SLOTS)


def learned(heads: int) -> normalizers.LearnedEntmax:
    module = normalizers.LearnedEntmax(heads).double()
    torch.nn.init.uniform_(module.raw, -2, 2)
    return module


def root(function, low: float, high: float) -> float:
    """Where a falling function crosses 0."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return low


def sparse(e: list[float], alpha: float) -> list[float]:
    """max((alpha - 1) e - tau, 0)^(1 / (alpha - 1)) with the tau at which it sums to 1."""

    def at(tau: float) -> list[float]:
        return [max((alpha - 1) * x - tau, 0.0) ** (1 / (alpha - 1)) for x in e]

    top = (alpha - 1) * max(e)
    return at(root(lambda tau: sum(at(tau)) - 1, top - 1, top))


def sparsemax(e: list[float]) -> list[float]:
    """The paper's algorithm 1, number by number."""
    ordered = sorted(e, reverse=True)
    k = max(k for k in range(1, len(e) + 1) if 1 + k * ordered[k - 1] > sum(ordered[:k]))
    tau = (sum(ordered[:k]) - 1) / k
    return [max(x - tau, 0.0) for x in e]


def row(case: str, module, head: int, e: list[float]) -> list[float]:
    """One row of weights, for its allowed energies."""
    if case.startswith("softmax"):
        powers = [math.exp((x - max(e)) / module.temperature) for x in e]
        return [power / sum(powers) for power in powers]
    if case == "sparsemax":
        return sparsemax(e)
    if case.startswith("sigmoid"):
        b = -math.log(len(e)) if case == "sigmoid" else 0.7
        return [1 / (1 + math.exp(-x - b)) for x in e]
    alpha = module.alpha if case != "learned_entmax" else module.alpha[head].item()
    return sparse(e, alpha)


@each
@pytest.mark.parametrize("where", CASES)
def test_weights_and_context_equal_the_equation_written_as_loops(case, where):
    """What is masked does not exist, a row that may meet nothing is 0."""
    module, (mask, rule) = SLOTS[case](), CASES[where]
    query, key, value = make_inputs("additive")
    score = make_score("additive")
    slots = {"score": score, "mask": mask, "normalizer": module}
    out = qkv.attend(query, key, value, **slots, need="weights")
    e = numbers(score(query, score.prepare(key)))
    keep, expected = dense(rule), torch.zeros(B, H, T, S, dtype=torch.float64)
    for b, h, i in itertools.product(range(B), range(H), range(T)):
        allowed = [j for j in range(S) if keep[b, h, i, j]]
        if allowed:
            found = row(case, module, h, [e[b][h][i][j] for j in allowed])
            expected[b, h, i, allowed] = torch.tensor(found, dtype=torch.float64)
    # tau is found to eps; a power 1 / (alpha - 1) <= 5 and S terms multiply that; p <= 1. For
    # alpha = 3 a weight is the root of what is left, so its error may be sqrt(eps) at 0.
    atol = 2e-8 if case in ("entmax_3",) else 100 * S * 2.3e-16
    assert_close(out.weights, expected, atol=atol, rtol=0)
    assert_close(out.context, expected @ value, atol=atol * S * 4, rtol=0)
    assert torch.equal(out.context, qkv.attend(query, key, value, **slots).context)
    assert not out.weights[~keep].any()


@pytest.mark.parametrize(
    ("module", "energies", "weights"),
    [
        (normalizers.Sparsemax(), [0.5, 0.0], [0.75, 0.25]),
        (normalizers.Sparsemax(), [2.0, 0.9, 0.1], [1.0, 0.0, 0.0]),
        (normalizers.Sparsemax(), [0.5, 0.5, -0.5], [0.5, 0.5, 0.0]),
        (normalizers.Entmax(2.0), [0.5, 0.0], [0.75, 0.25]),
        (normalizers.Entmax(1.5), [0.4, 0.0], [0.64, 0.36]),  # tau = -0.6: 0.8^2 + 0.6^2 = 1
        (normalizers.Entmax(1.5), [4.0, 0.0], [1.0, 0.0]),  # tau = 1: (2 - 1)^2
        (normalizers.Softmax(2.0), [2 * math.log(3), 0.0], [0.75, 0.25]),
        (normalizers.Sigmoid(), [math.log(2), 0.0], [0.5, 1 / 3]),  # b = -log 2
        (normalizers.Sigmoid(bias=0.0), [math.log(3), 0.0], [0.75, 0.5]),
    ],
)
def test_rows_worked_by_hand(module, energies, weights):
    given = torch.tensor([energies, [e + 100 for e in energies]], dtype=torch.float64)
    found = module(given, stats=False).weights
    assert_close(found[0], torch.tensor(weights, dtype=torch.float64))
    if not isinstance(module, normalizers.Sigmoid):  # adding a constant changes nothing
        assert_close(found[1], found[0], atol=100 * 100 * 2.3e-16, rtol=0)


@each
def test_first_and_second_derivatives_are_those_of_the_equation(case):
    torch.manual_seed(5)
    module = SLOTS[case]().double()
    energies = torch.randn(H, 2, 5).double().requires_grad_()
    allowed = torch.ones(2, 5).bool()
    allowed[0, 3] = False
    parameters = [p.detach().clone().requires_grad_() for p in module.parameters()]
    names = [name for name, _ in module.named_parameters()]

    def weights(energies, *parameters):
        own = dict(zip(names, parameters, strict=True))
        masked = torch.where(allowed, energies, -math.inf)
        return torch.func.functional_call(module, own, (masked,), {"stats": False}).weights

    assert torch.autograd.gradcheck(weights, (energies, *parameters))
    assert torch.autograd.gradgradcheck(weights, (energies, *parameters))


@each
def test_a_forbidden_energy_has_no_gradient_and_no_nan_comes_of_it(case):
    module = SLOTS[case]().float()
    energies = torch.randn(H, 4, 5)
    energies[..., 2] = -math.inf
    energies.requires_grad_()
    weights = module(energies, stats=False).weights
    (weights * torch.randn_like(weights)).sum().backward()
    assert energies.grad.isfinite().all()
    assert not energies.grad[..., 2].any()


@pytest.mark.parametrize("case", [case for case in SLOTS if not case.startswith("sigmoid")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e4])
def test_rows_sum_to_one_however_large_the_energies(case, dtype, size):
    weights = SLOTS[case]().to(dtype)(size * torch.randn(H, 7, 101, dtype=dtype), stats=False)[0]
    eps = torch.finfo(dtype).eps  # 101 terms, and tau of the size of the energies at 1 for 1e4
    assert_close(weights.sum(-1), torch.ones(H, 7, dtype=dtype), atol=4 * 101 * eps, rtol=0)
    assert (weights >= 0).all()


@given(seed=st.integers(0, 9999), keys=st.integers(1, 30), size=st.floats(0.01, 5))
def test_entmax_is_the_entmax_packages(seed, keys, size):
    entmax = pytest.importorskip("entmax", reason="the entmax package is not installed")
    torch.manual_seed(seed)
    energies = size * torch.randn(3, keys).double()
    for mine, theirs in (
        (normalizers.Sparsemax(), entmax.sparsemax),
        (normalizers.Entmax(1.5), entmax.entmax15),
        (normalizers.Entmax(1.3), lambda e: entmax.entmax_bisect(e, 1.3, n_iter=100)),
    ):
        a, b = (energies.clone().requires_grad_() for _ in range(2))
        ours, others = mine(a, stats=False).weights, theirs(b)
        assert_close(ours, others, atol=1e-12, rtol=0)  # keys * power * eps is below 1e-13
        gradient = torch.randn_like(ours)
        ours.backward(gradient)
        others.backward(gradient)
        assert_close(a.grad, b.grad, atol=1e-6, rtol=0)  # sqrt(p): theirs is off where p is ~ eps


def test_each_head_keeps_its_alpha_however_many_rows_there_are():
    entmax = pytest.importorskip("entmax", reason="the entmax package is not installed")
    module = normalizers.LearnedEntmax(3).double()
    torch.nn.init.normal_(module.raw)
    energies = 3 * torch.randn(2, 3, 61, 997).double()  # more than are worked on together
    weights = module(energies, stats=False).weights
    for head, alpha in enumerate(module.alpha.flatten().tolist()):
        theirs = entmax.entmax_bisect(energies[:, head], alpha, n_iter=100)
        # 997 terms of some eps each, times the power 1 / (alpha - 1), which is below 10 here
        assert_close(weights[:, head], theirs, atol=1e-11, rtol=0)


def test_rows_that_lose_one_key_a_step_come_to_their_end():
    entmax = pytest.importorskip("entmax", reason="the entmax package is not installed")
    energies = -torch.logspace(-12, 0, 97, base=2).double()  # each a share further from the rest
    for rows in (energies, energies.float(), energies.cumsum(0)):
        ours = normalizers.Sparsemax()(rows[None], stats=False).weights
        eps = torch.finfo(rows.dtype).eps
        assert_close(ours, entmax.sparsemax(rows[None]), atol=97 * eps, rtol=0)


@pytest.mark.parametrize("module", [normalizers.Sparsemax(), normalizers.Entmax(1.3)])
def test_a_recorded_graph_gives_the_same_weights(module):
    class Weights(torch.nn.Module):
        def forward(self, energies):
            return module(energies, stats=False).weights

    energies = torch.randn(3, 5, 11)
    graph = torch.export.export(Weights(), (energies,)).module()
    eps = torch.finfo(energies.dtype).eps  # 11 terms, to the power of 1 / 0.3 at most
    other = torch.randn(3, 5, 11)
    assert_close(graph(other), Weights()(other), atol=11 * 4 * eps, rtol=0)


def test_alpha_follows_the_entmax_packages_gradient():
    entmax = pytest.importorskip("entmax", reason="the entmax package is not installed")
    energies, gradient = torch.randn(2, 6).double(), torch.randn(2, 6).double()
    module = learned(1)
    (module(energies, stats=False).weights * gradient).sum().backward()
    raw = module.raw.detach().clone().requires_grad_()
    alpha = (1 + raw.sigmoid()).reshape(1, 1).expand(2, 1)
    (entmax.entmax_bisect(energies, alpha, n_iter=100) * gradient).sum().backward()
    assert_close(module.raw.grad, raw.grad, atol=1e-9, rtol=1e-7)


def test_entmax_lies_between_softmax_and_sparsemax():
    energies = torch.randn(5, 11).double()
    near = normalizers.Entmax(1 + 1e-6)(energies, stats=False).weights
    assert_close(near, energies.softmax(-1), atol=1e-5, rtol=0)  # the distance is O(alpha - 1)
    kept = [(m(energies, stats=False)[0] > 0).sum() for m in (build("entmax"), build("sparsemax"))]
    assert 55 >= kept[0] > kept[1] >= 5


def test_a_learned_alpha_is_each_heads_own_and_learns():
    module = normalizers.LearnedEntmax(3)
    assert_close(module.alpha.flatten(), torch.full((3,), 1.5))
    attention = qkv.Attention(normalizer=module)
    x = torch.randn(2, 3, 5, 7)
    out = attention(x, x, need="weights")
    fixed = qkv.attend(x, x, normalizer=normalizers.Entmax(1.5), need="weights")
    assert_close(out.weights, fixed.weights)
    out.weights.square().sum().backward()
    assert module.raw.grad.all()
    with pytest.raises(ValueError, match=r"wants energies \[..., 3 heads, .* got \[2, 4, 5, 5\]"):
        attention(torch.randn(2, 4, 5, 7), torch.randn(2, 4, 5, 7))


def test_a_temperature_keeps_to_a_kernel_that_knows_it():
    x, hot = torch.randn(2, 5, 7).double(), normalizers.Softmax(3.0)
    with pytest.raises(ValueError, match="'sdpa' cannot do normalizer 'softmax with a temp"):
        qkv.attend(x, x, normalizer=hot, kernel="sdpa")
    assert_close(
        qkv.attend(x, x, normalizer=hot).context, qkv.attend(x / 3, x, x).context
    )  # e / 3
    energies = torch.randn(2, 5).double()
    found = hot(energies, stats=True).log_normalizer
    assert_close(found, torch.logsumexp(energies / 3, -1))


@pytest.mark.parametrize("name", [name for name in NORMALIZERS if name != "learned_entmax"])
def test_an_attention_takes_any_normalizer_without_parameters_by_name(name):
    assert name in SLOTS or name in DRAWING
    x = torch.randn(2, 5, 7)
    out = qkv.Attention(normalizer=name)(x, x, need="weights", mask=qkv.Mask.causal())
    assert_close(out.context, out.weights @ x)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: normalizers.Entmax(1.0), "above 1, got 1.0; 1 itself is softmax"),
        (lambda: normalizers.Entmax(math.inf), "finite"),
        (lambda: normalizers.Softmax(0), "a temperature is a finite number above 0, got 0"),
        (lambda: normalizers.LearnedEntmax(0), "heads is 1 or more"),
    ],
)
def test_a_normalizer_that_is_none_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
