"""linear_attend against the sum written pair by pair: every mask, chunk, dtype and question."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from attention_masks import dense
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_oracle import (
    COUNT,
    DIM,
    MAPS,
    VALUE,
    B,
    H,
    S,
    T,
    by_loops,
    make_inputs,
    tolerance,
)
from torch import Tensor
from torch.testing import assert_close

import qkv
from qkv import Mask

NEEDS = ["context", "weights", "stats"]
LENGTHS = torch.tensor([4, 0])
KEPT = torch.rand(B, H, 1, S, generator=torch.Generator().manual_seed(3)) < 0.6
KEPT[0, 1] = False
CASES = {
    "none": (None, lambda b, h, i, j: True),
    "lengths": (Mask.lengths(LENGTHS), lambda b, h, i, j: j < LENGTHS[b]),
    "keep": (Mask.keep(KEPT), lambda b, h, i, j: KEPT[b, h, 0, j]),
    "drop": (Mask.drop(KEPT[:, 0]), lambda b, h, i, j: not KEPT[b, 0, 0, j]),
    "either": (
        Mask.keep(KEPT) | ~Mask.lengths(LENGTHS),
        lambda b, h, i, j: KEPT[b, h, 0, j] or j >= LENGTHS[b],
    ),
    "causal": (Mask.causal(), lambda b, h, i, j: j <= i),
    "causal_behind": (Mask.causal(-2), lambda b, h, i, j: j <= i - 2),
    "causal_ahead": (Mask.causal(S - T), lambda b, h, i, j: j <= i + S - T),
    "causal_past_the_end": (Mask.causal(9), lambda b, h, i, j: True),
    "causal_before_the_start": (Mask.causal(-9), lambda b, h, i, j: False),
    "padded_and_causal": (
        Mask.causal(3) & Mask.drop(KEPT) & Mask.causal(1),
        lambda b, h, i, j: j <= i + 1 and not KEPT[b, h, 0, j],
    ),
    "lengths_and_causal": (
        Mask.lengths(LENGTHS) & Mask.causal(-1),
        lambda b, h, i, j: j < LENGTHS[b] and j <= i - 1,
    ),
}
each_map = pytest.mark.parametrize("name", MAPS)
each_case = pytest.mark.parametrize("case", CASES)


def gradients(out: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(5)
    along = torch.randn_like(out)
    found = torch.autograd.grad(out, tensors, along, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, tensors, strict=True)]


@each_map
@each_case
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str
)
def test_linear_attention_equals_the_sum_written_as_loops(name, case, dtype):
    """... for every question and for chunks that divide the queries, or do not."""
    features, inputs = MAPS[name](DIM), make_inputs(dtype)
    mask, rule = CASES[case]
    want = by_loops(features, *inputs, dense(rule))
    allowed = tolerance(dtype, inputs, want)
    features = features.to(torch.promote_types(dtype, torch.float32))
    for chunk, need in itertools.product([1, 2, 5, 64], NEEDS):
        out = qkv.linear_attend(*inputs, features=features, mask=mask, need=need, chunk=chunk)
        assert out.context.dtype == dtype
        assert_close(out.context.double(), want.context, atol=allowed.context, rtol=0)
        assert (out.weights is not None) == (need == "weights")
        assert (out.log_normalizer is not None) == (need == "stats")
        if need == "weights":
            assert_close(out.weights.double(), want.weights, atol=allowed.weights, rtol=0)
            assert not out.weights[~dense(rule)].any()
        if need == "stats":
            logs = out.log_normalizer.double()
            assert_close(logs, want.log_normalizer, atol=allowed.logs, rtol=0)


@each_map
@each_case
@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_gradients_of_inputs_and_parameters_are_those_of_the_loops(name, case, chunk):
    features, inputs = MAPS[name](DIM).double(), [t.requires_grad_() for t in make_inputs()]
    mask, rule = CASES[case]
    wanted = [*inputs, *features.parameters()]
    want = by_loops(features, *inputs, dense(rule))
    living = want.log_normalizer.isfinite()

    out = qkv.linear_attend(*inputs, features=features, mask=mask, need="stats", chunk=chunk)

    # A gradient is a sum of T S products of numbers that are exact to 1e-12 (see tolerance).
    for mine, theirs in (
        (out.context, want.context),
        (out.log_normalizer[living], want.log_normalizer[living]),
    ):
        if theirs.requires_grad:
            for g, e in zip(gradients(mine, wanted), gradients(theirs, wanted), strict=True):
                assert_close(g, e, atol=T * S * 1e-12 * (1 + e.abs().max().item()), rtol=0)


@each_map
@pytest.mark.parametrize("need", NEEDS)
@pytest.mark.parametrize("case", ["lengths", "causal_ahead", "padded_and_causal"])
def test_what_is_asked_never_changes_the_context(name, case, need):
    features, inputs = MAPS[name](DIM).double(), make_inputs()
    slots = {"features": features, "mask": CASES[case][0], "chunk": 2}
    asked = qkv.linear_attend(*inputs, **slots, need=need).context
    assert torch.equal(asked, qkv.linear_attend(*inputs, **slots).context)


@each_map
@each_case
def test_a_dead_row_is_zero_forward_and_backward_and_spares_its_neighbours(name, case):
    features, (query, key, value) = MAPS[name](DIM).double(), make_inputs()
    mask, rule = CASES[case]
    dead = ~dense(rule).any(-1)

    def run(query):
        tensors = [t.clone().requires_grad_() for t in (query, key, value)]
        out = qkv.linear_attend(*tensors, features=features, mask=mask, need="stats", chunk=2)
        assert out.log_normalizer[dead].isneginf().all()
        return out.context, gradients(out.context, tensors + list(features.parameters()))

    context, found = run(query)
    assert not context[dead].any()
    assert not found[0][dead].any()
    poisoned, same = run(query.masked_fill(dead.unsqueeze(-1), math.nan))
    for mine, theirs in zip((poisoned, *same), (context, *found), strict=True):
        assert theirs.isfinite().all()
        assert torch.equal(mine, theirs)


@each_map
@pytest.mark.parametrize("case", ["lengths", "keep", "causal", "padded_and_causal"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
def test_what_no_query_may_meet_does_not_exist(name, case, dtype):
    features, (query, key, value) = MAPS[name](DIM), make_inputs(dtype)
    features = features.to(torch.promote_types(dtype, torch.float32))
    mask, rule = CASES[case]
    hidden = ~dense(rule).any(-2).unsqueeze(-1)
    assert hidden.any()

    def run(*inputs):
        tensors = [t.clone().requires_grad_() for t in inputs]
        out = qkv.linear_attend(*tensors, features=features, mask=mask, need="stats", chunk=2)
        logs = out.log_normalizer.nan_to_num(neginf=0)
        parts = out.context, logs.to(dtype)
        found = [gradients(part, tensors + list(features.parameters())) for part in parts]
        return *parts, *found[0], *found[1]

    clean = run(query, key, value)
    for number in (math.nan, math.inf, -math.inf, 1e30):
        poison = torch.tensor(number).to(dtype)
        poisoned = run(query, *(torch.where(hidden, poison, t) for t in (key, value)))
        for mine, theirs in zip(poisoned, clean, strict=True):
            assert torch.equal(mine, theirs)


def test_a_key_that_one_head_may_not_meet_is_nothing_to_it_though_another_head_meets_it():
    """The keys have no head of their own; the mask has."""
    query, key, value = make_inputs()
    key, value = key[:, :1].clone(), value[:, :1].clone()
    key[:, :, 2], value[:, :, 2] = math.nan, math.inf
    keep = torch.ones(B, H, 1, S).bool()
    keep[:, 1:, :, 2] = False
    for mask in (Mask.keep(keep), Mask.keep(keep) & Mask.causal(2)):
        out = qkv.linear_attend(query, key, value, mask=mask, chunk=2).context
        assert out[:, 0, -1].isnan().all()
        assert out[:, 1:].isfinite().all()


@each_map
@pytest.mark.parametrize("case", ["lengths", "causal"])
def test_padding_is_invisible(name, case):
    features, (query, key, value) = MAPS[name](DIM).double(), make_inputs()
    lengths = torch.tensor([S, 4])
    mask = Mask.lengths(lengths) & Mask.causal(1) if case == "causal" else Mask.lengths(lengths)
    longer = [torch.cat([t, 9 * torch.randn(B, H, 4, t.shape[-1])], -2) for t in (key, value)]
    plain = qkv.linear_attend(query, key, value, features=features, mask=mask)
    padded = qkv.linear_attend(query, *longer, features=features, mask=mask)
    # The same positive terms, perhaps in another order: S + 3 roundings of a mean of values.
    atol = (S + 3) * 2.3e-16 * value.abs().max().item()
    assert_close(padded.context, plain.context, atol=atol, rtol=0)


@each_map
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_batch_in_any_order_gives_each_item_what_it_gets_alone(name, batch):
    features, inputs = MAPS[name](DIM).double(), make_inputs(leading=(batch, H))
    lengths, order = torch.randint(0, S + 1, (batch,)), torch.randperm(batch)

    def run(rows):
        mask = Mask.lengths(lengths[rows]) & Mask.causal(2)
        return qkv.linear_attend(*(t[rows] for t in inputs), features=features, mask=mask).context

    together = run(order)
    for place, row in enumerate(order):
        assert_close(together[place], run(row.unsqueeze(0))[0], atol=1e-13, rtol=1e-12)


@settings(max_examples=60)
@given(
    queries=st.integers(1, 7),
    keys=st.integers(1, 7),
    offset=st.none() | st.integers(-8, 8),
    length=st.integers(0, 7),
    chunk=st.integers(1, 9),
    name=st.sampled_from(sorted(MAPS)),
    seed=st.integers(0, 999),
)
def test_any_lengths_offset_and_chunk_give_the_loops(
    queries, keys, offset, length, chunk, name, seed
):
    torch.manual_seed(seed)
    features = MAPS[name](2, 3).double()
    inputs = [torch.randn(1, 1, n, 2).double() for n in (queries, keys, keys)]
    mask = Mask.lengths(torch.tensor([min(length, keys)]))
    if offset is not None:
        mask = mask & Mask.causal(offset)
    want = by_loops(features, *inputs, mask.dense(queries, keys)[:, None])
    out = qkv.linear_attend(*inputs, features=features, mask=mask, need="weights", chunk=chunk)
    allowed = tolerance(torch.float64, inputs, want)
    assert_close(out.context, want.context, atol=allowed.context, rtol=0)
    assert_close(out.weights, want.weights, atol=allowed.weights, rtol=0)


SHAPES = {  # query, key, value before [time, dim], and what comes out
    "no batch": ((), (), (), ()),
    "keys of one head": ((B, H), (B, 1), (B, 1), (B, H)),
    "values of one head": ((B, H), (B, H), (B, 1), (B, H)),
    "values alone have heads": ((B, 1), (B, 1), (B, H), (B, H)),
    "keys without a batch": ((B, H), (), (), (B, H)),
    "queries without a batch": ((), (B, H), (B, H), (B, H)),
}


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("mask", [None, Mask.causal(-1), Mask.causal(2)], ids=repr)
def test_heads_and_batch_stretch(shapes, mask):
    leading = SHAPES[shapes]
    query, key, value = (
        torch.randn(*lead, n, d).double()
        for lead, n, d in zip(leading, (T, S, S), (DIM, DIM, VALUE), strict=False)
    )
    for need in NEEDS:
        out = qkv.linear_attend(query, key, value, mask=mask, need=need, chunk=2)
        full = [t.expand(*leading[3], *t.shape[-2:]).contiguous() for t in (query, key, value)]
        want = qkv.linear_attend(*full, mask=mask, need=need, chunk=2)
        for mine, theirs in zip(out, want, strict=True):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                assert_close(mine, theirs)


def test_values_are_the_keys_when_none_are_given():
    query, key, _ = make_inputs()
    tied, both = key.clone().requires_grad_(), key.clone().requires_grad_()
    mask = Mask.lengths(LENGTHS) & Mask.causal(1)
    out = qkv.linear_attend(query, tied, mask=mask).context
    want = qkv.linear_attend(query, both, both, mask=mask).context
    assert torch.equal(out, want)
    assert torch.equal(
        *(torch.autograd.grad(o.sum(), t)[0] for o, t in ((out, tied), (want, both)))
    )


SMALL = {
    "lengths": Mask.lengths(torch.tensor([2])),
    "causal": Mask.causal(),
    "dead_row": Mask.keep(torch.tensor([[False, True, True]])) & Mask.causal(),
}


@each_map
@pytest.mark.parametrize("case", SMALL)
@pytest.mark.parametrize("part", ["context", "log_normalizer", "weights"])
def test_first_and_second_derivatives_are_those_of_the_equation(name, case, part):
    features = MAPS[name](2, 3).double()
    names = [n for n, _ in features.named_parameters()]
    need = {"log_normalizer": "stats"}.get(part, part)

    def run(*given):
        parameters = dict(zip(names, given[3:], strict=True))
        out = torch.func.functional_call(
            Calling(features),
            {f"features.{n}": p for n, p in parameters.items()},
            (*given[:3], SMALL[case], need),
        )
        found = getattr(out, part)
        return found[found.isfinite()]

    tensors = [torch.randn(1, n, 2).double() for n in (3, 3, 3)]
    given = [t.detach().clone().requires_grad_() for t in (*tensors, *features.parameters())]
    assert torch.autograd.gradcheck(run, given)
    assert torch.autograd.gradgradcheck(run, given)


class Calling(torch.nn.Module):
    """linear_attend as a module, so that a test may swap the features' parameters."""

    def __init__(self, features) -> None:
        super().__init__()
        self.features = features

    def forward(self, query, key, value, mask, need):
        return qkv.linear_attend(
            query, key, value, features=self.features, mask=mask, need=need, chunk=2
        )


@pytest.mark.parametrize("name", ["elu", "positive_random"])
def test_a_later_key_however_large_changes_no_bit_of_an_earlier_answer(name):
    """Nor does it drown the earlier keys, in its chunk or in the state: float32, exponents 400."""
    features, (query, key, value) = MAPS[name](DIM), make_inputs(torch.float32)
    loud = key.clone()
    loud[:, :, 4] = 400 * key[:, :, 4].sign() if name == "elu" else 40 * key[:, :, 4].sign()
    for chunk in (2, 3, 64):
        slots = {"features": features, "mask": Mask.causal(), "chunk": chunk, "need": "stats"}
        plain = qkv.linear_attend(query, key, value, **slots)
        after = qkv.linear_attend(query, loud, value, **slots)
        assert torch.equal(after.context[:, :, :4], plain.context[:, :, :4])
        assert torch.equal(after.log_normalizer[:, :, :4], plain.log_normalizer[:, :, :4])
        assert after.context.isfinite().all()


def test_far_exponents_neither_overflow_nor_vanish():
    """Keys of a scale that float32 cannot hold still share the weight as in float64."""
    query, key, value = make_inputs()
    key = key - 150
    for mask in (None, Mask.causal(1)):
        want = qkv.linear_attend(query, key, value, mask=mask).context
        out = qkv.linear_attend(query.float(), key.float(), value.float(), mask=mask).context
        # Keys near -150 are rounded to 150 u, which is the relative error of their exp.
        atol = 4 * (150 + DIM + S) * 1.2e-7 * value.abs().max().item()
        assert_close(out.double(), want, atol=atol, rtol=0)


def test_autocast_leaves_the_sums_in_float32():
    features, inputs = MAPS["positive_random"](DIM), make_inputs(torch.float32)
    for mask in (None, Mask.causal(1)):
        plain = qkv.linear_attend(*inputs, features=features, mask=mask)
        with torch.autocast("cpu", torch.bfloat16):
            inside = qkv.linear_attend(*inputs, features=features, mask=mask)
        assert torch.equal(inside.context, plain.context)


def test_the_oracle_has_as_many_features_as_the_maps():
    for name, make in MAPS.items():
        features = make(DIM)
        mapped = features(torch.randn(3, DIM))
        expected = {"elu": DIM, "positive_random": COUNT, "learned": 2 * DIM}[name]
        assert mapped.features.shape == (3, expected) == (3, features.width(DIM))
        assert mapped.log_scale.shape == (3, 1)
