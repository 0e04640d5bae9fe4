"""Local attention in compiled loops against float64, and what its weights are."""

from __future__ import annotations

import math

import pytest
import torch
from test_attention_additive import HARD, OFFSETS, Hidden
from test_attention_additive_whole import agree
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention.kernels import KERNELS
from qkv.attention.kernels.additive import threads
from qkv.attention.kernels.narrow import compiled

pytest.importorskip("numba", reason="numba is not installed (pip install 'qkv[fast]')")

KERNEL = "narrow"
SCORES = {
    "dot": lambda hidden: qkv.scores.Dot(),
    "location": lambda hidden: qkv.scores.Location(hidden, 130),
    "additive": lambda hidden: Hidden(torch.randn(hidden)),
}
MASKS = {
    "none": lambda keys: None,
    "lengths": lambda keys: Mask.lengths(torch.tensor([keys, max(1, keys // 2)])),
    "nothing": lambda keys: Mask.lengths(torch.tensor([keys, 0])),
}


@pytest.fixture(autouse=True)
def _present():
    """Loops that give wrong numbers switch themselves off; here that is no reason to skip."""
    assert KERNELS[KERNEL].absent is None


def drawn(queries, keys, hidden, read, *heads):
    """Query, key, value, and positions that point everywhere, some beyond the ends."""
    sizes = (queries, hidden), (keys, hidden), (keys, read)
    places = torch.rand(2, *heads, queries) * (keys + 4) - 2
    return [*(torch.randn(2, *heads, *size) for size in sizes), places]


def attended(kernel, score, given, width, mask, need, sigma=None):
    """What comes out, and the gradients of a loss that asks for all of it."""
    query, key, value, places = given = [t.detach().clone().requires_grad_() for t in given]
    around = Mask.around(places.detach(), width)
    reweighter = None if sigma is None else qkv.reweighters.Gaussian(places, sigma)
    out = qkv.attend(
        query, key, value, score=score, mask=around if mask is None else around & mask,
        reweighter=reweighter, need=need, kernel=kernel,
    )  # fmt: skip
    made = [t for t in out if t is not None]
    loss = sum(t.masked_fill(t.isinf(), 0).sin().sum() for t in made)
    asked = [*given, *score.parameters()]
    return made, torch.autograd.grad(loss, asked, materialize_grads=True)


def agrees_with_float64(score, given, width, mask, need, sigma):
    """Roundings: of an energy, some 8 a dimension; of a sum, one a term; weights have them all.

    A position rounds by eps times itself, and the Gaussian's exponent by as much times its slope.
    """
    mine, back = attended(KERNEL, score, given, width, mask, need, sigma)
    exact = score.double()
    want, wanted = attended(
        "reference", exact, [t.double() for t in given], width, mask, need, sigma
    )
    hidden, keys, queries = given[0].shape[-1], given[1].shape[-2], given[0].shape[-2]
    for x, y in zip(mine, want, strict=True):
        assert torch.equal(x.isinf(), y.isinf())
        agree(x.masked_fill(x.isinf(), 0), y.masked_fill(y.isinf(), 0), 8 * hidden + 4 * keys)
    for x, y in zip(back, wanted, strict=True):
        agree(x, y, 16 * hidden + 16 * keys + queries)


@pytest.mark.parametrize("need", ["context", "weights", "stats"])
@pytest.mark.parametrize("sigma", [None, 1.5])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", SCORES)
def test_outputs_and_gradients_are_those_of_float64(name, mask, sigma, need):
    for queries, keys, hidden, read, width in ((5, 11, 7, 3, 2), (19, 37, 67, 71, 20)):
        given = drawn(queries, keys, hidden, read)
        agrees_with_float64(SCORES[name](hidden), given, width, MASKS[mask](keys), need, sigma)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("queries", "keys", "width"), [(1, 1, 1), (1, 40, 3), (261, 5, 1), (9, 130, 1)]
)
def test_any_number_of_queries_and_keys(name, queries, keys, width):
    given = drawn(queries, keys, 5, 64)
    agrees_with_float64(SCORES[name](5), given, width, None, "weights", 0.7)


@pytest.mark.parametrize("name", ["dot", "additive"])
def test_heads_are_items(name):
    given = drawn(7, 31, 5, 6, 3)
    lengths = Mask.lengths(torch.tensor([31, 4]))
    agrees_with_float64(SCORES[name](5), given, 2, lengths, "weights", 1.0)


@pytest.mark.parametrize("span", [4, 31])
@pytest.mark.parametrize("case", HARD)
def test_any_numbers_give_what_float64_gives(case, span):
    """Saturated tanh is 1 in both; a sum of a + b up to 2e4 rounds by 2e4 eps before tanh.

    Windows that lie close together share exponentials, where these hold.
    """
    width = len(OFFSETS)
    make_a, make_b, _ = HARD[case]
    a, b = make_a(torch.randn(2, 9, width)), make_b(torch.randn(2, 31, width))
    value, v, around = (
        torch.randn(2, 31, 3),
        torch.randn(width),
        Mask.around(torch.rand(9) * span, 4),
    )
    slots = {"mask": around, "need": "weights"}
    out = qkv.attend(a, b, value, score=Hidden(v), kernel=KERNEL, **slots)
    exact = [t.double() for t in (a, b, value)]
    want = qkv.attend(*exact, score=Hidden(v.double()), kernel="reference", **slots)
    summed = a.double().unsqueeze(2) + b.double().unsqueeze(1)
    size = (a.double().abs().unsqueeze(2) + b.double().abs().unsqueeze(1)) * (summed.abs() < 20)
    off = float(1.2e-7 * ((12 + width + 3 * size) * v.double().abs()).sum(-1).max())
    assert_close(out.weights.double(), want.weights, atol=2 * off + 1e-6, rtol=0)
    assert_close(out.context.double(), want.context, atol=30 * (off + 1e-6), rtol=0)


def test_energies_of_any_size_choose_one_key_and_leave_finite_gradients():
    query, key, value, places = drawn(9, 31, 5, 3)
    given = [1e4 * query, key, value, places]
    made, back = attended(KERNEL, qkv.scores.Dot(), given, 3, None, "weights", 1.0)
    assert all(t.isfinite().all() for t in (*made, *back))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["dot", "additive"])
def test_half_precision_is_summed_in_float32(name, dtype):
    """Only what comes out is rounded: half a unit of the last place, and float32's own share."""
    query, key, value, places = drawn(9, 64, 257, 5)
    score, around = SCORES[name](257).to(dtype), Mask.around(places, 7)
    half = [t.to(dtype) for t in (query, key, value)]
    gaussian = qkv.reweighters.Gaussian(places, 3.0)
    slots = {"mask": around, "reweighter": gaussian, "need": "weights"}
    out = qkv.attend(*half, score=score, kernel=KERNEL, **slots)
    exact = [t.double() for t in half]
    want = qkv.attend(*exact, score=score.double(), kernel="reference", **slots)
    eps = torch.finfo(dtype).eps
    assert out.context.dtype == out.weights.dtype == dtype
    assert_close(out.weights.double(), want.weights, atol=1e-4, rtol=eps)
    assert_close(out.context.double(), want.context, atol=1e-3, rtol=eps)


@pytest.mark.parametrize("name", SCORES)
def test_gradcheck_and_gradgradcheck(name):
    score, places = SCORES[name](3).double(), torch.tensor([[0.7, 5.2, 3.1]]).double()
    given = [torch.randn(1, n, 3).double().requires_grad_() for n in (3, 6, 6)]

    def asked(query, key, value, places, *_):
        out = qkv.attend(
            query, key, value, score=score, mask=Mask.around(places.detach(), 2),
            reweighter=qkv.reweighters.Gaussian(places, 1.5), kernel=KERNEL, need="weights",
        )  # fmt: skip
        return out.context, out.weights

    everything = (*given, places.requires_grad_(), *score.parameters())
    assert torch.autograd.gradcheck(asked, everything, fast_mode=True)
    assert torch.autograd.gradgradcheck(asked, everything, fast_mode=True)


@pytest.mark.parametrize("width", [3, 8])
@pytest.mark.parametrize("name", SCORES)
def test_what_no_window_holds_does_not_exist(name, width):
    """Also where gradients are products of whole matrices, as of wide windows."""
    score, found = SCORES[name](7), []
    for fill in (0.0, math.nan, math.inf, 1e30):
        torch.manual_seed(3)
        query, key, value, _ = drawn(5, 31, 7, 3)
        places = torch.tensor([3.0, 4.2, 5.9, 3.3, 60.0])  # the last sees nothing
        for tensor in (key, value):
            tensor[:, 9 + width :] = fill
        query[:, 4] = fill
        given = [query, key, value, places.expand(2, 5)]
        made, back = attended(KERNEL, score, given, width, None, "weights", 2.0)
        found.append((*made, *back))
    assert not found[0][0][:, 4].any()
    for other in found[1:]:
        for x, y in zip(found[0], other, strict=True):
            assert torch.equal(x, y)


@pytest.mark.parametrize("name", SCORES)
def test_threads_and_asking_change_no_bit(name, monkeypatch):
    monkeypatch.setattr(threads, "GRAIN", 1)
    score, given, found = SCORES[name](70), drawn(50, 61, 70, 70), []
    for count, need in ((1, "context"), (2, "weights"), (5, "stats")):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        with torch.no_grad():
            slots = {"mask": Mask.around(given[3], 3), "kernel": KERNEL, "need": need}
            out = qkv.attend(*given[:3], score=score, **slots)
        _, back = attended(KERNEL, score, given, 3, None, "context", 1.5)
        found.append((out.context, *back))
    for other in found[1:]:
        for x, y in zip(found[0], other, strict=True):
            assert torch.equal(x, y)


@pytest.mark.parametrize("long", [False, True])
def test_products_of_matrices_and_loops_give_the_same_gradients(long, monkeypatch):
    """Which of them sums up depends on how much of the keys a run is."""
    monkeypatch.setattr(compiled, "DENSE", 1000 if long else 0)
    lengths = Mask.lengths(torch.tensor([31, 9]))
    for name in ("dot", "location"):
        agrees_with_float64(SCORES[name](67), drawn(9, 31, 67, 5), 3, lengths, "weights", 1.5)


def test_the_plan_says_which_windows_the_loops_take():
    query, key, _, places = drawn(40, 300, 8, 8)
    gaussian, around = qkv.reweighters.Gaussian(places, 3.0), Mask.around(places, 5)

    def plan(query=query, **slots):
        return qkv.plan(query, key, **slots).kernel

    assert plan(mask=around) == KERNEL
    assert plan(mask=around & Mask.lengths(torch.tensor([300, 7])), reweighter=gaussian) == KERNEL
    assert plan(mask=Mask.around(places, 100), reweighter=gaussian) == KERNEL
    assert plan(mask=Mask.around(places, 100)) != KERNEL  # the fused kernel does more at a time
    assert plan(mask=Mask.around(places[:, :1], 100), query=query[:, :1]) == KERNEL
    assert plan(mask=around, normalizer="sparsemax") != KERNEL
    assert plan(mask=around & Mask.causal()) != KERNEL
    assert plan(mask=around, bias=torch.zeros(40, 300)) != KERNEL


@pytest.mark.parametrize(
    ("slots", "part"),
    [
        ({}, "what no mask limits to a short run of keys a query"),
        ({"mask": Mask.causal()}, "what no mask limits to a short run of keys a query"),
        ({"mask": Mask.lengths(torch.tensor([5])), "normalizer": "entmax"}, "normalizer 'entmax'"),
        ({"reweighter": torch.nn.Identity()}, "reweighter Identity"),
        ({"bias": torch.zeros(3, 5)}, "a bias"),
    ],
)
def test_what_the_loops_cannot_do_is_named(slots, part):
    query, key = torch.randn(1, 3, 7), torch.randn(1, 5, 7)
    with pytest.raises(ValueError, match=f"kernel 'narrow' cannot do {part}"):
        qkv.attend(query, key, kernel=KERNEL, **slots)


def test_what_torch_func_records_goes_another_way_to_the_same_gradient():
    query, key, value, _ = drawn(9, 40, 7, 3)
    attention = qkv.Attention(score="dot", local=qkv.local.LocalP(7, window=2))

    def ask(query, key, value):
        return attention(query, key, value).context

    found = torch.func.grad(lambda query: ask(query, key, value).sum())(query)
    query.requires_grad_()
    (want,) = torch.autograd.grad(ask(query, key, value).sum(), query)
    assert_close(found, want)


@pytest.mark.parametrize("kernel", ["auto", KERNEL, "sparse", "reference", "additive",
                                    "additive_numba_energies"])  # fmt: skip
@pytest.mark.parametrize("name", ["dot", "additive"])
def test_the_weights_told_are_what_multiplies_the_values(name, kernel):
    """Luong's eq. 10 calls the product with the Gaussian the alignment."""
    if name == "dot" and kernel.startswith("additive"):
        return
    query, key, value, places = (t.double() for t in drawn(9, 64, 7, 3))
    slots = {"score": SCORES[name](7).double(), "mask": Mask.around(places, 4)}
    gaussian = qkv.reweighters.Gaussian(places, 2.0)
    out = qkv.attend(
        query, key, value, **slots, reweighter=gaussian, need="weights", kernel=kernel
    )
    assert_close(out.weights @ value, out.context)
    plain = qkv.attend(query, key, value, **slots, need="weights", kernel="reference").weights
    near = torch.exp(-((torch.arange(64) - places.unsqueeze(-1)) ** 2) / (2 * 2.0**2))
    assert_close(out.weights, plain * near)
    some = qkv.WeightsOf(queries=[5, 1])
    chosen = qkv.attend(query, key, value, **slots, reweighter=gaussian, need=some, kernel=kernel)
    assert_close(chosen.weights, out.weights[:, [5, 1]])
