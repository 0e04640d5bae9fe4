"""The methods, on questions whose answers are known in closed form."""

from __future__ import annotations

import networkx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from qkv.attention.registry import find
from qkv.explain import flow, rollout
from qkv.explain.attribution import METHODS, Question, integrated_gradients
from qkv.explain.attribution.question import Mixing
from qkv.explain.attribution.rollout import residual

TOKENS, DIM, OUTPUTS, WIDTH = 5, 3, 4, 2
EPS = torch.finfo(torch.float64).eps
# Captum keeps the weights of its points in float32, whatever the type of the scores.
SINGLE = torch.finfo(torch.float32).eps


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


EMBEDDED, BASELINE = random(TOKENS, DIM), random(TOKENS, DIM, seed=1)
MATRIX, READ = random(OUTPUTS, WIDTH, TOKENS, DIM, seed=2), random(OUTPUTS, WIDTH, seed=3)


def question(squash=lambda x: x, matrix=MATRIX) -> Question:
    """score_i = READ_i . squash(MATRIX_i x)."""
    return Question(
        EMBEDDED,
        BASELINE,
        features=lambda rows: squash(torch.einsum("owtd,rtd->row", matrix, rows)),
        score=lambda features, outputs: (features * READ[outputs]).sum(-1),
        mixing=lambda: Mixing((torch.eye(TOKENS + OUTPUTS).double(),), TOKENS),
    )


def answer(name: str, asked: Question):
    return find("method", name, METHODS)(asked)


SLOPE = torch.einsum("ow,owtd->otd", READ, MATRIX)
# Sums of at most TOKENS * DIM * WIDTH products, each below 30.
SLACK = {"rtol": 0.0, "atol": TOKENS * DIM * WIDTH * 30 * EPS}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("gradient", SLOPE.norm(dim=-1)),
        ("gradient-input", (SLOPE * EMBEDDED).sum(-1)),
        ("leave-one-out", (SLOPE * (EMBEDDED - BASELINE)).sum(-1)),
        ("jacobian", MATRIX.square().sum((1, 3)).sqrt()),
    ],
)
def test_on_a_linear_model_each_method_is_its_closed_form(method, expected):
    assert_close(answer(method, question()).values, expected, **SLACK)


def test_integrated_gradients_of_a_linear_model_are_exact_and_miss_nothing():
    found = answer("integrated-gradients", question())
    expected = (SLOPE * (EMBEDDED - BASELINE)).sum(-1)
    single = {"rtol": 0.0, "atol": TOKENS * DIM * WIDTH * 30 * SINGLE}
    assert_close(found.values, expected, **single)
    assert_close(found.gap, torch.zeros(OUTPUTS).double(), **single)


def test_integrated_gradients_add_up_to_the_change_of_the_score_and_say_what_is_missing():
    asked = question(lambda x: torch.tanh(2 * x))
    found = answer("integrated-gradients", asked)
    change = asked.scores(EMBEDDED[None])[0] - asked.scores(BASELINE[None])[0]
    assert_close(found.values.sum(1) - change, found.gap, **SLACK)
    assert found.gap.abs().max() < integrated_gradients.ENOUGH
    midpoints = (torch.arange(4000).double() + 0.5) / 4000
    path = BASELINE + midpoints[:, None, None] * (EMBEDDED - BASELINE)
    path.requires_grad_()
    for i in range(OUTPUTS):
        (slopes,) = torch.autograd.grad(asked.scores(path)[:, i].sum(), path)
        expected = (slopes.mean(0) * (EMBEDDED - BASELINE)).sum(-1)
        # Each is off by less than the missing sum that it may have.
        assert_close(found.values[i], expected, rtol=0, atol=integrated_gradients.ENOUGH)


def test_integrated_gradients_take_more_points_where_few_miss_much(monkeypatch):
    asked = question(lambda x: torch.tanh(40 * x))
    found = answer("integrated-gradients", asked)
    monkeypatch.setattr(integrated_gradients, "MOST", integrated_gradients.FIRST)
    few = answer("integrated-gradients", asked)
    assert few.gap.abs().max() > integrated_gradients.ENOUGH > found.gap.abs().max()


def test_the_jacobian_is_that_of_torch():
    asked = question(torch.tanh)
    whole = torch.autograd.functional.jacobian(lambda x: asked.features(x[None])[0], EMBEDDED)
    expected = whole.square().sum((1, 3)).sqrt()
    assert_close(answer("jacobian", asked).values, expected, **SLACK)


@pytest.mark.parametrize("method", ["gradient", "gradient-input", "leave-one-out", "jacobian"])
def test_how_many_rows_go_at_a_time_changes_nothing(method, monkeypatch):
    whole = answer(method, question(torch.tanh)).values
    for name in ("gradient", "leave_one_out", "jacobian"):
        monkeypatch.setattr(f"qkv.explain.attribution.{name}.ROWS", 3)
    assert_close(answer(method, question(torch.tanh)).values, whole, **SLACK)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("rollout", "flow")])
def test_a_model_that_reads_one_token_hangs_on_that_token_alone(method):
    planted = torch.zeros_like(MATRIX)
    planted[:, :, 3] = MATRIX[:, :, 3]
    values = answer(method, question(torch.tanh, planted)).values
    assert (values[:, 3].abs() > 1e-3).all()
    assert_close(values[:, [0, 1, 2, 4]], torch.zeros(OUTPUTS, 4).double(), **SLACK)


def test_half_of_a_layer_is_its_residual_and_heads_are_averaged():
    weights = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [1.0, 0.0]]])
    assert_close(residual(weights), torch.tensor([[0.75, 0.25], [0.375, 0.625]]))


FIRST = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.75, 0.25], [0.25, 0.0, 0.75]]).double()
SECOND = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.5, 0.25]]).double()


def test_rollout_follows_every_path_from_the_top_to_the_inputs():
    # token 2: 1/4 to 0, 1/2 to 1, 1/4 to itself; then as FIRST says
    expected = torch.tensor([0.25 / 2 + 0.25 / 4, 0.25 / 2 + 0.5 * 0.75, 0.5 / 4 + 0.75 / 4])
    assert_close(rollout([FIRST, SECOND])[2], expected.double())


def test_flow_is_as_wide_as_the_narrowest_pipes():
    # to input 0: through 0, min(1/4, 1/2); through 2, min(1/4, 1/4): together 1/2
    # to input 1: through 0, min(1/4, 1/2); through 1, min(1/2, 3/4): 3/4
    # to input 2: through 1, min(1/2, 1/4); through 2, min(1/4, 3/4): 1/2
    expected = torch.tensor([[0.5, 0.75, 0.5]]).double()
    assert_close(flow([FIRST, SECOND], [2], range(3)), expected, rtol=0, atol=6 * 2.0**-29)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**31))
def test_flow_is_that_of_networkx(depth, count, seed):
    layers = [random(count, count, seed=seed + n).mul(3).softmax(-1) for n in range(depth)]
    graph = networkx.DiGraph()
    for level, layer in enumerate(layers, start=1):
        for u in range(count):
            for v in range(count):
                graph.add_edge((level, u), (level - 1, v), capacity=float(layer[u, v]))
    expected = [
        [networkx.maximum_flow_value(graph, (depth, u), (0, v)) for v in range(count)]
        for u in range(count)
    ]
    found = flow(layers, range(count), range(count))
    # A cut has at most count^2 pipes, each rounded by half of 2^-29.
    slack = {"rtol": 0.0, "atol": count**2 * 2.0**-30 + depth * count**2 * EPS}
    assert_close(found, torch.tensor(expected, dtype=torch.float64), **slack)


def test_the_packages_of_the_extra_are_named_where_they_lack(monkeypatch):
    for module in ("integrated_gradients", "flow"):
        monkeypatch.setattr(f"qkv.explain.attribution.{module}.find_spec", lambda name: None)
    for method, package in (("integrated-gradients", "captum"), ("flow", "scipy")):
        with pytest.raises(ValueError, match=rf"{package}: pip install 'qkv\[explain\]'"):
            answer(method, question())
