"""Weights, of all or of some heads and queries, beside a context that they do not change."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import qkv
from qkv import Mask, WeightsOf

T = 211
MASKS = {
    "open": None,
    "causal": Mask.causal(),
    "before": Mask.causal(-1),
    "lengths": Mask.lengths(torch.tensor([T, 13])),
    "dead rows": Mask.causal(-1) & Mask.lengths(torch.tensor([T, 13])),
    "full": Mask.causal() & Mask.lengths(torch.tensor([T, T])),
    "window": Mask.window(5, 3),
    "window and lengths": Mask.window(5, -2) & Mask.lengths(torch.tensor([T, 13])),
    "sparse": Mask.window(2, 2) | Mask.global_([7]),
}
SCORES = {"scaled_dot": "scaled_dot", "additive": qkv.scores.Additive(7, 7, hidden=5).double()}


def tensors():
    return [torch.randn(2, 3, T, 7, dtype=torch.float64, requires_grad=True) for _ in range(3)]


@pytest.mark.parametrize("need", ["weights", "stats", WeightsOf([2, 0]), WeightsOf([1], [9, 4])])
@pytest.mark.parametrize("name", ["open", "causal", "lengths", "dead rows", "full", "window"])
@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
def test_asking_changes_no_bit_of_the_context_of_the_dot_family(name, need, recorded):
    with torch.set_grad_enabled(recorded):
        given = tensors()
        alone = qkv.attend(*given, mask=MASKS[name]).context
        assert torch.equal(qkv.attend(*given, mask=MASKS[name], need=need).context, alone)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("name", MASKS)
def test_chosen_weights_are_those_rows_of_all_weights(name, score):
    given = tensors()
    slots = {"mask": MASKS[name], "score": SCORES[score]}
    every = qkv.attend(*given, **slots, need="weights", kernel="reference").weights
    for heads, queries in (([2, 0], [T - 1, 0, 9]), (None, [3, 3]), ([1], None), (None, None)):
        found = qkv.attend(*given, **slots, need=WeightsOf(heads, queries)).weights
        wanted = every if heads is None else every[:, heads]
        assert_close(found, wanted if queries is None else wanted[..., queries, :])


@pytest.mark.parametrize("name", MASKS)
def test_chosen_weights_have_their_gradients(name):
    given = tensors()
    chosen = qkv.attend(*given, mask=MASKS[name], need=WeightsOf([1], [4, 9])).weights
    every = qkv.attend(*given, mask=MASKS[name], need="weights", kernel="reference").weights
    rows = every[:, [1]][..., [4, 9], :]
    first, second = (
        torch.autograd.grad(part.square().sum(), given[:2]) for part in (chosen, rows)
    )
    for found, wanted in zip(first, second, strict=True):
        assert_close(found, wanted)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
def test_the_log_normalizer_beside_a_fused_context_is_the_references(name, recorded):
    with torch.set_grad_enabled(recorded):
        given = tensors()
        found = qkv.attend(*given, mask=MASKS[name], need="stats").log_normalizer
        wanted = qkv.attend(*given, mask=MASKS[name], need="stats", kernel="reference")
        assert_close(found, wanted.log_normalizer)


@pytest.mark.parametrize("linear", [False, True], ids=["dot", "linear"])
def test_a_layer_passes_the_choice_on(linear):
    attention = qkv.LinearAttention(features="elu") if linear else None
    layer = qkv.MultiHeadAttention(12, heads=3, kv_heads=1, attention=attention)
    inputs = torch.randn(2, 5, 12)
    every = layer(inputs, mask=Mask.causal(), need="weights")
    some = layer(inputs, mask=Mask.causal(), need=WeightsOf([2], [4, 1]))
    assert torch.equal(some.context, every.context)
    assert_close(some.weights, every.weights[:, [2]][..., [4, 1], :])


def test_weights_of_a_bias_are_those_rows_too():
    query, key, value = tensors()
    bias = torch.randn(3, T, 1, dtype=torch.float64) + torch.randn(T, dtype=torch.float64)
    every = qkv.attend(query, key, value, bias=bias, need="weights", kernel="reference").weights
    some = qkv.attend(query, key, value, bias=bias, need=WeightsOf([2], [8])).weights
    assert_close(some, every[:, [2]][..., [8], :])


@pytest.mark.parametrize(
    ("heads", "queries", "message"),
    [
        ([3], None, "there are 3 heads, got 3"),
        (None, [0, T], f"there are {T} queries, got {T}"),
        ([-1], None, "whole numbers from 0 on"),
        ([], None, "at least one"),
        (None, [True], "whole numbers"),
    ],
)
def test_a_head_or_query_that_is_not_there_is_refused(heads, queries, message):
    with pytest.raises(ValueError, match=message):
        qkv.attend(*tensors(), need=WeightsOf(heads, queries))


def test_heads_are_refused_where_there_is_only_a_batch():
    with pytest.raises(ValueError, match="leave heads=None"):
        qkv.attend(torch.randn(2, 3, 5), torch.randn(2, 3, 5), need=WeightsOf([0]))
