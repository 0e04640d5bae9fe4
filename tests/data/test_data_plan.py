"""Batch plans: every example once, within the budget, a pure function of seed and epoch."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv.data import BatchPlan, sorted_batches
from qkv.data.randomness import generator

LENGTHS = st.integers(1, 3).flatmap(
    lambda sides: st.lists(
        st.lists(st.integers(1, 40), min_size=sides, max_size=sides), min_size=1, max_size=60
    )
)
BUDGETS, SMALL = st.integers(1, 120), st.integers(0, 9)
many = settings(max_examples=200, deadline=None, derandomize=True)


def like_cmudict(count: int) -> np.ndarray:
    """Lengths of letters and phonemes, EOS counted: about 8.5 and 7.3, alike but not the same."""
    random = generator(3, "lengths")
    letters = np.clip(random.normal(8.5, 2.2, count).round(), 2, 35).astype(int)
    phonemes = np.clip((letters * 0.85 + random.normal(0, 1, count)).round(), 2, 33).astype(int)
    return np.stack([letters, phonemes], axis=1)


@many
@given(lengths=LENGTHS, budget=BUDGETS, seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_every_example_comes_once_an_epoch_and_every_batch_is_within_budget(
    lengths, budget, seed, epoch
):
    plan = BatchPlan(lengths, budget, seed)
    batches = plan.epoch(epoch)

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert len(batches) == len(plan)
    for batch in batches:
        cost = len(batch) * max(max(lengths[i]) for i in batch)
        assert cost <= budget or len(batch) == 1


@many
@given(lengths=LENGTHS, budget=BUDGETS)
def test_evaluation_batches_are_sorted_and_as_full_as_the_budget_allows(lengths, budget):
    batches = sorted_batches(lengths, budget)

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    ascending = [i for batch in batches[::-1] for i in batch]
    longest = [max(lengths[i]) for i in ascending]
    assert longest == sorted(longest)
    for shorter, longer in zip(batches[:0:-1], batches[-2::-1], strict=True):
        one_more = [*shorter, longer[0]]
        assert len(one_more) * max(max(lengths[i]) for i in one_more) > budget


@many
@given(lengths=LENGTHS, budget=BUDGETS, epochs=st.permutations(range(4)))
def test_an_epoch_depends_on_seed_and_number_alone(lengths, budget, epochs):
    plan = BatchPlan(lengths, budget, 1)
    in_any_order = {k: plan.epoch(k) for k in epochs}

    for k in range(4):
        np.random.seed(k)
        assert BatchPlan(lengths, budget, 1).epoch(k) == in_any_order[k]
        assert len(in_any_order[k]) == len(plan)


def test_epochs_and_seeds_differ_in_order_and_in_company():
    lengths = like_cmudict(2000)
    first, second = (BatchPlan(lengths, 400, 1).epoch(k) for k in range(2))
    other = BatchPlan(lengths, 400, 2).epoch(0)

    for a, b in ((first, second), (first, other)):
        assert a != b
        assert {frozenset(batch) for batch in a} != {frozenset(batch) for batch in b}


def test_batches_of_all_lengths_are_spread_over_the_epoch():
    lengths = like_cmudict(20_000)
    batches = BatchPlan(lengths, 1000, 1).epoch(0)
    means = [lengths[batch].mean() for batch in batches]

    half = len(means) // 2
    # The mean of n draws without replacement strays by at most std / sqrt(n), here times 4.
    stray = 4 * np.std(means) / np.sqrt(half)
    assert abs(np.mean(means[:half]) - np.mean(means[half:])) < 2 * stray
    assert means != sorted(means)


@pytest.mark.parametrize("budget", [1024, 4096])
def test_little_of_a_batch_is_padding(budget):
    lengths = like_cmudict(135_000)
    batches = BatchPlan(lengths, budget, 1).epoch(0)

    padded = sum(len(batch) * int(lengths[batch].max(axis=0).sum()) for batch in batches)
    assert lengths.sum() / padded > 0.96
    full = np.mean([len(batch) * lengths[batch].max() / budget for batch in batches])
    assert full > 0.97


def test_a_plan_of_135_000_pairs_takes_less_than_a_third_of_a_second():
    lengths = like_cmudict(135_000)
    took = []
    for epoch in range(3):
        start = time.process_time()
        BatchPlan(lengths, 4096, 1).epoch(epoch)
        took.append(time.process_time() - start)

    assert min(took) < 0.3


def test_a_longer_example_than_the_budget_is_alone():
    assert sorted_batches([5, 100, 5], 20) == [[1], [0, 2]]
    assert sorted(map(sorted, BatchPlan([5, 100, 5], 20, 1).epoch(0))) == [[0, 2], [1]]


@pytest.mark.parametrize(
    ("lengths", "budget", "message"),
    [
        ([], 10, "no examples"),
        ([3, 0], 10, "at least 1"),
        ([3], 0, "tokens_per_batch is 0"),
    ],
)
def test_what_cannot_be_planned_is_refused(lengths, budget, message):
    with pytest.raises(ValueError, match=message):
        BatchPlan(lengths, budget, 1)
    with pytest.raises(ValueError, match=message):
        sorted_batches(lengths, budget)
