"""What holds for every score, mask, dtype, question and kernel (DESIGN's invariants)."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import torch
from attention_masks import BANDS, CASES, SPARSE, dense
from attention_oracle import (
    DTYPES,
    HIDDEN,
    KEY,
    ONE_WIDTH,
    QUERY,
    B,
    Expected,
    H,
    S,
    T,
    by_loops,
    energies_by_loops,
    make_inputs,
    make_score,
    tolerance,
)
from torch import Tensor
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention.kernels import KERNELS
from qkv.attention.scores import SCORES

NEEDS = ["context", "weights", "stats"]
each_score = pytest.mark.parametrize("name", SCORES)
each_mask = pytest.mark.parametrize("case", CASES)
NEAR = {  # what kernels are given that need a mask of their kind where others need none
    "sparse": Mask.window(2, 2),
    "narrow": Mask.around(torch.arange(float(T)), 2),
}
RUNS = ("lengths", "nothing", "around", "around_and_lengths", "near")
each_kernel = pytest.mark.parametrize("kernel", ["auto", *KERNELS])


def setting(name: str, dtype: torch.dtype):
    torch.manual_seed(11)
    score = make_score(name, dtype)
    bias = torch.randn(B, H, T, S).to(dtype)
    return score, make_inputs(name, dtype), bias


@functools.cache
def energies(name: str, dtype: torch.dtype) -> tuple[list, list]:
    score, (query, key, _), _ = setting(name, dtype)
    return energies_by_loops(name, score, query, key)


@functools.cache
def expected(name: str, case: str, dtype: torch.dtype, biased: bool) -> Expected:
    _, (_, _, value), bias = setting(name, dtype)
    keep = dense(CASES[case][1])
    return by_loops(energies(name, dtype), value, keep, bias if biased else torch.zeros_like(bias))


def covers(
    kernel: str, score, need: str = "context", bias: Tensor | None = None, case: str = "none"
) -> bool:
    """Whether the kernel's row of the table covers this."""
    row = KERNELS.get(kernel)
    return row is None or (
        row.absent is None
        and (row.devices is None or "cpu" in row.devices)
        and (not row.runs or case in RUNS)
        and (
            not row.tiles or case in (*SPARSE, "near") or (case in BANDS and score.family == "dot")
        )
        and (row.families is None or score.family in row.families)
        and (row.biases or bias is None)
        and (row.learns_bias or bias is None or not bias.requires_grad)
    )


def covers_dot(row) -> bool:
    return row.families is None or "dot" in row.families


def grads(out: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(5)
    found = torch.autograd.grad(out, tensors, torch.randn_like(out), allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, tensors, strict=True)]


@each_score
@each_mask
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@each_kernel
def test_everything_equals_the_equation_written_as_loops(name, case, dtype, kernel):
    """... for every question, with and without a bias: asking never changes the context."""
    score, (query, key, value), bias = setting(name, dtype)
    mask, rule = CASES[case]
    for need, biased in itertools.product(NEEDS, [False, True]):
        slots = {"score": score, "mask": mask, "bias": bias if biased else None}
        if not covers(kernel, score, need, slots["bias"], case=case):
            part = "(score|need|what|tensors|a bias)"
            with pytest.raises(ValueError, match=f"kernel '{kernel}' cannot do {part}"):
                qkv.attend(query, key, value, **slots, need=need, kernel=kernel)
            continue

        out = qkv.attend(query, key, value, **slots, need=need, kernel=kernel)

        want = expected(name, case, dtype, biased)
        allowed = tolerance(dtype, want, HIDDEN + QUERY + KEY, value)
        assert out.context.dtype == dtype
        assert_close(out.context.double(), want.context, atol=allowed.context, rtol=0)
        assert (out.weights is not None) == (need == "weights")
        assert (out.log_normalizer is not None) == (need == "stats")
        if need == "weights":
            assert_close(out.weights.double(), want.weights, atol=allowed.weights, rtol=0)
            assert not out.weights[~dense(rule)].any()
        if need == "stats":
            lse = out.log_normalizer.double()
            assert_close(lse, want.log_normalizer, atol=allowed.energy, rtol=0)


@each_score
@pytest.mark.parametrize(
    "case",
    [
        "keep",
        "lengths",
        "lengths_and_causal",
        "causal_behind",
        "window_and_lengths",
        "around_and_lengths",
    ],
)
@each_kernel
def test_a_dead_row_is_zero_forward_and_backward_and_spares_its_neighbours(name, case, kernel):
    score, (query, key, value), _ = setting(name, torch.float64)
    if not covers(kernel, score, case=case):
        return
    mask, rule = CASES[case]
    dead = ~dense(rule).any(-1)
    assert dead.any()
    parameters = list(score.parameters())

    def run(query):
        tensors = [t.clone().requires_grad_() for t in (query, key, value)]
        out = qkv.attend(*tensors, score=score, mask=mask, kernel=kernel)
        return out.context, grads(out.context, tensors + parameters)

    context, gradients = run(query)
    assert not context[dead].any()
    assert not gradients[0][dead].any()
    for gradient in gradients:
        assert gradient.isfinite().all()

    poisoned, same_gradients = run(query.masked_fill(dead.unsqueeze(-1), math.nan))
    assert torch.equal(poisoned, context)
    for gradient, same in zip(gradients, same_gradients, strict=True):
        assert torch.equal(gradient, same)


@each_score
def test_a_dead_row_has_zero_weights_and_a_log_normalizer_of_minus_infinity(name):
    score, (query, key, value), _ = setting(name, torch.float64)
    mask, rule = CASES["keep"]
    dead = ~dense(rule).any(-1)
    query.requires_grad_()

    weights = qkv.attend(query, key, value, score=score, mask=mask, need="weights").weights
    lse = qkv.attend(query, key, value, score=score, mask=mask, need="stats").log_normalizer

    assert not weights[dead].any()
    assert_close(weights.sum(-1), (~dead).double(), atol=S * 2.3e-16, rtol=0)
    assert lse[dead].isneginf().all()
    for out in (weights, lse):
        gradient = grads(out, [query])[0]
        assert gradient.isfinite().all()
        assert not gradient[dead].any()


@each_score
@pytest.mark.parametrize(
    "case",
    [
        "keep",
        "drop",
        "lengths",
        "lengths_and_causal",
        "window_and_lengths",
        "around_and_lengths",
        "nothing",
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@each_kernel
def test_what_no_query_may_meet_does_not_exist(name, case, dtype, kernel):
    score, (query, key, value), _ = setting(name, dtype)
    if not covers(kernel, score, case=case):
        return
    mask, rule = CASES[case]
    hidden = ~dense(rule).any(-2).unsqueeze(-1)
    assert hidden.any()
    parameters = list(score.parameters())

    def run(*inputs):
        tensors = [t.clone().requires_grad_() for t in inputs]
        out = qkv.attend(*tensors, score=score, mask=mask, kernel=kernel).context
        return out, grads(out, tensors + parameters)

    clean, clean_gradients = run(query, key, value)
    for number in (math.nan, math.inf, -math.inf, 1e30):
        poison = torch.tensor(number).to(dtype)  # 1e30 is inf in float16
        out, gradients = run(query, *(torch.where(hidden, poison, t) for t in (key, value)))
        assert torch.equal(out, clean)
        for gradient, same in zip(gradients, clean_gradients, strict=True):
            assert torch.equal(gradient, same)


@pytest.mark.parametrize(
    "kernel",
    [
        "auto",
        *(k for k, row in KERNELS.items() if not (row.tiles or row.runs) and covers_dot(row)),
    ],
)
def test_a_forbidden_energy_is_selected_away_however_large(kernel):
    """Key 3 outshines all others by 1e6, and half the queries may not meet it."""
    query, key, value = torch.ones(4, 2).double(), torch.randn(5, 2).double(), torch.randn(5, 2)
    key[3] = 1e6
    keep = torch.ones(4, 5).bool()
    keep[::2, 3] = False
    out = qkv.attend(query, key, value.double(), mask=Mask.keep(keep), kernel=kernel).context
    others = [0, 1, 2, 4]
    alone = qkv.attend(query, key[others], value[others].double()).context
    assert_close(out[::2], alone[::2])
    assert_close(out[1::2], value[3].double().expand(2, 2))


@pytest.mark.parametrize("name", [name for name in SCORES if name != "location"])
def test_in_the_reference_a_nan_key_reaches_only_the_queries_that_meet_it(name):
    score, (query, key, value), _ = setting(name, torch.float64)
    keep = torch.ones(T, S).bool()
    keep[::2, 3] = False
    poisoned = key.clone()
    poisoned[..., 3, :] = torch.nan

    def run(key):
        slots = {"score": score, "mask": Mask.keep(keep), "kernel": "reference"}
        return qkv.attend(query, key, value, **slots).context

    assert torch.equal(run(poisoned)[..., ::2, :], run(key)[..., ::2, :])
    assert run(poisoned)[..., 1::2, :].isnan().all()


@each_score
@each_kernel
@pytest.mark.parametrize("pads", [1, 4])
def test_padding_is_invisible(name, kernel, pads):
    score, (query, key, value), _ = setting(name, torch.float64)
    if not covers(kernel, score, case="near"):
        return
    lengths = torch.tensor([S, 4])
    mask = Mask.lengths(lengths)
    mask = mask & NEAR[kernel] if kernel in NEAR else mask
    longer = [torch.cat([t, 9 * torch.randn(B, H, pads, t.shape[-1])], -2) for t in (key, value)]

    plain = qkv.attend(query, key, value, score=score, mask=mask, kernel=kernel)
    padded = qkv.attend(query, *longer, score=score, mask=mask, kernel=kernel)

    # The same sums, perhaps in another order: S + 3 roundings of weights that sum to 1.
    assert_close(padded.context, plain.context, atol=(S + 3) * 2.3e-16 * 5, rtol=1e-12)


@each_score
@each_kernel
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_batch_in_any_order_gives_each_item_what_it_gets_alone(name, kernel, batch):
    torch.manual_seed(3)
    score = make_score(name)
    if not covers(kernel, score, case="near"):
        return
    query, key, value = make_inputs(name, leading=(batch, H))
    lengths = torch.randint(0, S + 1, (batch,))
    order = torch.randperm(batch)

    def run(rows):
        mask = Mask.lengths(lengths[rows]) & NEAR.get(kernel, Mask.causal(2))
        return qkv.attend(
            query[rows], key[rows], value[rows], score=score, mask=mask, kernel=kernel
        ).context

    together = run(order)
    for place, row in enumerate(order):
        assert_close(together[place], run(row.unsqueeze(0))[0], atol=1e-13, rtol=1e-12)


@each_score
@each_kernel
def test_no_item_of_a_batch_has_a_gradient_in_another(name, kernel):
    score, (query, key, value), _ = setting(name, torch.float64)
    if not covers(kernel, score, case="near"):
        return
    tensors = [t.requires_grad_() for t in (query, key, value)]
    mask = NEAR.get(kernel)
    out = qkv.attend(*tensors, score=score, mask=mask, kernel=kernel).context
    if name == "location":  # it does not look at the keys
        tensors.pop(1)
    for gradient in torch.autograd.grad(out[0].sum(), tensors):
        assert gradient[0].any()
        assert not gradient[1].any()


SMALL = {  # mask, and whether the values are the keys
    "plain": (None, False),
    "dead_row": (Mask.keep(torch.tensor([[True, False, True], [False] * 3])), False),
    "values_are_keys": (Mask.causal(), True),
    "window": (Mask.window(0, 1), False),
    "window_on_values_that_are_keys": (Mask.window(0, 1), True),
    "around": (Mask.around(torch.tensor([0.6, 9.0]), 1), False),
}


@each_score
@each_kernel
@pytest.mark.parametrize("case", SMALL)
def test_first_and_second_derivatives_are_those_of_the_equation(name, kernel, case):
    mask, tied = SMALL[case]
    torch.manual_seed(2)
    query_dim, key_dim = (3, 3) if name in ONE_WIDTH else (2, 3)
    score = qkv.scores.build(name, query_dim=query_dim, key_dim=key_dim, hidden=2).double()
    if not covers(kernel, score, case=case.partition("_")[0]):
        return
    if kernel == "sparse" and case == "around":  # three keys are fewer than one tile has
        return
    for parameter in score.parameters():
        torch.nn.init.normal_(parameter)
    names = [name for name, _ in score.named_parameters()]
    inputs = [torch.randn(1, 2, query_dim), torch.randn(1, 3, key_dim), torch.randn(1, 3, 3)]
    tensors = [t.double().requires_grad_() for t in inputs[: 2 if tied else None]]
    parameters = [p.detach().clone().requires_grad_() for p in score.parameters()]

    def context(*everything):
        given, own = everything[: len(tensors)], everything[len(tensors) :]
        arguments = {"mask": mask, "kernel": kernel}
        module = Calling(score, arguments)
        return torch.func.functional_call(
            module, {f"score.{n}": p for n, p in zip(names, own, strict=True)}, given
        )

    assert torch.autograd.gradcheck(context, (*tensors, *parameters))
    assert torch.autograd.gradgradcheck(context, (*tensors, *parameters))


class Calling(torch.nn.Module):
    """attend() as a module, so that a test may swap the score's parameters."""

    def __init__(self, score, arguments) -> None:
        super().__init__()
        self.score, self.arguments = score, arguments

    def forward(self, *inputs):
        return qkv.attend(*inputs, score=self.score, **self.arguments).context
