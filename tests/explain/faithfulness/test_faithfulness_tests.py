"""Each test measures what its formula says, whatever goes into a batch together."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import FIRST, Faithful, Ignoring, planted
from torch.testing import assert_close

from qkv.explain.faithfulness import Material, Settings
from qkv.explain.faithfulness.adversarial import adversaries
from qkv.explain.faithfulness.distances import jsd
from qkv.explain.faithfulness.gradient import gradients
from qkv.explain.faithfulness.leave_one_out import differences
from qkv.explain.faithfulness.permutation import permuted, random_weights
from qkv.explain.faithfulness.permutation import test as permute
from qkv.explain.faithfulness.uniform import test as even_out

pytest.importorskip("scipy", reason="scipy is not installed (qkv[explain])")
EPS = torch.finfo(torch.float64).eps


def silent(_share: float, _text: str) -> None:
    """Tell nobody."""


def good(model, ids, weights=None) -> float:
    """Return the probability of class 1 of one example."""
    tokens, length = torch.tensor([ids]), torch.tensor([len(ids)])
    annotations = model.annotate(model.embed(tokens), length)
    return float(model.decide(annotations, length, weights).logits.softmax(-1)[0, 1])


def test_gradients_are_the_finite_differences_of_the_output_with_fixed_weights():
    model = Faithful()
    subject = planted(model, 5)
    found = gradients(subject, silent)
    for ids, weights, importance in zip(
        subject.sequences, subject.seen.attention, found, strict=True
    ):
        length, fixed = torch.tensor([len(ids)]), torch.from_numpy(weights)[None]
        for place in range(len(ids)):

            def output(step: float, place: int = place, ids=ids, length=length, fixed=fixed):
                embedded = model.embed(torch.tensor([ids])).clone()
                embedded[0, place] *= 1 + step  # the word's place in its one-hot vector
                annotations = model.annotate(embedded, length)
                return model.decide(annotations, length, fixed).logits.softmax(-1)[0, 1]

            step = EPS ** (1 / 3)
            slope = float(output(step) - output(-step)) / (2 * step)
            # central differences: an error of step^2 times a third derivative below 1
            assert math.isclose(importance[place], abs(slope), abs_tol=10 * step**2)


def test_leaving_a_word_out_is_running_the_model_without_it():
    model = Faithful()
    subject = planted(model, 6)
    found = differences(subject, silent)
    for ids, differs in zip(subject.sequences, found, strict=True):
        whole = good(model, ids)
        assert np.isnan(differs[-1])  # the end is no word
        for place in range(len(ids) - 1):
            expected = abs(good(model, ids[:place] + ids[place + 1 :]) - whole)
            assert math.isclose(differs[place], expected, abs_tol=16 * EPS)


@pytest.mark.parametrize("measure", [gradients, differences])
def test_what_stands_in_a_batch_beside_an_example_changes_nothing(measure):
    subject = planted(Faithful(), 9)
    alone = measure(replace(subject, tokens_per_batch=1), silent)
    together = measure(replace(subject, tokens_per_batch=10**6), silent)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=16 * EPS)


def test_a_text_of_one_word_cannot_be_left_without_it():
    subject = replace(planted(Faithful(), 3, end=False), sequences=[[9], [4, 9], [5, 9]])
    found = differences(subject, silent)
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


def test_permuted_weights_are_the_same_weights_at_other_real_places():
    draws = torch.Generator().manual_seed(0)
    lengths = torch.tensor([7, 3, 1])
    real = torch.arange(7) < lengths[:, None]
    weights = torch.rand(3, 7, generator=draws).masked_fill(~real, 0)
    found = permuted(weights, real, draws)
    assert not found[~real].any()
    assert_close(found.sort(1).values, weights.sort(1).values, rtol=0, atol=0)
    orders = {tuple(permuted(weights, real, draws)[1, :3].tolist()) for _ in range(99)}
    assert len(orders) == 6  # every order of three


def test_random_weights_are_even_among_all_that_sum_to_1():
    draws = torch.Generator().manual_seed(0)
    real = (torch.arange(5) < 4).expand(4000, 5)
    found = random_weights(real, draws)
    assert_close(found.sum(1), torch.ones(4000))
    assert not found[:, 4].any()
    # a flat Dirichlet over 4: each weight has mean 1/4 and variance 3/80; 4,000 draws
    assert_close(
        found[:, :4].mean(0), torch.full((4,), 0.25), rtol=0, atol=5 * (3 / 80 / 4e3) ** 0.5
    )
    assert_close(found[:, 0].var(), torch.tensor(3 / 80), rtol=0.15, atol=0)


def test_the_median_over_permutations_is_that_over_all_orders():
    """Four positions: 24 orders, as likely; of 999 draws the median is theirs or next to it."""
    model = Faithful()
    subject = replace(planted(model, 2), sequences=[[4, 8, 9, 2], [5, 11, 9, 2]])
    found = permute(Material(subject, Settings(permutations=999)), silent)[0]
    for ids, weights, value in zip(
        subject.sequences, subject.seen.attention, found.values, strict=True
    ):
        whole = good(model, ids)
        all_orders = sorted(
            abs(good(model, ids, torch.tensor([order])) - whole)
            for order in itertools.permutations(weights)
        )
        assert all_orders[9] - 1e-6 <= value <= all_orders[14] + 1e-6


def test_the_adversary_reaches_the_border_that_can_be_computed():
    """Of two words the weights have one number, and epsilon allows an interval of it."""
    model, epsilon = Faithful(), 0.2
    subject = replace(planted(model, 2), sequences=[[8, 9], [11, 10]])
    batch = subject.batch([0, 1])
    found = adversaries(subject, batch, Settings(steps=400, adversaries=4, epsilon=epsilon))
    for ids, own, best in zip(subject.sequences, subject.seen.attention, found.best, strict=True):
        whole = good(model, ids)
        shares = torch.linspace(0, 1, 4001, dtype=torch.float64)
        far = [
            float(jsd(row, torch.from_numpy(own)))
            for row in torch.stack([shares, 1 - shares], 1)
            if abs(good(model, ids, row[None]) - whole) <= epsilon
        ]
        assert 0.9 * max(far) <= float(best) <= max(far) + 1e-3  # the grid is that coarse


def test_an_adversary_that_may_do_anything_leaves_every_position():
    subject = planted(Ignoring(), 4)
    batch = subject.batch([0, 1])
    found = adversaries(subject, batch, Settings(steps=150))
    assert (found.best >= found.random).all() and (found.best <= math.log(2)).all()
    assert_close(found.best, found.published, rtol=0.05, atol=0)


def test_equal_weights_lose_what_the_closed_form_loses():
    """The keyword weighs 2 and the others 1: equal weights read the sign of their sum."""
    model = Faithful()
    subject = planted(model, 40)
    found = even_out(Material(subject), silent)[0]
    values = model.embedding.weight[:, 0].double().numpy()
    sums = [values[list(ids)].sum() for ids in subject.sequences]
    even = (np.array(sums) > 0) == (subject.labels == 1)
    own = subject.predicted == subject.labels
    np.testing.assert_array_equal(found.values, own.astype(float) - even)
    assert FIRST in subject.sequences[int(np.flatnonzero(subject.labels == 0)[0])]


def test_two_examples_are_the_fewest():
    with pytest.raises(ValueError, match="1 examples: an interval needs 2 or more"):
        replace(planted(Faithful(), 2), sequences=[[4, 5]])
