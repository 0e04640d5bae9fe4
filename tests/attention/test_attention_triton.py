"""The additive attention in Triton: outputs and gradients against the equation in float64.

Without a GPU the kernels run in Triton's interpreter, on the CPU: the same code, slowly, so sizes
are small, and blocks are made small where several are needed.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from test_attention_additive import HARD, OFFSETS, Hidden, loops
from test_attention_sparse import Sizes
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention.kernels import KERNELS
from qkv.attention.kernels.additive import triton_ways
from qkv.attention.kernels.additive.equation import Inputs, composed
from qkv.attention.kernels.additive.ranges import middle
from qkv.attention.kernels.additive.triton_ways import Blocks

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
pytest.importorskip("triton", reason="Triton is not installed (pip install 'qkv[gpu]')")

pytestmark = pytest.mark.filterwarnings(  # NumPy's, where an exponential saturates as it should
    "ignore:(overflow|invalid value) encountered:RuntimeWarning"
)
NAMES = ("additive_triton", "additive_triton_energies")
each_kernel = pytest.mark.parametrize("kernel", NAMES)


@pytest.fixture(autouse=True)
def _anywhere(monkeypatch):
    """The interpreter takes tensors of the CPU, which the table leaves to other kernels."""
    assert triton_ways.absent() is None
    for name in NAMES:
        monkeypatch.setitem(KERNELS, name, replace(KERNELS[name], devices=None))


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 4 queries, 16 keys, 16 values and 4 dimensions; 4 queries at a time backward."""
    monkeypatch.setattr(triton_ways, "PADDED", 16)
    monkeypatch.setattr(triton_ways, "TOGETHER", 4)
    monkeypatch.setattr(triton_ways, "HELD", 1)
    monkeypatch.setattr(triton_ways, "CHUNK", 16)
    monkeypatch.setattr(triton_ways, "_forward_blocks", lambda *sizes: (Blocks(4, 16, 4), 16))
    monkeypatch.setattr(triton_ways, "_tile", lambda *sizes: Blocks(4, 16, 4))
    monkeypatch.setattr(triton_ways, "_side_blocks", lambda *sizes: Blocks(4, 4, 4))


def drawn(*shapes, dtype=torch.float32):
    return [torch.randn(shape).to(DEVICE, dtype) for shape in shapes]


def agree(found, want, roundings, dtype=torch.float32):
    """Each rounding moves a result by eps of, at most, the largest number that is summed there."""
    off, size = (found.double() - want.double()).abs().max(), want.double().abs().max()
    assert found.isfinite().all()
    assert off <= torch.finfo(dtype).eps * roundings * (1 + size), f"off by {off} at {size}"


def some_rows(queries, keys):
    """A mask without a pattern; two queries may meet nothing."""
    keep = torch.rand(2, queries, keys) < 0.5
    keep[0, 1] = keep[1, 4] = False
    return Mask.keep(keep.to(DEVICE))


MASKS = {
    "none": (lambda queries, keys: None, "context"),
    "causal": (lambda queries, keys: Mask.causal(2), "weights"),
    "lengths": (lambda queries, keys: Mask.lengths(torch.tensor([keys, 3])), "stats"),
    "rows": (some_rows, "weights"),
    "dead_rows_read": (some_rows, "stats"),
}


def attended(kernel, given, v, **slots):
    """What comes out, and the gradients of a loss that asks for all of it."""
    given = [t.detach().clone().requires_grad_() for t in given]
    score = Hidden(v.detach().clone().to(given[0].dtype))
    out = qkv.attend(*given, score=score, kernel=kernel, **slots)
    made = [t for t in out if t is not None]
    loss = sum(t.masked_fill(t.isinf(), 0).sin().sum() for t in made)
    return made, torch.autograd.grad(loss, (*given, score.v))


def agrees_with_float64(kernel, given, v, **slots):
    """Roundings: of an energy, some 4 a dimension; of a sum, one a term; weights have them all."""
    mine, back = attended(kernel, given, v, **slots)
    want, exact = attended("reference", [t.double() for t in given], v, **slots)
    hidden, keys = given[0].shape[-1], given[1].shape[-2]
    for x, y in zip(mine, want, strict=True):
        assert torch.equal(x.isinf(), y.isinf())
        agree(x.masked_fill(x.isinf(), 0), y.masked_fill(y.isinf(), 0), 4 * hidden + keys)
    for x, y in zip(back, exact, strict=True):
        agree(x, y, 8 * hidden + 4 * keys)


@pytest.mark.parametrize(
    ("kernel", "mask"),
    [*(("additive_triton", mask) for mask in MASKS), ("additive_triton_energies", "rows")],
)
def test_outputs_and_gradients_are_those_of_float64(kernel, mask):
    made, need = MASKS[mask]
    given = drawn((2, 5, 7), (2, 11, 7), (2, 11, 3))
    agrees_with_float64(kernel, given, *drawn((7,)), mask=made(5, 11), need=need)


@pytest.mark.usefixtures("small_blocks")
def test_many_blocks_of_all_that_there_is_give_the_same():
    """Of queries, keys, values and dimensions; and, on the way back, four queries at a time."""
    given = drawn((2, 5, 5), (2, 19, 5), (2, 19, 17))
    slots = {"mask": some_rows(5, 19), "need": "weights"}
    agrees_with_float64("additive_triton", given, *drawn((5,)), **slots)


@each_kernel
@pytest.mark.parametrize(("keys", "hidden", "read"), [(1, 1, 1), (17, 3, 2)])
def test_one_query_and_sizes_of_one(kernel, keys, hidden, read):
    given = drawn((1, 1, hidden), (1, keys, hidden), (1, keys, read))
    agrees_with_float64(kernel, given, *drawn((hidden,)), need="stats")


def test_blocks_are_powers_of_two_that_divide_what_is_filled_up():
    for size in (1, 2, 3, 16, 17, 100, 1000):
        for other in (1, 5, 30, 64, 4000):
            forward, part = triton_ways._forward_blocks(size, other, size)
            tile = triton_ways._tile(size, other)
            assert part & (part - 1) == 0
            for blocks in (forward, tile):
                assert triton_ways._padded(size) % blocks.rows == 0
                assert triton_ways._padded(other) % blocks.columns == 0
            assert all(n & (n - 1) == 0 for n in triton_ways._side_blocks(size, other))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_any_numbers_give_what_float64_gives(dtype):
    """Each hard case is an item. The bound is that of the other additive kernels' test."""
    width, eps = len(OFFSETS), torch.finfo(dtype).eps
    made = [(a(torch.randn(3, width)), b(torch.randn(5, width))) for a, b, _ in HARD.values()]
    a, b = (torch.stack(side).to(DEVICE, dtype) for side in zip(*made, strict=True))
    v, g = drawn((width,), (len(made), 3, 5), dtype=dtype)
    if dtype == torch.float32:
        assert middle(a, b).holds.view(-1).tolist() == [holds for *_, holds in HARD.values()]

    mine = triton_ways.energies(a, b, v, None), *triton_ways.gradients(a, b, v, g)

    size = a.double().abs().unsqueeze(2) + b.double().abs().unsqueeze(1)
    near = (a.double().unsqueeze(2) + b.double().unsqueeze(1)).abs() < 20
    off = eps * (12 + width + 3 * size * near)
    weighted, g_size = off * v.double().abs(), g.double().abs().unsqueeze(-1)
    most = (
        weighted.sum(-1),
        (g_size * weighted * 4).sum(2) + 5 * eps * g_size.sum(2) * v.abs(),
        (g_size * weighted * 4).sum(1) + 3 * eps * g_size.sum(1) * v.abs(),
        (g_size * (off + g.numel() * eps)).sum((0, 1, 2)),
    )
    for found, want, allowed in zip(mine, loops(a, b, v, g), most, strict=True):
        assert found.isfinite().all()
        worst = ((found.double() - want).abs() / allowed).max()
        assert worst <= 1, f"{worst} times what rounding explains"


def test_each_item_finds_for_itself_whether_the_identity_holds():
    query, key = drawn((2, 3, 7), (2, 5, 7))
    query[1] *= 1e4
    key[1] *= 1e4
    assert middle(query, key).holds.view(-1).tolist() == [True, False]
    (v,) = drawn((7,))
    both = triton_ways.energies(query, key, v, None)
    for item in range(2):
        alone = triton_ways.energies(query[item : item + 1], key[item : item + 1], v, None)
        assert torch.equal(both[item], alone[0])


@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [(NAMES[0], torch.bfloat16), (NAMES[0], torch.float16), (NAMES[1], torch.float16)],
)
def test_half_precision_is_summed_in_float32(kernel, dtype):
    """Terms of 2^12 and -2^12, one of 2^-4; and a context within a rounding of its own."""
    v = torch.tensor([2.0**12, 2.0**-4, -(2.0**12)]).to(DEVICE, dtype)
    query = torch.full((1, 2, 3), 30.0).to(DEVICE, dtype)
    key, value = torch.zeros(1, 3, 3).to(query), drawn((1, 3, 5), dtype=dtype)[0]
    out = qkv.attend(query, key, value, score=Hidden(v), kernel=kernel, need="stats")
    want = torch.tensor(2.0**-4).add(torch.tensor(3.0).log()).to(DEVICE)
    assert out.log_normalizer.dtype == torch.float32 and out.context.dtype == dtype
    # Each of the three large numbers that are added in turn is rounded at 2^12 or 2^13.
    assert_close(out.log_normalizer, want.expand(1, 2), atol=3 * 2.0**13 * 1.2e-7, rtol=0)
    eps = torch.finfo(dtype).eps
    mean = value.double().mean(1, keepdim=True).expand(1, 2, 5)
    assert_close(out.context.double(), mean, atol=eps * float(value.abs().max()), rtol=0)


def test_gradients_of_half_precision_are_those_of_float64():
    given = drawn((2, 5, 7), (2, 11, 7), (2, 11, 3), dtype=torch.bfloat16)
    v = drawn((7,), dtype=torch.bfloat16)[0]
    mine, back = attended("additive_triton", given, v)
    want, exact = attended("reference", [t.double() for t in given], v)
    for x, y in zip((*mine, *back), (*want, *exact), strict=True):
        agree(x, y, 3, torch.bfloat16)  # the context, its gradient, and what is asked for


def test_a_query_that_may_meet_nothing_gets_zeros_and_passes_none():
    a, b, v, value = drawn((1, 3, 5), (1, 7, 5), (5,), (1, 7, 2))
    allowed = torch.ones(1, 3, 7, dtype=torch.bool, device=DEVICE)
    allowed[0, 1] = False
    inputs = Inputs(a, b, v, allowed)
    context, log_normalizer, energies = triton_ways.forward(inputs, value, True)
    assert not context[0, 1].any()
    assert log_normalizer[0, 1] == -torch.inf and energies[0, 1].isneginf().all()
    g, mean = torch.ones_like(context), torch.ones_like(log_normalizer)
    found = triton_ways.backward(inputs, value, log_normalizer, mean, g, None)
    assert not found[0][0, 1].any()
    assert all(t.isfinite().all() for t in found)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_where_no_pair_may_meet_are_not_read():
    """0 times not a number would be none: there is no 0 where nothing is multiplied."""
    a, b, v, value = drawn((1, 8, 3), (1, 32, 3), (3,), (1, 32, 2))
    allowed = torch.ones(1, 8, 32, dtype=torch.bool, device=DEVICE)
    allowed[0, :4, 16:] = allowed[0, 4:, :16] = False
    value[0, 16:] = torch.nan
    context, _, _ = triton_ways.forward(Inputs(a, b, v, allowed), value, False)
    assert context[0, :4].isfinite().all() and context[0, 4:].isnan().all()
    g = allowed.float()
    broken = b.clone()
    broken[0, 16:] = torch.nan
    to_a, _, _ = triton_ways.gradients(a, broken, v, g)
    assert to_a[0, :4].isfinite().all() and to_a[0, 4:].isnan().all()


@each_kernel
def test_what_is_not_a_number_reaches_only_the_queries_that_meet_it(kernel):
    query, key, v = drawn((1, 4, 7), (1, 5, 7), (7,))
    score = Hidden(v)
    plain = qkv.attend(query, key, score=score, kernel=kernel).context
    query[0, 1, 2] = torch.nan
    context = qkv.attend(query, key, score=score, kernel=kernel).context
    assert context[0, 1].isnan().all()
    assert_close(context[0, [0, 2, 3]], plain[0, [0, 2, 3]])


@pytest.mark.parametrize("tied", [False, True])
def test_the_gradients_may_be_differentiated_again(tied):
    """Recorded, they are the same, and theirs are those of the reference."""
    found = []
    given = drawn((2, 3, 5), (2, 7, 5), dtype=torch.float64)
    given = given[1:] if tied else given
    v = drawn((5,), dtype=torch.float64)[0]
    for kernel in ("additive_triton", "reference"):
        own = [t.clone().requires_grad_() for t in given]
        score = Hidden(v.clone())
        query, key = own[0], own[-1]
        mask = Mask.causal(2)
        out = qkv.attend(query, key, score=score, mask=mask, kernel=kernel, need="weights")
        loss = out.context.square().sum() + out.weights.square().sum()
        inputs = (*own, score.v)
        plain = torch.autograd.grad(loss, inputs, retain_graph=True)
        first = torch.autograd.grad(loss, inputs, create_graph=True)
        for x, y in zip(plain, first, strict=True):
            assert_close(x, y, atol=1e-12, rtol=1e-12)
        second = torch.autograd.grad(sum(t.square().sum() for t in first), inputs)
        found.append((*first, *second))
    for x, y in zip(*found, strict=True):
        assert_close(x, y, atol=1e-11, rtol=1e-11)


def test_slots_of_every_kind_are_those_of_the_reference():
    query, key = drawn((2, 3, 5, 7), (2, 1, 11, 7), dtype=torch.float64)
    score = Hidden(drawn((7,), dtype=torch.float64)[0])
    forbidding = torch.randn(5, 11, dtype=torch.float64, device=DEVICE)
    forbidding[2], forbidding[:, 3] = -torch.inf, -torch.inf
    for kernel, slots in (
        ("additive_triton", {"bias": forbidding}),
        ("additive_triton", {"bias": torch.randn(3, 1, 11).to(forbidding), "need": "weights"}),
        ("additive_triton", {"mask": Mask.keep(torch.rand(2, 3, 5, 11).to(DEVICE) < 0.7)}),
        ("additive_triton_energies", {"normalizer": "sparsemax"}),
        ("additive_triton_energies", {"reweighter": torch.nn.Dropout(0.0)}),
    ):
        assert qkv.plan(query, key, score=score, **slots).kernel == kernel
        mine = qkv.attend(query, key, score=score, kernel=kernel, **slots)
        want = qkv.attend(query, key, score=score, kernel="reference", **slots)
        for x, y in zip(mine, want, strict=True):
            assert (x is None) == (y is None)
            if x is not None:
                assert_close(x, y, atol=1e-12, rtol=1e-12)


@pytest.mark.usefixtures("small_blocks")
def test_nothing_of_all_pairs_is_held():
    """In bytes; an energy has four. Backward, of 8 queries 4 are held at a time."""
    query, key = (t.requires_grad_() for t in drawn((1, 8, 2), (1, 32, 2)))
    score = Hidden(drawn((2,))[0])
    with Sizes() as sizes:
        out = qkv.attend(query, key, score=score, kernel="additive_triton")
        out.context.sum().backward()
    assert sizes.largest < 4 * 8 * 32


def test_the_table_says_where_the_kernels_run_and_why_not(monkeypatch):
    query, key, v = drawn((2, 3, 7), (2, 5, 7), (7,))
    score = Hidden(v)
    assert qkv.plan(query, key, score=score).kernel == "additive_triton"
    assert "no energy is kept" in qkv.plan(query, key, score=score).reason
    assert "exact and slower" in qkv.plan(1e4 * query, 1e4 * key, score=score).reason
    monkeypatch.setenv("QKV_TRITON", "0")
    triton_ways.absent.cache_clear()
    with pytest.raises(ValueError, match=r"cannot do .*QKV_TRITON=0"):
        qkv.attend(query, key, score=score, kernel="additive_triton")
    triton_ways.absent.cache_clear()
    monkeypatch.undo()
    if DEVICE == "cpu":
        with pytest.raises(ValueError, match="cannot do tensors on cpu"):
            qkv.attend(query, key, score=score, kernel="additive_triton")


def test_plain_torch_composes_the_same(monkeypatch):
    """What differentiates twice is the same function, dead rows and all."""
    a, b, v, value = drawn((2, 3, 5), (2, 7, 5), (5,), (2, 7, 2), dtype=torch.float64)
    allowed = torch.rand(2, 3, 7, device=DEVICE) < 0.5
    allowed[0, 1] = False
    inputs = Inputs(a, b, v, allowed, torch.randn(2, 3, 7).to(a))
    context, log_normalizer, weights = composed(inputs, value)
    mine = triton_ways.forward(inputs, value, False)
    assert_close(mine[:2], (context, log_normalizer), atol=1e-12, rtol=1e-12)
    assert not weights[0, 1].any()
