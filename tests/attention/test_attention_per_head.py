"""A mask a head: drawn, in tiles, beside padding, and what it refuses."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention.masks.reach import Blocks

B, H, T, S = 2, 3, 53, 59
LENGTHS = torch.tensor([31, 59])
PARTS = {
    "window": lambda: Mask.window(5, 2),
    "strided": lambda: Mask.strided(13),
    "global": lambda: Mask.global_([0, 17]),
    "random": lambda: Mask.random(2, 3),
    "around": lambda: Mask.around(torch.linspace(0, 90, B * T).reshape(B, T), 3),
    "padded": lambda: Mask.lengths(LENGTHS) & Mask.block(11),
    "longformer": lambda: qkv.masks.longformer(3, [20]),
}
mixtures = st.lists(st.sampled_from(sorted(PARTS)), min_size=H, max_size=H)


def inputs():
    torch.manual_seed(1)
    sizes = ((T, 5), (S, 5), (S, 7))
    return [torch.randn(B, H, *size, dtype=torch.float64, requires_grad=True) for size in sizes]


def found(tensors, out):
    torch.manual_seed(2)
    return [out, *torch.autograd.grad(out, tensors, torch.randn(out.shape).double())]


@given(parts=mixtures)
@settings(max_examples=15)
def test_each_head_follows_its_own_mask_dense_and_in_tiles_beside_padding(parts):
    """Head by head, each alone with its mask; sums of 59 terms of size 10: 59 * 10 * 2e-16."""
    masks, padding = [PARTS[part]() for part in parts], Mask.lengths(LENGTHS)
    tensors = inputs()
    alone = [
        qkv.attend(*(t[:, h : h + 1] for t in tensors), mask=mask & padding, kernel="reference")
        for h, mask in enumerate(masks)
    ]
    want = found(tensors, torch.cat([out.context for out in alone], 1))
    for kernel in ("sparse", "reference"):
        mask = Mask.per_head(masks) & padding
        mine = found(tensors, qkv.attend(*tensors, mask=mask, kernel=kernel).context)
        for one, other in zip(mine, want, strict=True):
            assert_close(one, other, atol=2e-13, rtol=0)


@given(parts=mixtures, size=st.sampled_from([1, 8, 32]))
@settings(max_examples=30)
def test_no_key_that_a_head_may_meet_is_left_out_and_none_comes_twice(parts, size):
    mask = Mask.per_head([PARTS[part]() for part in parts])
    reach = mask.reach(Blocks(size, T, S, 2, torch.device("cpu")))
    if reach is None:  # one of them may meet most keys: all pairs are drawn
        return
    assert reach.keys.shape[2] == H
    met = mask.dense(T, S).expand(B, H, T, S)
    whole = set() if reach.whole is None else set(reach.whole.tolist())
    keys = reach.keys.expand(B, -1, -1, -1)
    for b, block, h in itertools.product(*map(range, keys.shape[:3])):
        columns = [j for j in keys[b, block, h].tolist() if j < S]
        assert len(columns) == len(set(columns))
        for i in set(range(block * size, min(T, (block + 1) * size))) - whole:
            assert set(met[b, h, i].nonzero().flatten().tolist()) <= set(columns)


def test_heads_with_few_keys_each_never_make_all_pairs():
    """The heads of Child et al. (2019), figure 3: local ones and strided ones."""
    x = torch.randn(1, 2, 4096, 8)
    mask = Mask.per_head([Mask.window(64, 0), Mask.strided(64) & Mask.causal()])
    assert qkv.plan(x, x, x, mask=mask).kernel == "sparse"
    assert mask.reach(Blocks(1, 4096, 4096, 2, x.device)).keys.shape[-1] <= 65


@pytest.mark.parametrize("kernel", ["reference", "sparse"])
def test_a_row_that_is_dead_in_one_head_lives_in_the_others(kernel):
    masks = [Mask.window(1, 1), Mask.window(-2, 3) & Mask.lengths(torch.tensor([9, 4]))]
    x = torch.randn(2, 2, 11, 3).double()
    out = qkv.attend(x, x, x, mask=Mask.per_head(masks), need="weights", kernel=kernel)
    dead = ~torch.stack([mask.dense(11, 11).expand(2, 11, 11) for mask in masks], 1).any(-1)
    assert dead[:, 1].any()
    assert not dead[:, 0].any()
    assert_close(out.weights.sum(-1), (~dead).double())
    assert not out.context[dead].any()


def test_the_leading_dimensions_after_the_heads_share_a_heads_mask():
    x = torch.randn(2, 3, 5, 23, 4).double()
    masks = [Mask.window(1, 1), Mask.strided(4), Mask.block(5)]
    for kernel in ("reference", "sparse"):
        out = qkv.attend(x, x, x, mask=Mask.per_head(masks), kernel=kernel).context
        for h, mask in enumerate(masks):
            alone = qkv.attend(*(x[:, h],) * 3, mask=mask, kernel="reference").context
            assert_close(out[:, h], alone, atol=1e-13, rtol=0)


def test_what_is_asked_of_the_whole_is_asked_of_each():
    lengths = Mask.lengths(torch.tensor([2, 3]))
    keep = Mask.keep(torch.eye(4, dtype=torch.bool))
    mask = Mask.per_head([lengths, keep])
    assert repr(mask) == "Mask.per_head([Mask.lengths([2, 3]), Mask.keep([4, 4])])"
    assert mask.size() == (4, 4)
    assert not mask.same_for_every_query
    assert Mask.per_head([lengths, ~lengths]).same_for_every_query
    want = torch.stack([lengths.dense(4, 4), keep.dense(4, 4).expand(2, 4, 4)], 1)
    assert torch.equal(mask.dense(4, 4), want)
    assert torch.equal(mask.select(torch.tensor([1, 1, 0])).dense(4, 4), want[[1, 1, 0]])
    assert torch.equal(mask.reachable(4), want.any(-2))
    assert Mask.per_head([Mask.causal(3), Mask.causal(7)]).forbids_nothing(1, 4)
    assert not Mask.per_head([Mask.causal(3), Mask.causal(2)]).forbids_nothing(1, 4)
    assert "■" in mask.draw()


def test_one_mask_serves_any_number_of_heads():
    x = torch.randn(2, 3, 17, 4)
    for kernel in ("reference", "sparse"):
        out = qkv.attend(x, x, mask=Mask.per_head([Mask.window(1, 1)]), kernel=kernel)
        want = qkv.attend(x, x, mask=Mask.window(1, 1), kernel=kernel)
        # Tiles and bands add up 3 float32 terms, no larger than 4, in another order.
        assert_close(out.context, want.context, atol=3 * 4 * 2**-23, rtol=0)


@pytest.mark.parametrize("kernel", ["auto", "reference", "sparse"])
def test_another_number_of_heads_is_refused(kernel):
    x = torch.randn(2, 3, 17, 4)
    for parts in ([Mask.window(1, 1), Mask.strided(3)], [Mask.block(2) & Mask.window(-1, 1)] * 2):
        with pytest.raises(ValueError, match=r"leading dimensions do not fit.*mask \[1, 2, "):
            qkv.attend(x, x, mask=Mask.per_head(parts), kernel=kernel)


def test_another_number_of_heads_is_refused_where_the_keys_are_prepared():
    x, attention = torch.randn(2, 3, 7, 4), qkv.Attention()
    near = Mask.around(torch.full((7,), 5.0), 1)  # it hides key 0, as is seen when queries come
    hides = Mask.per_head([Mask.causal(), near])
    with pytest.raises(ValueError, match="leading dimensions do not fit"):
        attention.attend(x, attention.prepare(x, mask=hides))


@pytest.mark.parametrize("kernel", ["reference", "sparse"])
def test_queries_without_heads_are_refused(kernel):
    x = torch.randn(2, 17, 4)
    mask = Mask.per_head([Mask.window(1, 1), Mask.strided(3)])
    with pytest.raises(ValueError, match=r"1 leading dimension|have 1: give"):
        qkv.attend(x, x, mask=mask, kernel=kernel)


@pytest.mark.parametrize("kernel", ["reference", "sparse"])
def test_a_part_that_tells_heads_apart_itself_is_refused(kernel):
    x = torch.randn(2, 3, 17, 4)
    around = Mask.around(torch.rand(2, 3, 17) * 17, 1)
    nested = Mask.per_head([Mask.window(1, 1)] * 3)
    for part in (around, nested):
        with pytest.raises(ValueError, match="cannot tell heads apart itself"):
            qkv.attend(x, x, mask=Mask.per_head([part, Mask.block(2), part]), kernel=kernel)


@pytest.mark.parametrize("given", [[], [Mask.causal(), torch.ones(2, 2).bool()], ["causal"]])
def test_what_is_no_mask_is_refused(given):
    with pytest.raises(ValueError, match=r"Mask\.per_head takes one mask for each head"):
        Mask.per_head(given)


def test_linear_attention_takes_padding_of_each_head_and_refuses_the_rest():
    x = torch.randn(2, 2, 7, 4).double()
    parts = [Mask.lengths(torch.tensor([3, 7])), Mask.lengths(torch.tensor([5, 2]))]
    out = qkv.linear_attend(x, x, mask=Mask.per_head(parts)).context
    for h, part in enumerate(parts):
        alone = qkv.linear_attend(x[:, h], x[:, h], mask=part).context
        assert_close(out[:, h], alone, atol=1e-14, rtol=0)
    with pytest.raises(ValueError, match=r"cannot follow the mask Mask\.per_head"):
        qkv.linear_attend(x, x, mask=Mask.per_head([Mask.causal(), Mask.window(1, 0)]))
