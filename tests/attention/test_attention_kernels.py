"""The table of kernels: what is chosen, what is refused, what it costs."""

from __future__ import annotations

import itertools
from dataclasses import asdict

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention.kernels import KERNELS
from qkv.attention.kernels.twice import differentiable_twice
from qkv.attention.scores import build

DENSE = [
    name
    for name, kernel in KERNELS.items()
    if not (kernel.tiles or kernel.runs) and kernel.families in (None, ("dot",))
]


def tensors(*leading: int, T: int = 3, S: int = 5, dim: int = 7, read: int = 7):
    return (
        torch.randn(*leading, T, dim),
        torch.randn(*leading, S, dim),
        torch.randn(*leading, S, read),
    )


class Halved(nn.Module):
    def forward(self, weights):
        return weights / 2


def test_the_last_kernel_of_the_table_covers_everything():
    """So auto always finds one, and never raises for speed's sake."""
    *_, last = KERNELS.values()
    assert last.name == "reference"
    assert (last.families, last.normalizers) == (None, None)
    assert last.reweights and last.drops_out and last.learns_bias and last.pads_from == 0


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"score": build("additive", query_dim=7, key_dim=7)}, "score Additive"),
        ({"normalizer": "sparsemax"}, "normalizer 'sparsemax'"),
        ({"reweighter": Halved()}, "reweighter Halved"),
        ({"bias": torch.zeros(3, 5, requires_grad=True)}, "a bias that needs a gradient"),
    ],
)
def test_an_explicit_kernel_that_cannot_do_it_names_the_part(changed, part):
    with pytest.raises(ValueError, match=f"kernel 'sdpa' cannot do {part}; .*'reference'"):
        qkv.attend(*tensors(2), kernel="sdpa", **changed)
    plan = qkv.plan(*tensors(2), **changed)
    assert plan.kernel == "reference"
    assert f"sdpa cannot do {part}" in plan.reason
    assert qkv.attend(*tensors(2), **changed).context.shape == (2, 3, 7)


def test_an_unknown_kernel_is_refused_and_the_known_are_named():
    with pytest.raises(
        ValueError, match=r"unknown kernel 'flash'; known: auto, sdpa, sparse, .*reference"
    ):
        qkv.attend(*tensors(2), kernel="flash")


def test_a_plan_says_what_would_run_why_and_what_it_costs():
    query, key, value = tensors(2, 4, T=11, S=13)
    fused, plain = qkv.plan(query, key, value), qkv.plan(query, key, value, kernel="reference")
    pairs = 2 * 4 * 11 * 13
    assert (fused.kernel, plain.kernel) == ("sdpa", "reference")
    assert fused.operations == plain.operations == pairs * (2 * 7 + 2 * 7 + 5)
    assert fused.bytes < plain.bytes == pairs * 4 * 2
    assert "it was asked for" in plain.reason
    assert str(fused).startswith("kernel sdpa: torch's fused dot-product attention")
    assert "37.8 k operations, 352 B of working memory" in str(fused)
    assert set(asdict(fused)) == {"kernel", "reason", "operations", "bytes"}


def test_an_additive_plan_counts_the_hidden_layer():
    score = build("additive", query_dim=7, key_dim=7, hidden=17)
    plan = qkv.plan(*tensors(2), score=score)
    assert plan.operations == 2 * 3 * 5 * (4 * 17 + 2 * 7 + 5)
    assert plan.bytes == 2 * 3 * 5 * 4 * (17 + 1)


def test_few_pairs_of_two_widths_are_not_padded_and_many_are():
    few, many = tensors(1, read=11), tensors(1, T=400, S=400, read=11)
    assert qkv.plan(*few).kernel == "reference"
    assert "sdpa does not gain on widths 7 and 11" in qkv.plan(*few).reason
    assert qkv.plan(*many).kernel == "sdpa"
    for given in (few, many):
        fused, plain = (qkv.attend(*given, kernel=name).context for name in ("sdpa", "reference"))
        # 400 values of size up to 5, each with a weight that is off by 2 * 7 * 5 * eps.
        assert_close(fused, plain, atol=5 * 70 * 1.2e-7, rtol=0)


@pytest.mark.parametrize("leading", [(), (2,), (2, 3), (2, 3, 5)])
@pytest.mark.parametrize("name", DENSE)
def test_any_number_of_leading_dimensions_gives_what_each_item_gets_alone(leading, name):
    query, key, value = (t.double() for t in tensors(*leading))
    bias = torch.randn(*leading[-1:], 3, 5).double()
    out = qkv.attend(query, key, value, bias=bias, mask=Mask.causal(1), kernel=name).context
    assert out.shape == (*leading, 3, 7)
    for item in itertools.product(*map(range, leading)):
        alone = qkv.attend(
            query[item], key[item], value[item], bias=bias[item[-1:]], mask=Mask.causal(1)
        )
        assert_close(out[item], alone.context)


SHAPES = [
    ((2, 3), (2, 1), (2, 3)),
    ((2, 3), (1, 1), (2, 1)),
    ((1, 3), (2, 1), (1, 1)),
    ((2, 3), (), ()),
    ((), (2, 3), (3,)),
    ((3,), (2, 3), (2, 1)),
]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("masked", [False, True])
def test_leading_dimensions_broadcast_as_torch_broadcasts(shapes, name, masked):
    sizes = [(3, 7), (5, 7), (5, 7)]
    given = [torch.randn(*a, *b).double() for a, b in zip(shapes, sizes, strict=True)]
    stretched = [t.expand(2, 3, *t.shape[-2:]) for t in given]
    keep = torch.rand(2, 1, 3, 5) < 0.7
    keep[..., 4] = False
    mask = Mask.keep(keep) if masked else None
    out = qkv.attend(*given, mask=mask, kernel=name).context
    assert_close(out, qkv.attend(*stretched, mask=mask).context)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (3, 1), (3, 5), (3, 3, 5), (2, 1, 1, 5)], ids=str)
@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("mask", [None, Mask.causal(-1)], ids=["open", "causal"])
def test_a_bias_is_added_to_the_energies_as_torch_broadcasts(shape, name, mask):
    query, key, value = (t.double() for t in tensors(2, 3))
    bias = torch.randn(shape).double()
    out = qkv.attend(query, key, value, bias=bias, mask=mask, kernel=name).context
    energies = query @ key.mT / 7**0.5 + bias
    if mask is not None:
        energies = energies.masked_fill(~mask.dense(3, 5), -torch.inf)
    expected = torch.softmax(energies, -1).nan_to_num(0) @ value
    assert_close(out, expected)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("mask", [None, Mask.causal()], ids=["open", "causal"])
def test_a_bias_of_minus_infinity_forbids_and_may_kill_a_row(name, mask):
    query, key, value = (t.double().requires_grad_() for t in tensors(2))
    bias = torch.randn(3, 5).double()
    bias[:, 2] = -torch.inf
    bias[1] = -torch.inf
    out = qkv.attend(query, key, value, bias=bias, mask=mask, kernel=name).context
    keep = ~bias.isneginf() & (Mask.causal(9) if mask is None else mask).dense(3, 5)
    finite = bias.masked_fill(bias.isneginf(), 0)
    assert_close(out, qkv.attend(query, key, value, bias=finite, mask=Mask.keep(keep)).context)
    assert not out[:, 1].any()
    for gradient in torch.autograd.grad(out.sum(), (query, key, value)):
        assert gradient.isfinite().all()


def test_a_bias_may_learn():
    bias = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    query, key, value = (t.double() for t in tensors(2))
    assert torch.autograd.gradcheck(lambda b: qkv.attend(query, key, value, bias=b).context, bias)


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (torch.ones(3, 5).bool(), r"Mask\.keep"),
        (torch.ones(3, 5).long(), "floating-point"),
        (torch.randn(5, 3), "cannot be added"),
        (torch.randn(2, 2, 3, 5), "cannot be added"),
    ],
)
def test_a_bias_that_is_none_is_refused(bias, message):
    with pytest.raises(ValueError, match=message):
        qkv.attend(*tensors(2), bias=bias)


def test_the_weights_that_are_told_are_those_that_multiply_the_values():
    query, key, value = tensors(2)
    plain = qkv.attend(query, key, value, need="weights")
    halved = qkv.attend(query, key, value, reweighter=Halved(), need="weights")
    assert_close(halved.context, plain.context / 2)
    assert_close(halved.weights, plain.weights / 2)


@pytest.mark.parametrize("masked", [False, True])
def test_the_fused_path_has_the_fused_backward(masked):
    """The detour through plain torch is taken only when the backward pass is recorded."""
    query, key, value = (t.requires_grad_() for t in tensors(2, 3))
    mask = torch.ones(3, 5).tril().bool() if masked else None

    def gradients(attention):
        return torch.autograd.grad(attention().square().sum(), (query, key, value))

    ours = gradients(lambda: differentiable_twice(query, key, value, mask, 0.5))
    torchs = gradients(
        lambda: F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.5)
    )
    for mine, theirs in zip(ours, torchs, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("tied", [False, True], ids=["own_values", "values_are_keys"])
def test_recording_the_backward_pass_changes_no_gradient(tied):
    """Keys that are values, too, get each role's gradient once."""
    query, key, value = (t.double().requires_grad_() for t in tensors(2, 3))
    inputs = (query, key) if tied else (query, key, value)
    out = qkv.attend(*inputs, mask=Mask.causal(2), kernel="sdpa").context.square().sum()
    first = torch.autograd.grad(out, inputs, retain_graph=True)
    recorded = torch.autograd.grad(out, inputs, create_graph=True)
    again = torch.autograd.grad(out, inputs)
    for plain, double, repeated in zip(first, recorded, again, strict=True):
        assert_close(double, plain)
        assert torch.equal(repeated, plain)


@pytest.mark.parametrize("tied", [False, True], ids=["own_values", "values_are_keys"])
def test_a_gradient_penalty_trains_through_the_default_path(tied):
    """Only the keys want a gradient, alone or as values, too."""
    query, key, value = (t.double() for t in tensors(2, 3))
    key.requires_grad_()

    def penalty(key):
        out = qkv.attend(query, key, key if tied else value).context
        return torch.autograd.grad(out.square().sum(), key, create_graph=True)[0].square().sum()

    assert torch.autograd.gradcheck(penalty, key)


@pytest.mark.parametrize("kernel", DENSE)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("leading", [(), (2,), (2, 3)], ids=str)
def test_a_query_that_is_not_finite_loses_its_own_row_and_no_other(kernel, value, leading):
    """torch's fused kernel on a CPU gives such a row zeros: as if it might attend to nothing."""
    query, key, read = tensors(*leading)
    whole = qkv.attend(query, key, read, kernel=kernel).context
    query[..., 1, 2] = value
    context = qkv.attend(query, key, read, kernel=kernel).context
    assert context[..., 1, :].isnan().all()
    for row in (0, 2):
        assert_close(context[..., row, :], whole[..., row, :])
