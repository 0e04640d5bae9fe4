"""The additive kernels: range, tiles, memory, derivatives, and what a plan says of them."""

from __future__ import annotations

import time
import types

import pytest
import torch
from test_attention_sparse import Sizes
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention.kernels import KERNELS
from qkv.attention.kernels.additive import compiled, threads, tiled
from qkv.attention.kernels.additive.ranges import LIMITS, centre
from qkv.attention.scores.score import AdditiveScore

WAYS = {"additive": tiled, "additive_numba": compiled}
each_kernel = pytest.mark.parametrize("kernel", WAYS)


@pytest.fixture(autouse=True)
def _present(request):
    """Loops that give wrong numbers switch themselves off; here that is no reason to skip."""
    if "additive_numba" in request.node.name:
        pytest.importorskip("numba")
        assert KERNELS["additive_numba"].absent is None


class Hidden(AdditiveScore):
    """v . tanh(q + k), so that a test may choose both sides' numbers."""

    def __init__(self, v) -> None:
        super().__init__()
        self.v = torch.nn.Parameter(v)

    @classmethod
    def sized(cls, query_dim, key_dim, hidden):
        return cls(torch.randn(hidden))

    def to_hidden(self, query):
        return query

    def prepare(self, key):
        return key


def loops(a, b, v, g):
    """The energies and the gradients of a, b, v, written from their definition, in float64."""
    a, b, v, g = (t.double() for t in (a, b, v, g))
    energies = torch.zeros(g.shape, dtype=torch.float64)
    found = torch.zeros_like(a), torch.zeros_like(b), torch.zeros_like(v)
    for n in range(a.shape[0]):
        for i in range(a.shape[1]):
            for j in range(b.shape[1]):
                t = torch.tanh(a[n, i] + b[n, j])
                energies[n, i, j] = (v * t).sum()
                slope = g[n, i, j] * v * (1 - t * t)
                found[0][n, i] += slope
                found[1][n, j] += slope
                found[2].add_(g[n, i, j] * t)
    return energies, *found


OFFSETS = torch.tensor([0.0, 1e4, -1e4, 37.0, -88.0, 5e3, 1.0])
HARD = {  # how a and b are made of normal numbers, and whether the identity holds
    "small": (lambda a: a, lambda b: b, True),
    "saturated": (lambda a: 1e4 * a, lambda b: b, True),
    "saturated_keys": (lambda a: a, lambda b: 1e4 * b, True),
    "offset_apart": (lambda a: a + OFFSETS, lambda b: b - OFFSETS, True),
    "offset_together": (lambda a: a + OFFSETS, lambda b: b + OFFSETS, True),
    "at_the_edge": (lambda a: 1e4 * a.sign(), lambda b: 30 * b.sign(), True),
    "both_wide": (lambda a: 1e4 * a, lambda b: 1e4 * b, False),
    "mixed": (lambda a: torch.where(OFFSETS > 0, 1e4 * a, a), lambda b: 60 * b.sign(), False),
    "beyond_the_edge": (lambda a: 40 * a.sign(), lambda b: 40 * b.sign() + a_little(b), False),
    "meeting_at_zero": (lambda a: 50 * a.sign(), lambda b: 50 * b.sign() + a_little(b), False),
}


def a_little(b):
    return b.frac() / 4


@each_kernel
@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize(("queries", "keys"), [(5, 11), (1, 7), (130, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_any_numbers_give_what_float64_gives(kernel, case, queries, keys, dtype):
    """Offsets, saturation and overflow: energies and gradients within what rounding explains.

    A sum a + b rounds once, at eps (|a| + |b|), and is centred with two roundings of that size;
    what follows (exponential, division, products, sums) rounds some 12 times at numbers of at
    most 1. Through the slope of tanh, at most 1, a term is off by eps (3 (|a| + |b|) + 12); and
    where |a + b| > 20, not at all by the first. Terms are weighted by v, or g v, and summed.
    """
    width, eps = len(OFFSETS), torch.finfo(dtype).eps
    torch.manual_seed(4)
    sizes = (2, queries, width), (2, keys, width), (width,), (2, queries, keys)
    a, b, v, g = (torch.randn(size) for size in sizes)
    make_a, make_b, holds = HARD[case]
    a, b, v, g = (t.to(dtype) for t in (make_a(a), make_b(b), v, g))
    if dtype == torch.float32:
        assert (centre(a, b) is not None) == (holds or queries == 1)

    mine = WAYS[kernel].energies(a, b, v, None), *WAYS[kernel].gradients(a, b, v, g)

    summed = a.double().unsqueeze(2) + b.double().unsqueeze(1)
    near = summed.abs() < 20
    size = a.double().abs().unsqueeze(2) + b.double().abs().unsqueeze(1)
    off = eps * (12 + width + 3 * size * near)
    weighted, g_size = off * v.double().abs(), g.double().abs().unsqueeze(-1)
    allowed = (
        weighted.sum(-1),
        (g_size * weighted * 4).sum(2) + keys * eps * g_size.sum(2) * v.abs(),
        (g_size * weighted * 4).sum(1) + queries * eps * g_size.sum(1) * v.abs(),
        (g_size * (off + g[0].numel() * eps)).sum((0, 1, 2)),
    )
    for found, want, most in zip(mine, loops(a, b, v, g), allowed, strict=True):
        assert found.isfinite().all()
        worst = ((found.double() - want).abs() / most).max()
        assert worst <= 1, f"{worst} times what rounding explains"


@each_kernel
def test_a_plan_says_where_each_pair_takes_an_exponential_of_its_own(kernel):
    score = Hidden(torch.ones(7))
    query, key = torch.randn(2, 3, 7), torch.randn(2, 5, 7)
    near = qkv.plan(query, key, score=score, kernel=kernel)
    far = qkv.plan(1e4 * query, 1e4 * key, score=score, kernel=kernel)
    assert "exact" not in near.reason
    assert "exponential each, exact and slower" in far.reason


@each_kernel
@pytest.mark.parametrize("need", ["context", "weights", "stats"])
def test_weights_of_extreme_energies_are_those_of_the_float64_reference(kernel, need):
    score = Hidden(torch.randn(7))
    query, key = 1e4 * torch.randn(2, 5, 7), 1e4 * torch.randn(2, 11, 7) + OFFSETS
    mine = qkv.attend(query, key, score=score, kernel=kernel, need=need)
    want = qkv.attend(
        query.double(), key.double(), score=score.double(), kernel="reference", need=need
    )
    # tanh is +-1 in both: 7 terms of v, each rounded; then 11 weights and a key of up to 4e4 each.
    off = 4 * 7 * 1.2e-7 * 7
    for x, y, size in zip(mine[:3], want[:3], (2 * key.abs().max(), 2, 2), strict=True):
        assert (x is None) == (y is None)
        if x is not None:
            assert_close(x.double(), y, atol=float(off * size), rtol=0)


@each_kernel
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_summed_in_float32(kernel, dtype):
    """512 terms of 1 and -1 in turn, and one of 2^-4."""
    v = torch.ones(513)
    v[1::2], v[512] = -1, 2.0**-4
    score = Hidden(v.to(dtype))
    query, key = torch.full((1, 2, 513), 30.0).to(dtype), torch.zeros(1, 3, 513).to(dtype)
    out = qkv.attend(query, key, score=score, kernel=kernel, need="stats")
    want = torch.tensor(2.0**-4).add(torch.tensor(3.0).log())
    assert out.log_normalizer.dtype == torch.float32
    assert_close(out.log_normalizer, want.expand(1, 2), atol=513 * 1.2e-7, rtol=0)


@each_kernel
@pytest.mark.parametrize("size", [1, 40, 130, 10**6])
def test_tiles_of_any_size_give_the_same(kernel, size, monkeypatch):
    monkeypatch.setattr(tiled, "TILE", size)
    monkeypatch.setattr(threads, "GRAIN", size)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    a, b, v, g = (torch.randn(s).double() for s in ((3, 7, 5), (3, 11, 5), (5,), (3, 7, 11)))
    mine = WAYS[kernel].energies(a, b, v, None), *WAYS[kernel].gradients(a, b, v, g)
    for found, want in zip(mine, loops(a, b, v, g), strict=True):
        assert_close(found, want, atol=1e-13, rtol=1e-12)


@each_kernel
@pytest.mark.parametrize("hidden", [1, 2, 63, 64, 65, 130])
def test_any_width_and_number_of_queries_leaves_no_remainder_out(kernel, hidden):
    for queries, keys in ((1, 1), (2, 3), (3, 1)):
        shapes = (2, queries, hidden), (2, keys, hidden), (hidden,), (2, queries, keys)
        a, b, v, g = (torch.randn(shape).double() for shape in shapes)
        mine = WAYS[kernel].energies(a, b, v, None), *WAYS[kernel].gradients(a, b, v, g)
        for found, want in zip(mine, loops(a, b, v, g), strict=True):
            assert_close(found, want, atol=1e-12, rtol=1e-12)


@each_kernel
def test_threads_change_no_bit(kernel, monkeypatch):
    monkeypatch.setattr(threads, "GRAIN", 1)
    if kernel == "additive":
        return  # torch's own threads
    a, b, v, g = (torch.randn(s) for s in ((3, 300, 70), (3, 11, 70), (70,), (3, 300, 11)))
    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        found.append((compiled.energies(a, b, v, None), *compiled.gradients(a, b, v, g)))
    for other in found[1:]:
        for x, y in zip(found[0], other, strict=True):
            assert torch.equal(x, y)


def test_forbidden_tiles_and_pairs_are_not_computed(monkeypatch):
    computed = []
    ratios = tiled._Tiles.ratios
    monkeypatch.setattr(tiled, "TILE", 16)
    monkeypatch.setattr(
        tiled._Tiles, "ratios", lambda self, tile: computed.append(tile) or ratios(self, tile)
    )
    a, b, v = torch.randn(1, 32, 4), torch.randn(1, 32, 4), torch.randn(4)
    allowed = torch.ones(1, 32, 32).tril().bool()
    out = tiled.energies(a, b, v, allowed)
    few = len(computed)
    tiled.energies(a, b, v, None)
    assert few <= 0.6 * (len(computed) - few)
    assert_close(out[allowed], tiled.energies(a, b, v, None)[allowed])


@each_kernel
def test_no_tensor_of_either_pass_is_larger_than_all_energies_and_a_tile(kernel, monkeypatch):
    """In bytes; the peers' is `hidden` times as large. The loops' gradients are one piece."""
    monkeypatch.setattr(tiled, "TILE", 2**12)
    queries = keys = 192  # more than the keys of a thread take, 2 BLOCK numbers each
    score = Hidden(torch.randn(64))
    query, key = (torch.randn(1, n, 64, requires_grad=True) for n in (queries, keys))
    for mask in (None, Mask.causal()):
        with Sizes() as sizes:
            qkv.attend(query, key, score=score, mask=mask, kernel=kernel).context.sum().backward()
        beside = 3 * queries * 64 if kernel == "additive_numba" else 0
        assert sizes.largest <= 4 * (queries * keys + beside)


@each_kernel
@pytest.mark.parametrize("scale", [1, 1000], ids=["identity", "exact"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_gradients_may_be_differentiated_again(kernel, scale, tied):
    score = Hidden(torch.randn(3).double())
    a, b = torch.randn(2, 2, 3).double(), torch.randn(2, 4, 3).double()
    if scale > 1:  # one dimension of both sides too wide, the others as they were
        a[:, 0, 0], b[:, 1, 0] = scale, -scale + 0.3
        assert centre(a, b) is None
    v = score.v.detach().clone().requires_grad_()
    given = [b.requires_grad_(), v] if tied else [a.requires_grad_(), b.requires_grad_(), v]

    def context(*inputs):
        query, key, v = (inputs[0], *inputs) if tied else inputs
        score = Hidden(v.detach())
        del score._parameters["v"]
        score.v = v
        return qkv.attend(query, key, score=score, kernel=kernel).context

    assert torch.autograd.gradcheck(context, given)
    assert torch.autograd.gradgradcheck(context, given)


@each_kernel
def test_recording_the_backward_pass_changes_no_gradient(kernel):
    a, b = (torch.randn(2, n, 7, requires_grad=True) for n in (5, 11))
    score = Hidden(torch.randn(7))
    out = qkv.attend(a, b, score=score, mask=Mask.causal(2), kernel=kernel).context.square().sum()
    inputs = (a, b, score.v)
    recorded = torch.autograd.grad(out, inputs, create_graph=True)
    for plain, double in zip(torch.autograd.grad(out, inputs), recorded, strict=True):
        assert_close(plain, double, atol=2e-4, rtol=1e-4)


@each_kernel
def test_what_is_not_a_number_reaches_only_the_queries_that_meet_it(kernel):
    score = Hidden(torch.randn(7))
    query, key = torch.randn(1, 4, 7), torch.randn(1, 5, 7)
    plain = qkv.attend(query, key, score=score, kernel=kernel).context
    query[0, 1, 2] = torch.nan
    context = qkv.attend(query, key, score=score, kernel=kernel).context
    assert context[0, 1].isnan().all()
    assert_close(context[0, [0, 2, 3]], plain[0, [0, 2, 3]])


@pytest.mark.parametrize("kernel", ["additive", "additive_numba_energies"])
def test_slots_after_the_score_are_those_of_the_reference(kernel):
    """Normalisers, reweighters, a bias that learns, masks of heads that share their energies."""
    score = Hidden(torch.randn(7).double())
    query, key = torch.randn(2, 1, 5, 7).double(), torch.randn(2, 1, 11, 7).double()
    keep = torch.rand(2, 3, 5, 11) < 0.6
    keep[..., 0] = True
    for slots in (
        {"normalizer": "sparsemax"},
        {"bias": torch.randn(5, 11, dtype=torch.float64, requires_grad=True)},
        {"reweighter": torch.nn.Dropout(0.0)},
        {"mask": Mask.keep(keep)},
        {"mask": Mask.window(2, 2)},
    ):
        mine = qkv.attend(query, key, score=score, kernel=kernel, **slots).context
        want = qkv.attend(query, key, score=score, kernel="reference", **slots).context
        assert_close(mine, want, atol=1e-12, rtol=1e-12)


def test_auto_takes_compiled_loops_tiles_or_the_reference_by_size(monkeypatch):
    score = qkv.scores.Additive(8, 8, 64)

    def kernel(queries, keys):
        return qkv.plan(torch.randn(1, queries, 8), torch.randn(1, keys, 8), score=score).kernel

    assert kernel(3, 5) == "reference"
    if compiled.absent() is None:
        assert kernel(4, 9000) == kernel(200, 200) == "additive_numba"
    monkeypatch.setenv("QKV_NUMBA", "0")
    compiled.absent.cache_clear()
    assert "QKV_NUMBA=0" in compiled.absent()
    assert kernel(200, 200) == "additive"
    assert kernel(1, 9000) == "reference"
    with pytest.raises(ValueError, match=r"cannot do .*QKV_NUMBA=0"):
        qkv.attend(torch.randn(2, 8), torch.randn(3, 8), score=score, kernel="additive_numba")
    compiled.absent.cache_clear()


def test_a_function_transform_gets_the_reference():
    score = qkv.scores.Additive(3, 3, 64)
    torch.nn.init.normal_(score.v)
    query, key = torch.randn(2, 60, 3), torch.randn(2, 70, 3)

    def read(query, key):
        return qkv.attend(query, key, score=score).context

    slope = torch.func.grad(lambda q: read(q, key).sum())(query)
    query.requires_grad_()
    assert_close(slope, torch.autograd.grad(read(query, key).sum(), query)[0], atol=1e-4, rtol=0)


def test_limits_keep_products_and_exponentials_finite():
    for dtype, (reach, saturation, cap) in LIMITS.items():
        x = torch.tensor([2 * reach, -2 * reach], dtype=dtype).exp()
        assert x.isfinite().all() and x.min() >= torch.finfo(dtype).tiny
        assert torch.tensor(cap, dtype=dtype).square().isfinite()
        assert 1 - torch.tensor(saturation, dtype=dtype).double().tanh() < torch.finfo(dtype).eps


@pytest.mark.skipif(compiled.absent() is not None, reason=str(compiled.absent()))
@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_who_waits_for_the_loops_to_be_compiled_is_told_why(seconds, monkeypatch, caplog):
    monkeypatch.setattr(compiled, "PATIENCE", 0.1)
    compiled._tell_why.cache_clear()
    made = types.SimpleNamespace(address=0)
    numba = types.SimpleNamespace(
        cfunc=lambda *_, cache: lambda function: time.sleep(seconds) or made
    )
    found = {"numba": numba, "numba.core.config": types.SimpleNamespace(CACHE_DIR="")}
    monkeypatch.setattr(compiled, "import_module", lambda name: found.get(name, numba))
    compiled.entry.__wrapped__("qkv.attention.kernels.additive.entries", "cfunc")
    assert ("compiling loops" in caplog.text) == (seconds > 0)
    compiled._tell_why.cache_clear()
