"""Additive attention in one pass of compiled loops, and a decoder's steps against a table."""

from __future__ import annotations

import pytest
import torch
from test_attention_additive import HARD, OFFSETS, Hidden
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention.kernels import KERNELS
from qkv.attention.kernels.additive import table, threads

pytest.importorskip("numba", reason="numba is not installed (pip install 'qkv[fast]')")

KERNEL = "additive_numba"


@pytest.fixture(autouse=True)
def _present():
    """Loops that give wrong numbers switch themselves off; here that is no reason to skip."""
    assert KERNELS[KERNEL].absent is None
    assert table.absent() is None


def some(queries, keys):
    """A mask without a pattern; two queries may meet nothing."""
    keep = torch.rand(2, queries, keys) < 0.5
    keep[0, 1] = keep[1, 3] = False
    return Mask.keep(keep)


MASKS = {
    "none": lambda queries, keys: None,
    "causal": lambda queries, keys: Mask.causal(2),
    "lengths": lambda queries, keys: Mask.lengths(torch.tensor([keys, 2])),
    "nothing": lambda queries, keys: Mask.lengths(torch.tensor([keys, 0])),
    "rows": some,
}


def attended(kernel, given, v, **slots):
    """What comes out, and the gradients of a loss that asks for all of it."""
    given = [t.detach().clone().requires_grad_() for t in given]
    score = Hidden(v.detach().clone().to(given[0].dtype))
    out = qkv.attend(*given, score=score, kernel=kernel, **slots)
    made = [t for t in out if t is not None]
    loss = sum(t.masked_fill(t.isinf(), 0).sin().sum() for t in made)
    return made, torch.autograd.grad(loss, (*given, score.v))


def agree(found, want, roundings):
    """Each rounding moves a result by eps of, at most, the largest number that is summed there."""
    eps = torch.finfo(found.dtype).eps
    off, size = (found.double() - want.double()).abs().max(), want.double().abs().max()
    assert found.isfinite().all()
    assert off <= eps * roundings * (1 + size), f"off by {off} at {size}"


def agrees_with_float64(given, v, **slots):
    """Roundings: of an energy, some 4 a dimension; of a sum, one a term; weights have them all."""
    mine, back = attended(KERNEL, given, v, **slots)
    want, exact = attended("reference", [t.double() for t in given], v, **slots)
    hidden, keys, queries = given[0].shape[-1], given[1].shape[-2], given[0].shape[-2]
    for x, y in zip(mine, want, strict=True):
        assert torch.equal(x.isinf(), y.isinf())
        agree(x.masked_fill(x.isinf(), 0), y.masked_fill(y.isinf(), 0), 4 * hidden + keys)
    for x, y in zip(back, exact, strict=True):
        agree(x, y, 8 * hidden + 4 * keys + queries)


@pytest.mark.parametrize("need", ["context", "weights", "stats"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    ("queries", "keys", "hidden", "read"), [(5, 11, 7, 3), (31, 37, 67, 71), (4, 2, 1, 1)]
)
def test_outputs_and_gradients_are_those_of_float64(mask, need, queries, keys, hidden, read):
    given = [torch.randn(2, *size) for size in ((queries, hidden), (keys, hidden), (keys, read))]
    slots = {"mask": MASKS[mask](queries, keys), "need": need}
    agrees_with_float64(given, torch.randn(hidden), **slots)


@pytest.mark.parametrize("queries", [1, 2, 3, 261])
def test_any_number_of_queries_leaves_none_out(queries):
    given = [torch.randn(2, n, 5) for n in (queries, 7, 7)]
    agrees_with_float64(given, torch.randn(5), need="weights")


@pytest.mark.parametrize("case", HARD)
def test_any_numbers_give_what_float64_gives(case):
    """Saturated tanh is 1 in both; a sum of a + b up to 2e4 rounds by 2e4 eps before tanh."""
    width = len(OFFSETS)
    make_a, make_b, _ = HARD[case]
    a, b = make_a(torch.randn(2, 9, width)), make_b(torch.randn(2, 6, width))
    value, v = torch.randn(2, 6, 3), torch.randn(width)
    out = qkv.attend(a, b, value, score=Hidden(v), kernel=KERNEL, need="weights")
    exact = Hidden(v.double())
    want = qkv.attend(
        a.double(), b.double(), value.double(), score=exact, kernel="reference", need="weights"
    )
    summed = a.double().unsqueeze(2) + b.double().unsqueeze(1)
    size = (a.double().abs().unsqueeze(2) + b.double().abs().unsqueeze(1)) * (summed.abs() < 20)
    off = float(1.2e-7 * ((12 + width + 3 * size) * v.double().abs()).sum(-1).max())
    assert_close(out.weights.double(), want.weights, atol=2 * off + 1e-6, rtol=0)
    assert_close(out.context.double(), want.context, atol=30 * (off + 1e-6), rtol=0)


@pytest.mark.parametrize("v", [0.0, 1e-30, 1e30])
def test_any_scale_of_v_gives_energies_of_that_scale(v):
    score = Hidden(torch.tensor([v, 0.0, -v / 2, v * 1e-20, v]))
    query, key = torch.randn(1, 4, 5), torch.randn(1, 6, 5)
    mine = qkv.attend(query, key, score=score, kernel=KERNEL, need="stats").log_normalizer
    want = qkv.attend(
        query.double(), key.double(), score=score.double(), kernel="reference", need="stats"
    ).log_normalizer
    assert_close(mine.double(), want, atol=1e-6, rtol=1e-5)


def test_gradcheck():
    given = [torch.randn(2, n, 3).double().requires_grad_() for n in (5, 4, 4)]
    score, mask = Hidden(torch.randn(3).double()), some(5, 4)

    def asked(query, key, value):
        out = qkv.attend(query, key, value, score=score, mask=mask, kernel=KERNEL, need="weights")
        return out.context, out.weights

    assert torch.autograd.gradcheck(asked, given)


def test_a_query_that_may_meet_nothing_gets_zeros_and_gives_none():
    given = [torch.randn(2, n, 7, requires_grad=True) for n in (5, 11, 11)]
    score, mask = Hidden(torch.randn(7)), some(5, 11)
    out = qkv.attend(*given, score=score, mask=mask, kernel=KERNEL, need="weights")
    back = torch.autograd.grad(out.context.sin().sum() + out.weights.sin().sum(), given)
    for n, i in ((0, 1), (1, 3)):
        for rows in (out.context, out.weights, back[0]):
            assert not rows[n, i].any()


def test_what_is_masked_does_not_exist():
    score = Hidden(torch.randn(7))
    mask = Mask.lengths(torch.tensor([11, 4]))
    found = []
    for fill in (0.0, torch.nan, torch.inf, 1e30):
        given = [torch.randn(2, n, 7, generator=torch.Generator().manual_seed(n)) for n in (5, 11)]
        given[1][1, 4:] = fill
        given = [t.requires_grad_() for t in given]
        out = qkv.attend(*given, score=score, mask=mask, kernel=KERNEL, need="weights")
        back = torch.autograd.grad(out.context.square().sum(), (*given, score.v))
        found.append((*out[:2], *back))
    for other in found[1:]:
        for x, y in zip(found[0], other, strict=True):
            assert torch.equal(x, y)


def test_one_query_that_is_no_number_spoils_no_other_gradient():
    """Four queries share a division on the way back."""
    key = torch.randn(1, 5, 7)
    query = torch.randn(1, 4, 7)
    query[0, 1] = torch.nan
    query.requires_grad_()
    out = qkv.attend(query, key, score=Hidden(torch.randn(7)), kernel=KERNEL).context
    (back,) = torch.autograd.grad(out[0, [0, 2, 3]].sum(), query)
    assert back[0, [0, 2, 3]].isfinite().all()


def test_threads_and_asking_for_weights_change_no_bit(monkeypatch):
    monkeypatch.setattr(threads, "GRAIN", 1)
    given, v = [torch.randn(3, n, 70) for n in (300, 11, 11)], torch.randn(70)
    found = []
    for count, need in ((1, "context"), (2, "weights"), (5, "stats")):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        out = qkv.attend(*given, score=Hidden(v), kernel=KERNEL, need=need)
        _, back = attended(KERNEL, given, v)
        found.append((out.context, *back))
    for other in found[1:]:
        for x, y in zip(found[0], other, strict=True):
            assert torch.equal(x, y)


def test_what_it_cannot_do_goes_by_its_energies():
    score, given = qkv.scores.Additive(8, 8, 64), [torch.randn(1, n, 8) for n in (60, 70)]
    assert qkv.plan(*given, score=score).kernel == KERNEL
    bias = torch.randn(60, 70)
    for slots in (
        {"normalizer": "sparsemax"},
        {"bias": bias},
        {"reweighter": torch.nn.Identity()},
    ):
        plan = qkv.plan(*given, score=score, **slots)
        assert plan.kernel == "additive_numba_energies"
        assert "additive_numba cannot do" in plan.reason


def prepared_and_wanted(attention, given, mask, need="weights"):
    """A step of a decoder, with what was prepared, and the same of float64."""
    query, key, value = given
    with torch.no_grad():
        prepared = attention.prepare(key, value, mask=mask)
        out = attention.attend(query, prepared, need=need)
    exact = (t.double() for t in given)
    score = Hidden(attention.score.v.detach().double())
    want = qkv.attend(*exact, score=score, mask=mask, kernel="reference", need=need)
    return prepared, out, want


@pytest.mark.parametrize("mask", ["none", "lengths", "nothing"])
@pytest.mark.parametrize("hidden", [1, 63, 64, 65, 257])
@pytest.mark.parametrize("queries", [1, 3])
def test_a_step_against_a_table_is_the_same_attention(mask, hidden, queries, monkeypatch):
    monkeypatch.setattr(table, "GAINS_FROM", 0)
    given = [torch.randn(2, *size) for size in ((queries, hidden), (37, hidden), (37, 5))]
    attention = qkv.Attention(score=Hidden(torch.randn(hidden))).eval()
    prepared, out, want = prepared_and_wanted(attention, given, MASKS[mask](queries, 37))
    assert prepared.table is not None
    agree(out.weights, want.weights, 4 * hidden + 37)
    agree(out.context, want.context, 4 * hidden + 37)


@pytest.mark.parametrize("scale", [1, 10, 100, 1e4])
@pytest.mark.parametrize("spread", [1, 8])
def test_a_table_serves_whatever_queries_come(scale, spread, monkeypatch):
    """Where |a + b| is 20 or more, tanh is 1 in both; else the sum rounds at 20 and the offset."""
    monkeypatch.setattr(table, "GAINS_FROM", 0)
    query, key = scale * torch.randn(3, 2, 7), spread * torch.randn(3, 11, 7) + OFFSETS / 100
    attention = qkv.Attention(score=Hidden(torch.randn(7))).eval()
    prepared, out, want = prepared_and_wanted(attention, (query, key, key), None)
    assert prepared.table is not None
    off = 1.2e-7 * 3 * (40 + 2 * 100) * 7 * 3
    assert_close(out.weights.double(), want.weights, atol=off, rtol=0)


def test_a_table_is_chosen_from_and_its_context_does_not_depend_on_what_is_asked(monkeypatch):
    monkeypatch.setattr(table, "GAINS_FROM", 0)
    query, key = torch.randn(3, 1, 7), torch.randn(3, 11, 7)
    attention = qkv.Attention(score=Hidden(torch.randn(7))).eval()
    mask = Mask.lengths(torch.tensor([11, 3, 5]))
    rows = torch.tensor([2, 0, 0])
    prepared, out, _ = prepared_and_wanted(attention, (query, key, key), mask)
    with torch.no_grad():
        again = attention.attend(query[rows], prepared.select(rows))
    assert torch.equal(again.context, out.context[rows])


def test_there_is_no_table_where_it_could_not_say_all(monkeypatch):
    monkeypatch.setattr(table, "GAINS_FROM", 0)
    score, key = Hidden(torch.randn(7)), torch.randn(3, 11, 7)
    lengths = Mask.lengths(torch.tensor([11, 3, 5]))
    attention = qkv.Attention(score=score).eval()
    assert attention.prepare(key).table is None  # a graph is recorded
    with torch.no_grad():
        assert attention.prepare(key, mask=lengths).table is not None
        assert attention.prepare(1e3 * key).table is None
        assert attention.prepare(key.double()).table is None
        assert attention.prepare(key, mask=Mask.causal()).table is None
        assert qkv.Attention(score=score, normalizer="sparsemax").prepare(key).table is None
        assert qkv.Attention(score="dot").prepare(key).table is None
        prepared = attention.prepare(key, mask=lengths)
        stats = attention.attend(torch.randn(3, 1, 7), prepared, need="stats")
        assert stats.log_normalizer is not None
