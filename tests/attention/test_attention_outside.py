"""Against torch's own attention, in both of its mask conventions."""

from __future__ import annotations

import math

import pytest
import torch
from attention_oracle import ONE_WIDTH
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention.scores import SCORES, build

sizes = st.integers(1, 5)


@given(batch=st.integers(1, 3), T=sizes, S=sizes, dim=sizes, read=sizes, seed=st.integers(0, 9999))
@pytest.mark.parametrize("kernel", ["sdpa", "reference"])
def test_scaled_dot_is_torchs_and_keep_is_its_mask(kernel, batch, T, S, dim, read, seed):
    """Any size from 1 on; True in torch's mask = may attend."""
    torch.manual_seed(seed)
    query, key = torch.randn(batch, 2, T, dim).double(), torch.randn(batch, 2, S, dim).double()
    value = torch.randn(batch, 2, S, read).double()
    keep = torch.rand(batch, 1, T, S) < 0.6
    out = qkv.attend(query, key, value, mask=Mask.keep(keep), kernel=kernel)
    assert_close(out.context, F.scaled_dot_product_attention(query, key, value, attn_mask=keep))


@given(T=sizes, S=sizes, query_dim=sizes, key_dim=sizes, hidden=sizes, read=sizes)
@pytest.mark.parametrize("name", SCORES)
def test_any_size_from_one_on_is_softmax_of_the_energies_times_the_values(
    name, T, S, query_dim, key_dim, hidden, read
):
    key_dim = query_dim if name in ONE_WIDTH else key_dim
    score = build(name, query_dim=query_dim, key_dim=key_dim, hidden=hidden).double()
    query, key = torch.randn(T, query_dim).double(), torch.randn(S, key_dim).double()
    value = torch.randn(S, read).double()
    expected = torch.softmax(score(query, score.prepare(key)), -1) @ value
    for need in ("context", "weights", "stats"):
        assert_close(qkv.attend(query, key, value, score=score, need=need).context, expected)


def test_a_float_mask_of_torch_is_a_bias():
    query, key, value = (torch.randn(2, 3, n, 7).double() for n in (5, 6, 6))
    added = torch.randn(2, 1, 5, 6).double()
    added[..., 2] = -math.inf
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=added)
    assert_close(qkv.attend(query, key, value, bias=added).context, expected)


@pytest.mark.parametrize("T", [1, 3, 5])
def test_causal_is_torchs_when_the_lengths_are_equal_and_ends_with_the_last_key_with_a_cache(T):
    query, key, value = (torch.randn(2, 3, n, 7).double() for n in (T, 5, 5))
    whole_query = torch.cat([torch.randn(2, 3, 5 - T, 7).double(), query], dim=2)
    whole = F.scaled_dot_product_attention(whole_query, key, value, is_causal=True)
    last = qkv.attend(query, key, value, mask=Mask.causal(5 - T)).context
    assert_close(last, whole[:, :, 5 - T :])


def test_drop_is_the_mask_of_torchs_multihead_attention():
    """Hand the same projections to both; True in nn.MultiheadAttention's mask = may not."""
    theirs = nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64).eval()
    x, memory = torch.randn(2, 5, 12).double(), torch.randn(2, 7, 12).double()
    drop = torch.rand(5, 7) < 0.4
    drop[:, 0] = False
    padding = torch.arange(7) >= torch.tensor([[7], [4]])

    context, weights = theirs(
        x, memory, memory, attn_mask=drop, key_padding_mask=padding, average_attn_weights=False
    )

    W, b = theirs.in_proj_weight, theirs.in_proj_bias
    query, key, value = (
        F.linear(inputs, W[part], b[part]).unflatten(-1, (3, 4)).transpose(1, 2)
        for inputs, part in ((x, slice(0, 12)), (memory, slice(12, 24)), (memory, slice(24, 36)))
    )
    mask = Mask.drop(drop) & Mask.drop(padding[:, None, :])
    ours = qkv.attend(query, key, value, mask=mask, need="weights")
    assert_close(ours.weights, weights)
    assert_close(theirs.out_proj(ours.context.transpose(1, 2).flatten(2)), context)


def test_values_are_the_keys_when_none_are_given():
    query, key = torch.randn(2, 3, 7), torch.randn(2, 5, 7)
    assert torch.equal(qkv.attend(query, key).context, qkv.attend(query, key, key).context)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("need", ["context", "weights"])
def test_autocast_gives_the_answer_of_half_precision(score, need):
    """Mixed dtypes are autocast's business: no refusal, and bfloat16's error at most."""
    built = build(score, query_dim=7, key_dim=7)
    query, key = torch.randn(2, 3, 7), torch.randn(2, 5, 7)
    plain = qkv.attend(query, key, score=built, need=need)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = qkv.attend(query, key, score=built, need=need)
    # Energies of size E are off by at most 4 eps E, weights by twice that, means of values too.
    E = max(1.0, plain.context.abs().max().item(), (query @ key.mT).abs().max().item())
    size = key.abs().max().item()
    eps = torch.finfo(torch.bfloat16).eps
    assert_close(cast.context.float(), plain.context, atol=(8 * E + 3) * eps * size, rtol=0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"key": torch.randn(4, 5, 7)}, "leading dimensions do not fit: query .*key"),
        ({"value": torch.randn(2, 4, 7)}, "every key needs a value: 5 keys, 4 values"),
        ({"query": torch.randn(7)}, r"query is \[..., length, dim\]"),
        ({"key": torch.randn(2, 0, 7), "value": None}, "length and dim of 1 or more"),
        (
            {"key": torch.randn(2, 5, 7).double()},
            "query is torch.float32 and key is torch.fl",
        ),
    ],
)
def test_tensors_that_cannot_attend_to_each_other_are_refused(changed, message):
    given = {name: torch.randn(2, n, 7) for name, n in (("query", 3), ("key", 5), ("value", 5))}
    with pytest.raises(ValueError, match=message):
        qkv.attend(**{**given, **changed})


def test_an_unknown_need_is_refused():
    with pytest.raises(ValueError, match=r"need is one of context, weights, stats, .* got 'all'"):
        qkv.attend(torch.randn(2, 3), torch.randn(4, 3), need="all")
