"""The plain case, told at a glance, is what the general way gives; the rest goes that way."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention import plain
from qkv.attention.slots import fill
from qkv.attention.work import whole

B, H, T, S, D = 2, 3, 5, 7, 11


def tensors(queries=T, keys=S, dtype=torch.float64):
    torch.manual_seed(0)
    return [torch.randn(B, H, n, D, dtype=dtype) for n in (queries, keys, keys)]


def generally(query, key, value, score="scaled_dot", mask=None):
    """What attend() would give if nothing were plain."""
    slots = fill(score, None, "softmax", None)
    return qkv.attention.kernels.run("auto", whole(slots, query, key, value, mask, "context"))


MASKS = {
    "none": (T, S, None),
    "causal": (S, S, Mask.causal()),
    "a step behind a cache": (1, S, Mask.causal(S - 1)),
    "lengths, all full": (T, S, Mask.lengths(torch.tensor([S, S]))),
    "both": (S, S, Mask.causal() & Mask.lengths(torch.tensor([S, S]))),
}


@pytest.fixture
def taken(monkeypatch):
    """How often the fused operator was called at a glance."""
    calls = []
    fused = plain._fused

    def spy(*given):
        found = fused(*given)
        calls.append(found is not None)
        return found

    monkeypatch.setattr(plain, "_fused", spy)
    return calls


@pytest.mark.parametrize("score", ["dot", "scaled_dot"])
@pytest.mark.parametrize("name", MASKS)
def test_context_and_gradients_are_those_of_the_general_way(name, score, taken):
    queries, keys, mask = MASKS[name]
    found, expected = [], []
    module = qkv.Attention(score=score)
    for way, results in (
        (lambda *given: qkv.attend(*given, score=score, mask=mask), found),
        (lambda *given: module(*given, mask=mask), found),
        (lambda *given: generally(*given, score, mask), expected),
    ):
        given = [tensor.requires_grad_() for tensor in tensors(queries, keys)]
        context = way(*given).context
        first = torch.autograd.grad(context.square().sum(), given, create_graph=True)
        second = torch.autograd.grad(sum(part.square().sum() for part in first), given)
        results.append((context, *first, *second))
    assert taken == [True, True]
    for results in found:
        for one, other in zip(results, expected[0], strict=True):
            assert_close(one, other, rtol=0, atol=0)


def test_three_dimensions_are_one_head(taken):
    query, key, value = (tensor[:, 0] for tensor in tensors())
    found = qkv.attend(query, key, value).context
    assert taken == [True]
    assert_close(found, generally(query, key, value).context, rtol=0, atol=0)


def test_prepared_keys_and_heads_are_asked_at_a_glance_too(taken):
    query, key, value = tensors()
    module = qkv.Attention()
    out = module.attend(query, module.prepare(key, value))
    assert_close(out.context, generally(query, key, value).context, rtol=0, atol=0)
    layer = qkv.MultiHeadAttention(12, 3).double()
    inputs = torch.randn(B, T, 12, dtype=torch.float64)
    some = layer(inputs, mask=Mask.causal())
    assert taken == [True, True]
    shown = layer(inputs, mask=Mask.causal(), need="weights")
    assert_close(some.context, shown.context, rtol=0, atol=0)
    assert taken == [True, True]


def test_a_query_that_is_not_finite_has_no_context_and_a_lost_row_alone():
    query, key, value = tensors()
    query[1, 2, 3, 4] = torch.nan
    context = qkv.attend(query, key, value).context
    assert context[1, 2, 3].isnan().all()
    assert context.isnan().sum() == D


NOT_PLAIN = {
    "two dimensions": lambda q, k, v: qkv.attend(q[0, 0], k[0, 0], v[0, 0]),
    "one batch of keys for all": lambda q, k, v: qkv.attend(q, k[:1], v[:1]),
    "values of another width": lambda q, k, v: qkv.attend(q, k, v[..., :5]),
    "half precision": lambda q, k, v: qkv.attend(q.bfloat16(), k.bfloat16(), v.bfloat16()),
    "weights": lambda q, k, v: qkv.attend(q, k, v, need="weights"),
    "a kernel by name": lambda q, k, v: qkv.attend(q, k, v, kernel="reference"),
    "another score": lambda q, k, v: qkv.attend(q, k, v, score="cosine"),
    "another normalizer": lambda q, k, v: qkv.attend(q, k, v, normalizer="sparsemax"),
    "a temperature": lambda q, k, v: qkv.Attention(normalizer=qkv.normalizers.Softmax(2.0))(
        q, k, v
    ),
    "a bias": lambda q, k, v: qkv.attend(q, k, v, bias=q.new_ones(T, S)),
    "dropout": lambda q, k, v: qkv.Attention(dropout=0.5).train()(q, k, v),
    "lengths": lambda q, k, v: qkv.attend(q, k, v, mask=Mask.lengths(torch.tensor([S, 2]))),
    "a mask for each query": lambda q, k, v: (a := qkv.Attention()).attend(
        q, a.prepare(k, v, mask=Mask.causal())
    ),
}


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_what_is_not_plain_goes_the_general_way(name, taken):
    NOT_PLAIN[name](*tensors())
    assert not any(taken)


WRONG = {
    "a list": (lambda q, k, v: qkv.attend([1.0], k, v), "query is a list"),
    "ids": (lambda q, k, v: qkv.attend(q, k.long(), v.long()), "floating-point"),
    "widths": (lambda q, k, v: qkv.attend(q[..., :5], k, v), "width 11"),
    "dtypes": (lambda q, k, v: qkv.attend(q, k.float(), v), "convert one"),
    "keys and values": (lambda q, k, v: qkv.attend(q, k, v[:, :, :3]), "every key needs a value"),
    "batches": (lambda q, k, v: qkv.attend(q, k[:, :2], v[:, :2]), "leading dimensions"),
    "no keys": (lambda q, k, v: qkv.attend(q, k[:, :, :0], v[:, :, :0]), "length and dim"),
    "no queries": (lambda q, k, v: qkv.attend(q[:, :, :0], k, v), "length and dim"),
    "a bare mask": (lambda q, k, v: qkv.attend(q, k, v, mask=q > 0), "two ways"),
    "too long": (
        lambda q, k, v: qkv.attend(q, k, v, mask=Mask.lengths(torch.tensor([S, S + 1]))),
        "8 keys for batch item 1",
    ),
    "need": (lambda q, k, v: qkv.attend(q, k, v, need="all"), "need is one of"),
    "kernel": (lambda q, k, v: qkv.attend(q, k, v, kernel="fast"), "unknown kernel"),
    "score": (lambda q, k, v: qkv.attend(q, k, v, score="dots"), "score"),
    "positions": (
        lambda q, k, v: qkv.Attention()(q, k, v, positions=torch.arange(3)),
        "positions say",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_after_a_call_that_was_right(name):
    given = tensors()
    qkv.attend(*given)
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        call(*given)


LARGE = 2, 8, 173, 64  # as many numbers as are looked at by their log-normalisers


@pytest.mark.parametrize("learns", [False, True])
def test_a_large_query_that_is_not_a_number_loses_its_own_row_alone(learns, taken):
    torch.manual_seed(0)
    query, key, value = torch.randn(*LARGE), torch.randn(2, 8, S, 64), torch.randn(2, 8, S, 64)
    assert query.numel() >= plain._LARGE
    expected = generally(query, key, value).context
    query[1, 2, 1, 5] = torch.nan
    value.requires_grad_(learns)
    found = qkv.attend(query, key, value).context.detach()
    assert taken == [True]
    assert found[1, 2, 1].isnan().all()
    rest = torch.ones(LARGE[:3], dtype=torch.bool)
    rest[1, 2, 1] = False
    assert_close(found[rest], expected[rest], rtol=0, atol=0)


def test_a_large_query_has_the_gradients_of_the_general_way():
    torch.manual_seed(0)
    results = []
    given = [torch.randn(*LARGE) for _ in range(3)]
    for way in (qkv.attend, generally):
        own = [tensor.clone().requires_grad_() for tensor in given]
        context = way(*own, mask=Mask.causal()).context
        results.append((context.detach(), *torch.autograd.grad(context.square().sum(), own)))
    for one, other in zip(*results, strict=True):
        assert_close(one, other, rtol=0, atol=0)


def test_large_queries_of_zeros_that_meet_one_key_read_it():
    """Their log-normaliser is 0, as that of a row that is lost."""
    value, query = torch.randn(2, 8, 1, 64), torch.zeros(*LARGE)
    found = qkv.attend(query, torch.randn(2, 8, 1, 64), value).context
    assert_close(found, value.expand_as(query), rtol=0, atol=0)
