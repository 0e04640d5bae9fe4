"""The numbers that the tests of explanation stand on, each against an oracle."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from qkv.explain.faithfulness.agreement import kendall
from qkv.explain.faithfulness.distances import JSD_MOST, between, entropy, jsd, kl, tvd
from qkv.explain.faithfulness.finding import by_sharpness, estimate
from qkv.explain.faithfulness.quality import correct, f1, read_loss

stats = pytest.importorskip("scipy.stats", reason="scipy is not installed (qkv[explain])")
distance = pytest.importorskip("scipy.spatial.distance")
EPS = torch.finfo(torch.float64).eps


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return rows that sum to 1, some of whose entries are 0."""
    draws = torch.Generator().manual_seed(seed)
    found = torch.rand(shape, generator=draws, dtype=torch.float64)
    found[found < 0.2] = 0
    found[..., 0] += 0.01
    return found / found.sum(-1, keepdim=True)


def test_the_divergence_is_scipys_squared_distance_in_nats():
    first, second = rows(11, 7), rows(11, 7, seed=1)
    expected = distance.jensenshannon(first.numpy(), second.numpy(), axis=1) ** 2
    # sums of 7 terms below 1 in absolute value, three times
    assert_close(jsd(first, second), torch.from_numpy(expected), rtol=0, atol=32 * EPS)


def test_weights_without_a_position_in_common_are_ln_2_apart_and_equal_ones_not_at_all():
    left, right = torch.tensor([1.0, 0, 0]), torch.tensor([0, 0.5, 0.5])
    assert_close(jsd(left, right), torch.tensor(JSD_MOST))
    assert_close(jsd(right, right), torch.tensor(0.0))


def test_the_gradient_of_the_divergence_is_finite_at_zero_weights():
    energies = torch.tensor([0.0, 1.0, -math.inf], requires_grad=True)
    jsd(energies.softmax(-1), torch.tensor([1.0, 0.0, 0.0])).backward()
    assert energies.grad is not None and energies.grad.isfinite().all()
    assert energies.grad[1] != 0


def test_the_divergence_between_rows_is_the_mean_over_all_ordered_pairs():
    some = rows(3, 5, 7)
    expected = torch.stack([jsd(some[:, i], some[:, j]) for i in range(5) for j in range(5)])
    assert_close(between(some), expected.mean(0))


def test_entropy_and_relative_entropy_are_scipys():
    first, second = rows(5, 7), rows(5, 7, seed=1) + 0.1
    second = second / second.sum(1, keepdim=True)
    assert_close(entropy(first), torch.from_numpy(stats.entropy(first.numpy(), axis=1)))
    expected = stats.entropy(first.numpy(), second.numpy(), axis=1)
    assert_close(kl(first, second), torch.from_numpy(expected))


def test_of_two_classes_the_total_variation_is_the_difference_of_one_probability():
    first, second = torch.tensor([0.9, 0.1]), torch.tensor([0.65, 0.35])
    assert_close(tvd(first, second), torch.tensor(0.25))


def tau_b(one, other) -> float:
    """Count pairs in the same and in the opposite order, and those that are tied."""
    pairs = list(itertools.combinations(range(len(one)), 2))
    signs = [np.sign(one[i] - one[j]) * np.sign(other[i] - other[j]) for i, j in pairs]
    untied = [sum(values[i] != values[j] for i, j in pairs) for values in (one, other)]
    return sum(signs) / math.sqrt(untied[0] * untied[1])


def test_kendalls_tau_counts_pairs_and_has_scipys_p_value():
    random = np.random.default_rng(3)
    first = [random.integers(0, 5, n).astype(float) for n in (5, 8, 13)]
    second = [random.random(len(row)) for row in first]
    taus, p = kendall(first, second)
    expected = [tau_b(one, other) for one, other in zip(first, second, strict=True)]
    np.testing.assert_allclose(taus, expected, rtol=0, atol=16 * EPS)
    known = [stats.kendalltau(*pair).pvalue for pair in zip(first, second, strict=True)]
    np.testing.assert_array_equal(p, known)


def test_a_row_without_order_has_no_tau():
    even, rising = np.ones(4), np.arange(4.0)
    taus, _ = kendall([even, rising, rising[:1], rising], [rising, even, even[:1], rising])
    np.testing.assert_array_equal(np.isnan(taus), [True, True, True, False])


def test_an_interval_is_that_of_the_mean():
    """Of 400 draws it is nearly the normal one, mean +- 1.96 sd / sqrt(n)."""
    values = np.random.default_rng(1).random(400)
    found = estimate(values)
    half = 1.959964 * values.std() / math.sqrt(len(values))
    assert found.mean == values.mean() and found.n == 400
    # 2,000 resamples: a quantile's own error is about 5 % of the half width
    assert abs(found.low - (values.mean() - half)) < 0.15 * half
    assert abs(found.high - (values.mean() + half)) < 0.15 * half


def test_an_interval_holds_the_true_mean_about_as_often_as_it_says():
    draws = np.random.default_rng(2).exponential(size=(60, 50))
    held = [one.low <= 1 <= one.high for one in map(estimate, draws)]
    # 60 draws of a skewed distribution: at 95 % fewer than 50 hits have a probability of 1e-4
    assert sum(held) >= 50


def test_the_same_values_and_seed_give_the_same_interval_and_equal_values_a_point():
    values = np.random.default_rng(1).random(30)
    assert estimate(values, 5) == estimate(values, 5) != estimate(values, 6)
    point = estimate(np.full(9, 0.25))
    assert (point.low, point.mean, point.high) == (0.25, 0.25, 0.25)


def test_one_example_has_no_interval():
    with pytest.raises(ValueError, match="1 examples could be measured: an interval needs 2"):
        estimate(np.ones(1))


def test_quartiles_stand_beside_the_largest_weight():
    sharpest = np.array([0.1, 0.2, 0.9, 1.0])
    first, _, third, last = by_sharpness(sharpest, np.array([1.0, 3.0, 5.0, 9.0]))
    assert (first["n"], first["median"]) == (2, 2.0)
    assert third == {"from": 0.5, "to": 0.75, "n": 0}
    assert (last["n"], last["q1"], last["q3"]) == (2, 6.0, 8.0)


def test_f1_of_each_class_is_two_hits_to_all_that_are_named():
    probabilities = np.eye(3)[[0, 0, 1, 1, 1]]
    labels = np.array([0, 1, 1, 1, 2])
    assert correct(probabilities, labels).tolist() == [1, 0, 1, 1, 0]
    found = f1(probabilities, labels, ("a", "b", "c"))
    assert found == {"a": 2 / 3, "b": 2 / 3, "c": 0.0, "macro": 4 / 9}


@pytest.mark.parametrize(("lost", "reading"), [(0.0, "against"), (0.3, "for"), (0.02, "open")])
def test_a_loss_is_read_by_its_whole_interval(lost, reading):
    values = (np.arange(300) < lost * 300).astype(float)
    assert read_loss(estimate(values), "Without them")[0] == reading
