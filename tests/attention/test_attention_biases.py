"""Biases on positions, against their equations pair by pair."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

import qkv
from qkv.attention.biases import BIASES, ALiBi, Relative, RelativeBuckets, build


def test_alibi_equals_its_equation_pair_by_pair():
    """-m_h |i - j| with m_h = 2^(-8 h / heads)."""
    bias = ALiBi(8)(5, 7)
    for h, i, j in [(h, i, j) for h in range(8) for i in range(5) for j in range(7)]:
        assert bias[h, i, j].item() == -(2.0 ** -(h + 1)) * abs(i - j)


def test_alibis_slopes_for_any_number_of_heads_are_the_authors():
    """get_slopes of the paper's code: for 3 heads those of 2, then the first of 4."""
    assert_close(ALiBi(2).slopes, torch.tensor([2.0**-4, 2.0**-8]))
    assert_close(ALiBi(3).slopes, torch.tensor([2.0**-4, 2.0**-8, 2.0**-2]))
    assert_close(ALiBi(16).slopes[:3], torch.tensor([2.0**-0.5, 2.0**-1, 2.0**-1.5]))
    six = [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]
    assert_close(ALiBi(6).slopes, torch.tensor(six))


def t5_bucket(ahead: int, bidirectional: bool, buckets: int, farthest: int) -> int:
    """_relative_position_bucket of the authors' code; `ahead` = memory - query position."""
    found, n = 0, -ahead
    if bidirectional:
        buckets //= 2
        found += (n < 0) * buckets
        n = abs(n)
    else:
        n = max(n, 0)
    exact = buckets // 2
    if n < exact:
        return found + n
    far = math.log(n / exact) / math.log(farthest / exact) * (buckets - exact)
    # a border that is a whole number must not fall short of itself by a rounding
    return found + min(exact + int(far + 1e-9), buckets - 1)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "farthest"), [(32, 128), (8, 20), (10, 11)])
def test_relative_buckets_are_t5s_for_every_distance(bidirectional, buckets, farthest):
    module = RelativeBuckets(3, buckets, farthest, bidirectional=bidirectional)
    with torch.no_grad():
        module.table.copy_(torch.arange(buckets)[:, None] + 100 * torch.arange(3))
    bias = module(150, 170).long()
    for i, j in [(i, j) for i in range(0, 150, 7) for j in range(170)]:
        bucket = t5_bucket(j - i, bidirectional, buckets, farthest)
        assert bias[:, i, j].tolist() == [bucket, bucket + 100, bucket + 200]


@pytest.mark.parametrize(("farthest", "offset"), [(1, 0), (3, 0), (3, 2), (30, -4)])
def test_relative_equals_its_equation_pair_by_pair(farthest, offset):
    """B[clip(j - i - offset, -k, k), h], a row of the table from -k to k."""
    module = Relative(3, farthest)
    torch.nn.init.normal_(module.table)
    bias = module(5, 7, offset)
    for h, i, j in [(h, i, j) for h in range(3) for i in range(5) for j in range(7)]:
        distance = min(max(j - i - offset, -farthest), farthest)
        assert bias[h, i, j] == module.table[farthest + distance, h]


@pytest.mark.parametrize("name", BIASES)
def test_a_bias_fits_attention_and_a_later_query_gets_its_row(name):
    module = build(name, heads=3).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    bias = module(5, 7)
    assert bias.shape == (3, 5, 7)
    assert_close(module(2, 7, offset=3), bias[:, 3:])
    x, memory = torch.randn(2, 3, 5, 4).double(), torch.randn(2, 3, 7, 4).double()
    out = qkv.attend(x, memory, bias=bias, need="weights")
    expected = torch.softmax(x @ memory.mT / 2 + bias, -1)
    assert_close(out.weights, expected)
    assert_close(qkv.attend(x, memory, bias=bias).context, expected @ memory)


def test_relative_starts_at_zero_and_only_distances_that_occur_learn():
    module = Relative(3, 16)
    assert not module(4, 4).any()
    x = torch.randn(2, 3, 4, 5)
    qkv.attend(x, x, bias=module(4, 4)).context.square().sum().backward()
    assert module.table.grad[13:20].any(-1).all()
    assert not module.table.grad[:13].any() and not module.table.grad[20:].any()


def test_buckets_start_at_zero_and_learn():
    module = RelativeBuckets(3)
    assert not module(4, 4).any()
    x = torch.randn(2, 3, 4, 5)
    qkv.attend(x, x, bias=module(4, 4)).context.square().sum().backward()
    assert module.table.grad[:4].any() and not module.table.grad[4:16].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ALiBi(0), "heads is 1 or more, got 0"),
        (lambda: Relative(2, 0), "max_distance of 1 or more, got 0"),
        (lambda: RelativeBuckets(2, 5), "even number"),
        (lambda: RelativeBuckets(2, 2), "2 buckets a side"),
        (lambda: RelativeBuckets(2, 32, 8), "beyond the 8 that have one each"),
        (lambda: build("alibii", heads=2), "Did you mean 'alibi'"),
    ],
)
def test_a_bias_that_is_none_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
