"""Masks: the patterns, their algebra, and what a caller can get wrong."""

from __future__ import annotations

import pytest
import torch
from attention_masks import CASES, LENGTHS, PER_ITEM, dense
from attention_oracle import B, H, S, T
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention.masks import MASKS
from qkv.attention.masks.mask import align
from qkv.attention.masks.visible import visible


@pytest.mark.parametrize("case", [case for case in CASES if case != "none"])
def test_a_mask_is_its_rule_asked_pair_by_pair(case):
    mask, rule = CASES[case]
    drawn = align(mask.dense(T, S), 2).expand(B, H, T, S)
    assert torch.equal(drawn, dense(rule))


@given(T=st.integers(1, 6), S=st.integers(1, 6), offset=st.integers(-7, 7))
def test_causal_is_j_at_most_i_plus_offset(T, S, offset):
    drawn = Mask.causal(offset).dense(T, S)
    assert drawn.tolist() == [[j <= i + offset for j in range(S)] for i in range(T)]


def test_keep_and_drop_are_opposites():
    assert torch.equal(Mask.keep(PER_ITEM).dense(T, S), ~Mask.drop(PER_ITEM).dense(T, S))


PATTERN = st.one_of(
    st.tuples(st.integers(-2, 3), st.integers(2, 5)).map(lambda sides: Mask.window(*sides)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)).map(lambda sizes: Mask.dilated(*sizes)),
    st.integers(1, 4).map(Mask.strided),
    st.integers(1, 6).map(Mask.block),
    st.lists(st.integers(0, 6), min_size=1).map(Mask.global_),
    st.tuples(st.integers(1, 6), st.integers(0, 2**40)).map(lambda given: Mask.random(*given)),
)


def masks(batch: int, queries: int, keys: int) -> st.SearchStrategy[Mask]:
    """Any composition of masks for this size."""

    def keep(seed: int) -> Mask:
        generator = torch.Generator().manual_seed(seed)
        shape = [(batch, queries, keys), (queries, keys), (batch, 1, keys), (queries, 1)][seed % 4]
        return Mask.keep(torch.rand(shape, generator=generator) < 0.6)

    leaves = st.one_of(
        st.integers(-3, 3).map(Mask.causal),
        st.lists(st.integers(0, keys), min_size=batch, max_size=batch)
        .map(torch.tensor)
        .map(Mask.lengths),
        st.integers(0, 10**6).map(keep),
        PATTERN,
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
            st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
            inner.map(lambda mask: ~mask),
        ),
        max_leaves=4,
    )


def full(mask: Mask, batch: int = 3, queries: int = 4, keys: int = 5) -> torch.Tensor:
    return align(mask.dense(queries, keys), 1).expand(batch, queries, keys)


@given(masks(3, 4, 5), masks(3, 4, 5))
def test_masks_are_a_boolean_algebra(a, b):
    assert torch.equal(full(a & b), full(a) & full(b))
    assert torch.equal(full(a | b), full(a) | full(b))
    assert torch.equal(full(~a), ~full(a))
    assert torch.equal(full(~(a & b)), full(~a | ~b))


@given(masks(3, 4, 5), st.lists(st.integers(0, 2), min_size=1, max_size=5))
def test_selecting_batch_items_selects_them_in_the_mask(mask, rows):
    rows = torch.tensor(rows)
    assert torch.equal(full(mask.select(rows), batch=len(rows)), full(mask)[rows])


@given(masks(3, 4, 5))
def test_a_mask_that_looks_at_keys_alone_is_the_same_for_every_query(mask):
    if mask.same_for_every_query:
        assert torch.equal(full(mask), full(mask)[:, :1].expand(3, 4, 5))


@given(masks(3, 4, 5))
def test_every_key_that_some_query_meets_is_reachable(mask):
    met = full(mask).any(-2)
    reachable = align(mask.reachable(5), 1, core=1).expand(3, 5)
    assert not (met & ~reachable).any()


@given(masks(3, 4, 5))
def test_a_mask_that_says_it_forbids_nothing_does_not(mask):
    if mask.forbids_nothing(4, 5):
        assert full(mask).all()


@given(T=st.integers(1, 5), S=st.integers(1, 5), offset=st.integers(-6, 6))
def test_causal_knows_without_drawing_when_it_forbids_nothing(T, S, offset):
    mask = Mask.causal(offset)
    assert mask.forbids_nothing(T, S) == bool(mask.dense(T, S).all())


@pytest.mark.parametrize("keys", [4, 5])
@pytest.mark.parametrize(
    "mask",
    [
        Mask.causal(),
        Mask.causal(-1),
        Mask.causal(1),
        Mask.window(3, 0),
        Mask.window(2, 0),
        Mask.causal() & Mask.lengths(torch.tensor([5, 4])),
        Mask.causal() & Mask.lengths(torch.tensor([5, 3])),
        Mask.causal(1) & Mask.causal(),
    ],
    ids=str,
)
def test_a_triangle_is_known_without_drawing_it_only_where_it_is_one(mask, keys):
    """Every kernel reads the same triangle, so it is held to the mask's own drawing."""
    drawing = mask.dense(4, keys)
    triangle = torch.ones(4, keys).tril().bool()
    if mask.triangular(4, keys):
        assert keys == 4
        assert torch.equal(drawing, triangle.expand_as(drawing))


def test_an_unreachable_key_of_lengths_stays_unreachable_beside_a_causal_mask():
    both = Mask.lengths(LENGTHS) & Mask.causal()
    assert torch.equal(both.reachable(S), Mask.lengths(LENGTHS).reachable(S))


@given(masks(3, 4, 5))
def test_dead_rows_and_hidden_columns_are_found(mask):
    keep = full(mask)
    seen = visible(keep)
    dead, hidden = ~keep.any(-1, keepdim=True), ~keep.any(-2)
    if seen is None:
        assert keep.all()
        return
    assert torch.equal(seen.allowed, keep | dead)
    assert torch.equal(torch.zeros_like(dead) if seen.dead is None else seen.dead, dead)
    assert torch.equal(torch.zeros_like(hidden) if seen.hidden is None else seen.hidden, hidden)


def test_lengths_serve_any_number_of_heads():
    """[batch] is read as the first leading dimension, also where heads come after it."""
    torch.manual_seed(0)
    query, key = torch.randn(3, 3, T, 5), torch.randn(3, 3, S, 5)  # as many heads as items
    lengths = torch.tensor([1, 4, 7])
    out = qkv.attend(query, key, mask=Mask.lengths(lengths), need="weights")
    for b, h in [(b, h) for b in range(3) for h in range(3)]:
        n = int(lengths[b])
        alone = qkv.attend(query[b, h], key[b, h, :n], need="weights")
        assert_close(out.weights[b, h, :, :n], alone.weights)
        assert not out.weights[b, h, :, n:].any()


def test_density_is_the_share_of_pairs_kept():
    assert Mask.causal().density(4, 4) == 10 / 16
    assert Mask.lengths(torch.tensor([1, 3])).density(5, 4) == 4 / 8


def test_a_printed_mask_shows_its_rule():
    assert str(Mask.causal().draw(2, 3)) == (
        "Mask.causal()  2 queries x 3 keys, 50% kept\n\n■ · ·\n■ ■ ·"
    )
    lines = str(Mask.lengths(torch.tensor([2, 0])) & Mask.causal()).splitlines()
    assert lines[0] == "(Mask.lengths([2, 0]) & Mask.causal())  2 queries x 2 keys, 38% kept"
    assert lines[2:] == ["■ ·", "■ ■", "", "· ·", "· ·"]


def test_a_large_mask_is_printed_in_part_and_says_so():
    text = str(Mask.lengths(torch.arange(1, 61)))
    assert "the first 48 shown" in text
    assert text.endswith("... and 57 more")


@pytest.mark.parametrize("name", MASKS)
def test_every_mask_in_the_registry_can_be_built(name):
    assert hasattr(Mask, name)


@pytest.mark.parametrize("convention", [Mask.keep, Mask.drop])
@pytest.mark.parametrize("tensor", [torch.ones(T, S), torch.ones(T, S).long(), [[True]]])
def test_zeros_and_ones_are_refused_as_a_mask(convention, tensor):
    with pytest.raises(ValueError, match=r"takes a boolean tensor, got .*bias"):
        convention(tensor)


@pytest.mark.parametrize("mask", [torch.ones(T, S).bool(), torch.zeros(T, S), "causal", True])
def test_a_bare_mask_is_refused_and_both_readings_are_named(mask):
    with pytest.raises(ValueError, match=r"Mask\.keep.*Mask\.drop"):
        qkv.attend(torch.randn(T, 3), torch.randn(S, 3), mask=mask)


def test_a_padding_mask_without_a_dimension_for_queries_is_refused():
    mask = Mask.keep(torch.ones(2, S).bool())
    with pytest.raises(ValueError, match=r"Mask\.keep\(mask\[:, None, :\]\)"):
        qkv.attend(torch.randn(2, T, 3), torch.randn(2, S, 3), mask=mask)


def test_a_mask_over_keys_alone_is_refused():
    with pytest.raises(ValueError, match=r"t\[None, :\]"):
        Mask.keep(torch.ones(S).bool())


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.tensor([[1, 2]]), "one integer a batch item"),
        (torch.tensor([1.0, 2.0]), "one integer a batch item"),
        (torch.tensor([True]), "one integer a batch item"),
        ([1, 2], "one integer a batch item"),
        (torch.tensor([1, -2]), "0 or more"),
    ],
)
def test_lengths_that_are_none_are_refused(lengths, message):
    with pytest.raises(ValueError, match=message):
        Mask.lengths(lengths)


def test_a_mask_for_another_batch_is_refused():
    mask = Mask.lengths(torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match="leading dimensions do not fit"):
        qkv.attend(torch.randn(2, T, 3), torch.randn(2, S, 3), mask=mask)


def test_a_mask_with_a_batch_is_refused_where_there_is_none():
    with pytest.raises(ValueError, match="leading dimension"):
        qkv.attend(torch.randn(T, 3), torch.randn(S, 3), mask=Mask.lengths(torch.tensor([1, 2])))


def test_combining_a_mask_with_a_tensor_or_by_a_keyword_is_refused():
    with pytest.raises(ValueError, match="masks combine with masks"):
        Mask.causal() & torch.ones(T, S).bool()
    with pytest.raises(ValueError, match="not with and, or, not"):
        Mask.causal() and Mask.causal(1)
