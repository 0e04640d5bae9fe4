"""Random compositions of masks, sizes and slots: every kernel against the reference."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention.biases import BIASES
from qkv.attention.biases import build as build_bias
from qkv.attention.scores import build as build_score

WIDTH, READ = 5, 3
small, near = st.integers(1, 6), st.integers(0, 5)
SCORE = st.sampled_from(["dot", "scaled_dot", "additive", "location"])
NORMALIZERS = ["softmax", "sparsemax", "entmax", "sigmoid"]


LIMITED = [
    st.builds(lambda left, more: Mask.window(left, more - left), st.integers(-5, 5), near),
    st.builds(Mask.dilated, small, small),
    st.builds(Mask.strided, st.integers(1, 15)),
    st.builds(Mask.block, small),
    st.builds(Mask.global_, st.lists(st.integers(0, 45), min_size=1, max_size=3)),
    st.builds(Mask.random, small, st.integers(0, 999)),
]


def leaf(batch: int, heads: int, queries: int, keys: int) -> st.SearchStrategy[Mask]:
    """Every way to make a mask, for one attention's sizes."""
    shapes = st.sampled_from([(), (batch,), (1,), (batch, heads), (1, heads), (batch, 1)])
    seeds = st.integers(0, 999)

    def keep(shape, seed, rows, columns, share):
        size = (*shape, queries if rows else 1, keys if columns else 1)
        return torch.rand(size, generator=torch.Generator().manual_seed(seed)) < share

    tensors = st.builds(
        keep, shapes, seeds, st.booleans(), st.booleans(), st.sampled_from([0.1, 0.5, 0.9])
    )
    places = st.builds(
        lambda shape, seed, spread: (
            (torch.rand((*shape, queries), generator=torch.Generator().manual_seed(seed)) - 0.2)
            * spread
        ),
        shapes,
        seeds,
        st.sampled_from([1.0, 1.5 * keys, 1e12]),
    )
    return st.one_of(
        st.builds(Mask.keep, tensors),
        st.builds(Mask.drop, tensors),
        st.builds(
            lambda n: Mask.lengths(torch.tensor(n)),
            st.lists(st.integers(0, keys), min_size=batch, max_size=batch),
        ),
        st.builds(Mask.causal, st.integers(-3, 3)),
        *LIMITED,
        st.builds(Mask.around, places, small),
    )


def composed(parts: st.SearchStrategy[Mask]) -> st.SearchStrategy[Mask]:
    return st.one_of(
        st.builds(lambda a, b: a & b, parts, parts),
        st.builds(lambda a, b: a | b, parts, parts),
        st.builds(lambda a: ~a, parts),
    )


@st.composite
def attentions(draw):
    """Sizes, tensors and slots of one attention; keys' and values' leading sizes of 1 stretch."""
    batch, heads = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    queries, keys = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    torch.manual_seed(draw(st.integers(0, 999)))

    def tensor(rows: int, width: int) -> torch.Tensor:
        leading = (draw(st.sampled_from([batch, 1])), draw(st.sampled_from([heads, 1])))
        return torch.randn(*leading, rows, width).double().requires_grad_()

    query = torch.randn(batch, heads, queries, WIDTH).double().requires_grad_()
    given = [query, tensor(keys, WIDTH), tensor(keys, READ)]
    score = build_score(draw(SCORE), query_dim=WIDTH, key_dim=WIDTH, hidden=3).double()
    for parameter in score.parameters():
        torch.nn.init.normal_(parameter)
    slots = {"score": score, "normalizer": draw(st.sampled_from(NORMALIZERS))}
    bias = draw(st.sampled_from(["none", "tensor", "row", "forbidding", *BIASES]))
    if bias in BIASES:
        slots["bias"] = build_bias(bias, heads=heads).double()
        for parameter in slots["bias"].parameters():
            torch.nn.init.normal_(parameter)
    elif bias in ("tensor", "row", "forbidding"):
        size = (heads, 1 if bias == "row" else queries, keys)
        slots["bias"] = torch.randn(size).double()
        if bias == "forbidding":
            slots["bias"][torch.rand(size) < 0.2] = -math.inf
        slots["bias"].requires_grad_()
    parts = leaf(batch, heads, queries, keys)
    mask = draw(st.recursive(parts, composed, max_leaves=5))
    limits = draw(st.lists(st.one_of(*LIMITED), max_size=3))
    if limits:  # few masks limit their queries by chance
        limit = limits[0]
        for other in limits[1:]:
            limit = limit | other
        mask = mask & limit if draw(st.booleans()) else limit
    if draw(st.booleans()):
        mask = mask & Mask.lengths(torch.randint(keys // 2, keys + 1, (batch,)))
    return given, slots, mask


def asked(given, slots, mask, need, kernel):
    """All that comes out, and every gradient."""
    out = qkv.attend(*given, mask=mask, need=need, kernel=kernel, **slots)
    bias = slots.get("bias")
    learned = list(bias.parameters()) if isinstance(bias, torch.nn.Module) else [bias]
    learned = [*given, *slots["score"].parameters(), *(b for b in learned if b is not None)]
    torch.manual_seed(5)
    read = (out.context * torch.randn(out.context.shape).double()).sum()
    stats = out.log_normalizer
    if stats is not None:
        read = read + stats.masked_fill(stats.isneginf(), 0).sum()
    if out.weights is not None:
        read = read + out.weights.square().sum()
    grads = torch.autograd.grad(read, learned, allow_unused=True)
    return [*out, *(g for g in grads if g is not None)]


@given(case=attentions(), need=st.sampled_from(["context", "weights", "stats"]))
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@pytest.mark.parametrize("kernel", ["auto", "sparse"])
def test_every_kernel_gives_what_the_reference_gives_and_its_gradients(kernel, case, need):
    """Sums of at most 40 terms below 100, through entmax's root: 1e-9 is 10^4 such roundings."""
    given, slots, mask = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qkv.attention.tiles.SMALLEST", 1)
        patch.setattr("qkv.attention.tiles.WORTH", {"fused": 10, "composed": 10})
        try:
            mine = asked(given, slots, mask, need, kernel)
        except ValueError as refusal:
            assert kernel == "sparse" and "no mask limits to some keys" in str(refusal)
            return
    want = asked(given, slots, mask, need, "reference")
    assert len(mine) == len(want)
    for left, right in zip(mine, want, strict=True):
        assert (left is None) == (right is None)
        if left is not None:
            assert_close(left, right, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("need", ["context", "weights", "stats"])
@pytest.mark.parametrize("last", [20, 13])
def test_a_batch_that_the_mask_alone_has_survives_where_some_tiles_forbid_nothing(need, last):
    """The row of a global query may meet all: its tile alone has no batch."""
    x = torch.randn(1, 1, 20, WIDTH).double()
    mask = Mask.window(2, 2) | Mask.global_([3])
    mask = Mask.lengths(torch.tensor([20, last])) & mask
    sparse = qkv.attend(x, x, x, mask=mask, need=need, kernel="sparse")
    dense = qkv.attend(x, x, x, mask=mask, need=need, kernel="reference")
    for mine, want in zip(sparse, dense, strict=True):
        if want is not None:  # sums of 20 terms below 10
            assert_close(mine, want, atol=20 * 10 * 2.3e-16 * 5, rtol=0)
