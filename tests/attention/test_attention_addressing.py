"""The addressing of a neural Turing machine: key strength, interpolation, shift and sharpening."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from attention_oracle import B, H, S, T, make_inputs
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import qkv
from qkv.attention.reweighters import REWEIGHTERS, Chain, Interpolate, Sharpen, Shift
from qkv.attention.scores import Cosine

# Sums of at most 7 keys times 5 shifts of numbers below 1, normalised: 64 roundings explain all.
CLOSE = {"rtol": 0.0, "atol": 64 * torch.finfo(torch.float64).eps}


def weights_of(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).double().softmax(-1)


def one(*numbers: float) -> torch.Tensor:
    """A row of weights, or a distribution over shifts, of one query."""
    return torch.tensor([numbers], dtype=torch.float64)


@pytest.mark.parametrize("leading", [(B,), (B, H), ()], ids=str)
def test_the_addressing_equals_equations_5_to_9_written_as_loops(leading):
    query, key, value = make_inputs("cosine")
    beta, gamma = (1 + 3 * torch.rand(*leading, T).double() for _ in range(2))
    gate, shifts = torch.rand(*leading, T).double(), weights_of(*leading, T, 5)
    previous = weights_of(*leading, T, S)

    out = qkv.attend(
        query,
        key,
        value,
        score=Cosine(beta.unsqueeze(-1)),
        reweighter=Chain((Interpolate(gate, previous), Shift(shifts), Sharpen(gamma))),
    )

    expected = torch.zeros(B, H, T, S, dtype=torch.float64)
    for b, h, i in itertools.product(range(B), range(H), range(T)):
        at = (*(b, h)[: len(leading)], i)
        q, keys = query[b, h, i], key[b, h]
        cosines = [(q @ k / (q @ q).sqrt() / (k @ k).sqrt()).item() for k in keys]
        exponentials = [math.exp(beta[at].item() * cosine) for cosine in cosines]
        content = [e / sum(exponentials) for e in exponentials]
        g = gate[at].item()
        mixed = [g * content[j] + (1 - g) * previous[at][j].item() for j in range(S)]
        moved = [0.0] * S
        for j, o in itertools.product(range(S), range(-2, 3)):
            moved[(j + o) % S] += mixed[j] * shifts[at][o + 2].item()
        sharp = [w ** gamma[at].item() for w in moved]
        expected[b, h, i] = torch.tensor([w / sum(sharp) for w in sharp], dtype=torch.float64)
    size = value.abs().max().item()
    assert_close(out.context, expected @ value, rtol=0.0, atol=CLOSE["atol"] * max(size, 1.0))


def test_interpolation_worked_by_hand():
    """A quarter of the content and three quarters of the place."""
    read = Interpolate(torch.tensor([0.25]), one(0.0, 1.0))
    assert_close(read(one(0.8, 0.2)), one(0.2, 0.8))


def test_a_gate_of_1_is_the_content_and_a_gate_of_0_the_place():
    content, place = weights_of(3, 7), weights_of(3, 7)
    for gate, expected in ((1.0, content), (0.0, place)):
        read = Interpolate(torch.full((3,), gate).double(), place)(content)
        assert_close(read, expected, **CLOSE)


@pytest.mark.parametrize(
    ("shifts", "moved"),
    [
        ((0.0, 1.0, 0.0), (0.5, 0.3, 0.2, 0.0)),
        ((0.0, 0.0, 1.0), (0.0, 0.5, 0.3, 0.2)),  # one up, and round the end
        ((1.0, 0.0, 0.0), (0.3, 0.2, 0.0, 0.5)),
        ((0.5, 0.0, 0.5), (0.15, 0.35, 0.15, 0.35)),
        ((0.0, 0.0, 0.0, 0.0, 1.0), (0.2, 0.0, 0.5, 0.3)),
        ((0.0,) * 10 + (1.0,), (0.0, 0.5, 0.3, 0.2)),  # five up is once round and one up
        ((1.0,), (0.5, 0.3, 0.2, 0.0)),
    ],
)
def test_a_shift_worked_by_hand(shifts, moved):
    assert_close(Shift(one(*shifts))(one(0.5, 0.3, 0.2, 0.0)), one(*moved), **CLOSE)


def test_sharpening_worked_by_hand():
    """Squares of 3 and 1 are 9 and 1."""
    assert_close(Sharpen(torch.tensor([2.0]))(one(0.75, 0.25, 0.0)), one(0.9, 0.1, 0.0), **CLOSE)


@given(
    keys=st.integers(1, 9),
    reach=st.integers(0, 5),
    seed=st.integers(0, 99),
    gamma=st.floats(1.0, 50.0),
)
def test_the_sum_of_the_weights_stays_1_and_none_is_negative(keys, reach, seed, gamma):
    torch.manual_seed(seed)
    previous, shifts = weights_of(2, 3, keys), weights_of(2, 3, 2 * reach + 1)
    gate, exponent = torch.rand(2, 3).double(), torch.full((2, 3), gamma).double()
    for reweight in (Interpolate(gate, previous), Shift(shifts), Sharpen(exponent)):
        read = reweight(weights_of(2, 3, keys))
        assert (read >= 0).all()
        assert_close(read.sum(-1), torch.ones(2, 3).double(), **CLOSE)


@given(keys=st.integers(1, 9), seed=st.integers(0, 99))
def test_an_exponent_of_1_changes_nothing_and_a_larger_one_sharpens(keys, seed):
    torch.manual_seed(seed)
    weights = weights_of(2, 3, keys)
    assert_close(Sharpen(torch.ones(2, 3).double())(weights), weights, **CLOSE)
    largest = Sharpen(torch.full((2, 3), 3.0).double())(weights).amax(-1)
    assert (largest >= weights.amax(-1) - CLOSE["atol"]).all()


def test_no_power_vanishes():
    """1/128 to the 60th is 1e-126, far below what float32 can hold; the quotient is 1/128."""
    weights = torch.full((1, 128), 1 / 128)
    read = Sharpen(torch.tensor([60.0]))(weights)
    assert_close(read, weights, rtol=0.0, atol=4 * torch.finfo(torch.float32).eps)


def test_zeros_stay_zeros_when_sharpened_and_have_finite_gradients():
    weights = one(0.0, 0.6, 0.4, 0.0).requires_grad_()
    gamma = torch.tensor([1.5]).double().requires_grad_()
    for row in (weights, torch.zeros_like(weights).requires_grad_()):
        read = Sharpen(gamma)(row)
        assert not read[row == 0].any()
        for gradient in torch.autograd.grad(read.square().sum(), (row, gamma)):
            assert gradient.isfinite().all()


def test_a_chain_is_its_parts_in_their_order_and_an_empty_one_nothing():
    weights, shifts = weights_of(2, 3, 5), weights_of(2, 3, 3)
    gamma = torch.full((2, 3), 2.0).double()
    read = Chain((Shift(shifts), Sharpen(gamma)))(weights)
    assert torch.equal(read, Sharpen(gamma)(Shift(shifts)(weights)))
    assert not torch.equal(read, Chain((Sharpen(gamma), Shift(shifts)))(weights))
    assert torch.equal(Chain(())(weights), weights)


def test_the_addressing_has_two_derivatives_in_everything_that_a_head_emits():
    query, key = (torch.randn(1, n, 3).double().requires_grad_() for n in (2, 5))
    emitted = [
        (1 + torch.rand(1, 2, 1)).double(),
        torch.rand(1, 2).double(),
        weights_of(1, 2, 5),
        weights_of(1, 2, 3),
        (1.5 + torch.rand(1, 2)).double(),
    ]

    def context(query, key, beta, gate, previous, shifts, gamma):
        chain = Chain((Interpolate(gate, previous), Shift(shifts), Sharpen(gamma)))
        return qkv.attend(query, key, score=Cosine(beta), reweighter=chain).context

    inputs = (query, key, *(tensor.requires_grad_() for tensor in emitted))
    assert torch.autograd.gradcheck(context, inputs)
    assert torch.autograd.gradgradcheck(context, inputs)


def test_sharpening_behind_a_mask_has_two_derivatives():
    tensors = [torch.randn(1, n, 3).double().requires_grad_() for n in (2, 4)]
    gamma = torch.tensor([[1.3, 2.1]]).double().requires_grad_()
    mask = qkv.Mask.keep(torch.tensor([[True, False, True, True], [False] * 4]))

    def context(query, key, gamma):
        return qkv.attend(query, key, mask=mask, reweighter=Sharpen(gamma)).context

    assert torch.autograd.gradcheck(context, (*tensors, gamma))
    assert torch.autograd.gradgradcheck(context, (*tensors, gamma))


MOVERS = {
    "interpolate": Interpolate(torch.zeros(2, 3), torch.full((2, 3, 5), 0.2)),
    "shift": Shift(torch.ones(2, 3, 1)),
    "chain": Chain((Sharpen(torch.ones(2, 3)), Shift(torch.ones(2, 3, 1)))),
}


@pytest.mark.parametrize("name", MOVERS)
def test_weight_is_never_moved_where_a_mask_forbids_a_pair(name):
    x, keys = torch.randn(2, 3, 7), torch.randn(2, 5, 7)
    assert REWEIGHTERS[name].endswith(type(MOVERS[name]).__name__)
    bias = torch.zeros(3, 5)
    bias[1, 2] = -math.inf
    for slots in ({"mask": qkv.Mask.lengths(torch.tensor([5, 4]))}, {"bias": bias}):
        with pytest.raises(ValueError, match="moves weight from key to key, but the mask"):
            qkv.attend(x, keys, reweighter=MOVERS[name], **slots)
    allowed = qkv.Mask.lengths(torch.tensor([5, 5]))
    assert qkv.attend(x, keys, mask=allowed, reweighter=MOVERS[name]).context.isfinite().all()


@pytest.mark.parametrize("kernel", ["sdpa", "reference"])
@pytest.mark.parametrize("shape", [(B, T, 1), (B, 1, 1), (1, T, 1), (B, H, T, 1)], ids=str)
def test_a_key_strength_for_each_query_multiplies_its_cosines(kernel, shape):
    query, key, value = make_inputs("cosine")
    beta = 1 + torch.rand(shape).double()
    out = qkv.attend(query, key, value, score=Cosine(beta), kernel=kernel)
    full = beta if beta.dim() == 4 else beta.unsqueeze(1)
    energies = full * torch.nn.functional.cosine_similarity(
        query.unsqueeze(-2), key.unsqueeze(-3), dim=-1
    )
    size = value.abs().max().item()
    expected = energies.softmax(-1) @ value
    assert_close(out.context, expected, rtol=0.0, atol=CLOSE["atol"] * max(size, 1.0))


@pytest.mark.parametrize("kernel", ["sdpa", "reference"])
def test_a_nan_strength_of_a_dead_query_reaches_nobody(kernel):
    x = torch.randn(1, 3, 5).double().requires_grad_()
    mask = qkv.Mask.window(0, 0) & ~qkv.Mask.global_([1])  # query 1 may meet nothing

    def run(strength):
        beta = torch.tensor([[[1.0], [strength], [2.0]]]).double()
        out = qkv.attend(x, x, mask=mask, score=Cosine(beta), kernel=kernel).context
        return out, torch.autograd.grad(out.square().sum(), x)[0]

    for clean, poisoned in zip(run(1.0), run(math.nan), strict=True):
        assert torch.equal(clean, poisoned)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Interpolate(0.5, torch.ones(2, 3)), "takes gate as a floating-point.*got float"),
        (lambda: Interpolate(torch.ones(2), torch.ones(2)), r"got torch.float32 \[2\]"),
        (lambda: Shift(torch.ones(2, 3, 3).long()), r"got torch.int64 \[2, 3, 3\]"),
        (lambda: Shift(torch.ones(2, 3, 4)), "an odd number of shifts, -k to k, got 4"),
        (lambda: Sharpen([1.0]), "takes gamma as a floating-point.*got list"),
        (lambda: Chain(("shift",)), "Chain takes reweighters.*got 'shift'"),
        (lambda: Sharpen(torch.ones(2, 4))(torch.zeros(2, 3, 5)), r"\[2, 4, 1\] does not fit"),
        (lambda: Shift(torch.ones(4, 2, 3, 1))(torch.zeros(2, 3, 5)), "does not fit weights"),
        (
            lambda: Interpolate(torch.ones(3), torch.ones(3, 1))(torch.zeros(2, 3, 5)),
            r"previous \[3, 1\] does not fit",
        ),
        (lambda: Cosine(torch.ones(2, 3)), r"got torch.float32 \[2, 3\]"),
        (lambda: Cosine(torch.ones(3, 1).long()), "got torch.int64"),
        (
            lambda: qkv.attend(*torch.ones(2, 2, 3, 5), score=Cosine(torch.ones(2, 4, 1))),
            r"beta \[2, 4, 1\] does not fit queries \[2, 3, 5\]",
        ),
        (
            lambda: qkv.attend(*torch.ones(2, 3, 5), score=Cosine(torch.ones(2, 3, 1))),
            r"beta \[2, 3, 1\] does not fit queries \[3, 5\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
