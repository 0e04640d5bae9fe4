"""The feature maps: their equations, and what Performer's random features estimate."""

from __future__ import annotations

import math

import pytest
import torch
from linear_oracle import DIM, phi
from torch.testing import assert_close

import qkv
from qkv.attention.linear import Elu, PositiveRandom
from qkv.attention.linear.features import FEATURES, build


def whole(features, x):
    mapped = features(x)
    return mapped.features * mapped.log_scale.exp()


@pytest.mark.parametrize("name", FEATURES)
def test_features_are_those_of_the_paper_row_by_row(name):
    features, x = build(name, dim=DIM).double(), torch.randn(2, 5, DIM).double()
    x[0, 1] -= 5  # a row without a positive number
    mapped = whole(features, x)
    assert mapped.shape == (2, 5, features.width(DIM))
    for b, i in [(b, i) for b in range(2) for i in range(5)]:
        assert_close(mapped[b, i], phi(features, x[b, i]))


@pytest.mark.parametrize("name", FEATURES)
def test_features_never_overflow_or_all_vanish(name):
    features = build(name, dim=DIM)
    for size in (1e-30, 1.0, 1e4):
        mapped = features(torch.randn(7, DIM) * size)
        assert mapped.features.isfinite().all() and mapped.log_scale.isfinite().all()
        assert (mapped.features.amax(-1) > 0).all()


def test_elu_keeps_the_digits_of_small_features():
    """(exp(-30) - 1) + 1 is 0 in float32; the ratio of two features is still e."""
    features = whole(Elu(), torch.tensor([[-30.0, -31.0]]))[0]
    # Each exponential of a number near 30 is off by 30 u, relatively.
    assert_close((features[0] / features[1]).item(), math.e, atol=64 * 1.2e-7 * math.e, rtol=0)


def test_the_kernel_estimate_has_the_mean_and_at_most_the_variance_of_the_paper():
    """Lemma 1: phi(q) . phi(k) estimates exp(q . k / sqrt(d)), over many draws.

    With z = (q + k) / d^(1/4), independent features have variance SM^2 (exp(|z|^2) - 1) / m
    (lemma 2); orthogonal ones have less (theorem 2). So the mean of N draws lies within 5 standard
    errors of that.
    """
    d, m, draws = 3, 3, 3000
    q, k = (torch.tensor([row]).double() for row in ([1.0, -0.6, 0.4], [0.6, -0.1, 0.7]))
    features = PositiveRandom(d, m).double()
    estimates = []
    for _ in range(draws):
        features.redraw()
        estimates.append((whole(features, q) * whole(features, k)).sum())
    estimates = torch.stack(estimates)
    truth = math.exp((q @ k.mT).item() / math.sqrt(d))
    z2 = (q + k).square().sum().item() / math.sqrt(d)
    deviation = truth * math.sqrt(math.expm1(z2) / m)
    assert_close(estimates.mean().item(), truth, atol=5 * deviation / math.sqrt(draws), rtol=0)
    assert estimates.std().item() < deviation


def test_performers_attention_converges_to_softmax_attention_as_features_grow():
    """64 times the features: an eighth of the error (1 / sqrt(m)); asked: a fifth.

    The relative variance of one pair's estimate is below r = (exp(|z|^2) - 1) / m (above), and so
    is that of a denominator, a mean of pairs'. A ratio N / D has, to second order, a bias of at
    most Var(D) / D^2 c + |Cov(N, D)| / D^2 <= 2 r |v|; the mean of n draws lies within 5 standard
    errors of the truth and that.
    """
    query, key, value = (torch.randn(n, d).double() for n, d in ((5, 7), (6, 7), (6, 3)))
    query, key, draws = query / 4, key / 4, 40
    exact = qkv.attend(query, key, value).context
    found = {}
    for count in (32, 2048):
        features = PositiveRandom(7, count).double()
        contexts = []
        for _ in range(draws):
            features.redraw()
            contexts.append(qkv.linear_attend(query, key, value, features=features).context)
        found[count] = torch.stack(contexts)
    few, many = ((found[count] - exact).square().mean().sqrt() for count in (32, 2048))
    assert many < few / 5
    z2 = (query.unsqueeze(1) + key).square().sum(-1).max().item() / math.sqrt(7)
    bias = 2 * math.expm1(z2) / 2048 * value.abs().max()
    spread = found[2048].std(0)
    assert ((found[2048].mean(0) - exact).abs() < 5 * spread / draws**0.5 + bias).all()


def test_random_features_are_orthogonal_within_a_block_and_normal_each():
    """|w|^2 of a standard normal w has mean d, variance 2 d; w itself has mean 0, variance 1.

    A variance is estimated with variance sigma^4 (2 + 12 / d) / n (12 / d: a chi-square's excess).
    """
    features = PositiveRandom(5, 4000)
    blocks = features.projection.double().view(-1, 5, 5)
    gram = blocks @ blocks.mT
    off = gram - torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1))
    # float32 entries below 5: products of two rows of 5, each entry rounded.
    assert_close(off, torch.zeros_like(off), atol=2 * 5 * 25 * 1.2e-7, rtol=0)
    squared = blocks.square().sum(-1)
    assert_close(squared.mean().item(), 5.0, atol=5 * math.sqrt(2 * 5 / 4000), rtol=0)
    error = 10 * math.sqrt((2 + 12 / 5) / 4000)
    assert_close(squared.var().item(), 10.0, atol=5 * error, rtol=0)
    mean = blocks.mean(0)  # of 800 blocks, entry by entry
    assert_close(mean, torch.zeros_like(mean), atol=5 / math.sqrt(800), rtol=0)


def test_features_are_drawn_from_torchs_generator_and_redrawn():
    torch.manual_seed(3)
    first = PositiveRandom(5, 8)
    torch.manual_seed(3)
    again = PositiveRandom(5, 8)
    assert torch.equal(first.projection, again.projection)
    query = torch.randn(4, 5)
    before = qkv.linear_attend(query, query, features=again).context
    again.redraw()
    assert not torch.equal(first.projection, again.projection)
    assert not torch.equal(qkv.linear_attend(query, query, features=again).context, before)
    for features in (first, again):
        features.redraw(torch.Generator().manual_seed(9))
    assert torch.equal(first.projection, again.projection)


def test_sums_of_features_that_were_drawn_anew_since_are_refused():
    features = PositiveRandom(5, 8)
    rows = torch.randn(1, 1, 4, 5)
    state = qkv.LinearState.empty(features, key_dim=5, value_dim=5).append(rows)
    attention = qkv.LinearAttention(features=features)
    prepared, causal = attention.prepare(rows), attention.prepare(rows, mask=qkv.Mask.causal())
    state.read(rows), attention.attend(rows, prepared)
    features.redraw()
    for use in (
        lambda: state.read(rows),
        lambda: state.append(rows),
        lambda: state.select(torch.tensor([0])).read(rows),
        lambda: attention.attend(rows, prepared),
        lambda: attention.attend(rows, causal, need="weights"),
    ):
        with pytest.raises(ValueError, match=r"drawn anew \(draw 1\) since .* \(draw 0\)"):
            use()
    again = qkv.LinearState.empty(features, key_dim=5, value_dim=5).append(rows)
    want = qkv.linear_attend(rows, rows, features=features).context
    assert_close(again.read(rows).context, want)
    kept = qkv.LinearState.from_state_dict(features, again.state_dict())
    assert_close(kept.read(rows).context, want)


def test_the_projection_is_saved_with_the_weights_and_is_not_trained():
    first, second = PositiveRandom(5, 8), PositiveRandom(5, 8)
    assert list(first.parameters()) == []
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.projection, second.projection)
    assert first.half().projection.dtype == torch.float16  # and is used in float32 all the same
    assert first(torch.randn(2, 5)).features.dtype == torch.float32


def test_random_features_grow_as_d_log_d_unless_told():
    assert [PositiveRandom(d).count for d in (1, 2, 64)] == [1, 2, int(64 * math.log(64))]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PositiveRandom(0), "a dim and a count of 1 or more, got dim=0"),
        (lambda: PositiveRandom(4, 0), "count=0"),
        (lambda: build("positive_random"), "say dim="),
        (lambda: build("elu1"), "Did you mean 'elu'"),
    ],
)
def test_features_that_are_none_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
