"""Sampling: the distribution it draws from, and what its random numbers depend on."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from tiny_models import Fixed, Tiny, padded, sentences
from torch.testing import assert_close

from qkv.config import SearchConfig
from qkv.search import search
from qkv.search.strategies import Sample
from qkv.text import EOS

CONFIG = SearchConfig(method="sample", max_ratio=0, max_extra=1)
PROBABILITIES = [0.0, 0.0, 0.1, 0.2, 0.3, 0.4]


def draws(count: int, config: SearchConfig, probabilities=PROBABILITIES) -> Counter:
    """Draw one token `count` times; sentences differ, so that their random numbers do."""
    # One step only, and what ends hides what is cut: each sentence returns its single draw.
    ids = [[4 + i // 999, 4 + i % 999, EOS] for i in range(count)]
    found = search(Fixed(probabilities), *padded(ids), config)
    return Counter(one.tokens[0] if one.tokens else EOS for (one,) in found)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CONFIG, {2: 0.1, 3: 0.2, 4: 0.3, 5: 0.4}),
        (replace(CONFIG, temperature=0.5), {2: 1 / 30, 3: 4 / 30, 4: 9 / 30, 5: 16 / 30}),
        (replace(CONFIG, top_k=2), {4: 3 / 7, 5: 4 / 7}),
        (replace(CONFIG, top_p=0.65), {4: 3 / 7, 5: 4 / 7}),
        (replace(CONFIG, top_p=0.71), {3: 2 / 9, 4: 3 / 9, 5: 4 / 9}),
        (replace(CONFIG, top_k=3, top_p=0.7), {4: 3 / 7, 5: 4 / 7}),
        (replace(CONFIG, top_p=1e-9), {5: 1.0}),
    ],
)
def test_draws_follow_the_tempered_and_cut_distribution(config, expected):
    count = 4000
    seen = draws(count, config)
    assert set(seen) == set(expected)
    for token, p in expected.items():
        # five standard deviations of a binomial count
        spread = 5 * math.sqrt(count * p * (1 - p))
        assert_close(float(seen[token]), count * p, rtol=0, atol=spread + 1e-9)


def test_pads_and_bos_get_no_mass_even_where_the_model_gives_it():
    seen = draws(500, CONFIG, [0.3, 0.3, 0.1, 0.1, 0.1, 0.1])
    assert set(seen) == {2, 3, 4, 5}


def test_top_k_1_is_greedy_search_whatever_the_seed():
    model, ids = Tiny(seed=3, end=1.0), sentences(20, seed=1)
    greedy = search(model, *padded(ids), SearchConfig(method="greedy"))
    for seed in range(3):
        config = SearchConfig(method="sample", top_k=1, seed=seed)
        assert search(model, *padded(ids), config) == greedy


def test_the_same_seed_draws_the_same_and_another_seed_draws_otherwise():
    model, ids = Tiny(seed=3), sentences(20, seed=1)
    config = SearchConfig(method="sample")
    once = search(model, *padded(ids), config)
    assert search(model, *padded(ids), config) == once
    assert search(model, *padded(ids), replace(config, seed=2)) != once


def test_one_draw_is_among_the_draws_of_more_and_the_draws_differ():
    model, ids = Tiny(seed=3, end=1.0), sentences(20, seed=1)
    config = SearchConfig(method="sample")
    one, five = search(model, *padded(ids), config), search(model, *padded(ids), config, 5)
    for (alone,), several in zip(one, five, strict=True):
        assert alone.tokens in [hypothesis.tokens for hypothesis in several]
    assert any(len({hypothesis.tokens for hypothesis in several}) > 1 for several in five)


def test_a_random_number_picks_the_token_whose_share_it_falls_in():
    uniforms = torch.tensor([0.0, 0.0999, 0.1001, 0.2999, 0.3001, 1 - 2**-53]).double()
    sample = Sample(1.0, 0, 1.0, uniforms.view(1, 6, 1))
    log_probs = torch.tensor(PROBABILITIES).double().log().view(1, 1, 6)
    totals = torch.full((1, 1), -2.0).double()
    picked = sample.pick(log_probs, totals, torch.tensor([0]), 0)
    assert picked.tokens.tolist() == [[2, 2, 3, 3, 4, 5]]
    assert picked.beams.tolist() == [[0] * 6]
    assert_close(picked.totals[0, 5].item(), -2.0 + math.log(0.4))
