"""Exact hard attention: the sums over alignments, written out one alignment at a time."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from loops import encode, energy, lstm, weights_of
from model_cases import SOURCE, TARGET, Case, built, padded, sources, targets, variant
from torch import nn
from torch.testing import assert_close

from qkv.config import AttentionConfig, HardConfig
from qkv.models.build import build_model
from qkv.nn.alignments import NEVER, Independent, Monotonic, beginning

EPS = torch.finfo(torch.float64).eps
KINDS = ("independent", "monotonic")
each = pytest.mark.parametrize("alignment", KINDS)


def case(alignment: str, **changes) -> Case:
    return variant("hard", alignment=alignment, **changes)


def states_by_loops(model: nn.Module, inputs: list[int]) -> list[torch.Tensor]:
    """The decoder's states: an LSTM over the outputs alone."""
    h, c = model.first[0, 0], model.first[1, 0]
    states = []
    for token in inputs:
        h, c = lstm(
            model.target_embedding.weight[token], h, c, weights_of(model.recurrence, "_l0")
        )
        states.append(h)
    return states


def tables(model: nn.Module, source: list[int], inputs: list[int]):
    """exp(e_ij) and p(y_i = v | a_i = j), number by number."""
    annotations, *_ = encode(model.encoder, "lstm", source)
    states = states_by_loops(model, inputs)
    score = [
        [math.exp(energy("general", model.score, s, h).item()) for h in annotations]
        for s in states
    ]
    U, V = model.combine_state.weight, model.combine_annotation.weight
    W, b = model.speak.project.weight, model.speak.project.bias
    spoken = [
        [(W @ torch.tanh(U @ s + V @ h) + b).softmax(0).tolist() for h in annotations]
        for s in states
    ]
    return score, spoken


def of_alignment(score: list[list[float]], path: tuple[int, ...], alignment: str) -> float:
    """p(a_1, ..., a_n) of one alignment; that of a monotonic one that goes back is 0."""
    total, last = 1.0, 0
    for i, j in enumerate(path):
        open_to = range(last, len(score[i])) if alignment == "monotonic" else range(len(score[i]))
        if j not in open_to:
            return 0.0
        total *= score[i][j] / sum(score[i][k] for k in open_to)
        last = j if alignment == "monotonic" else 0
    return total


def by_enumeration(score, spoken, outputs: list[int], alignment: str) -> float:
    """p(y | x): the sum over every alignment of source and target."""
    width = len(score[0])
    return sum(
        of_alignment(score, path, alignment)
        * math.prod(spoken[i][j][y] for i, (j, y) in enumerate(zip(path, outputs, strict=True)))
        for path in itertools.product(range(width), repeat=len(outputs))
    )


@each
def test_the_likelihood_is_the_sum_over_all_alignments(alignment):
    """Of every prefix, and of every token that might come next: 5 steps over 4 positions."""
    model, sizes = built(case(alignment)), (4, 1, 3)
    ids, inputs = sources(sizes), targets([5, 5, 5])
    log_probs = model(*padded(ids), padded(inputs)[0])
    for b, source in enumerate(ids):
        score, spoken = tables(model, source, inputs[b])
        before = 1.0
        for length in range(1, 6):
            given = inputs[b][1:length]
            found = [
                by_enumeration(score[:length], spoken[:length], [*given, v], alignment)
                for v in range(TARGET)
            ]
            # 4^5 terms, each a product of 10 factors which are themselves sums of 14 products of
            # numbers below 8; the logarithm of a quotient of two such sums.
            expected = torch.tensor([math.log(p / before) for p in found], dtype=torch.float64)
            assert_close(log_probs[b, length - 1], expected, rtol=0.0, atol=4**5 * 10 * 14 * EPS)
            assert_close(sum(found), before, rtol=4**5 * 10 * 14 * EPS, atol=0.0)
            before = found[inputs[b][length]] if length < 5 else 1.0


@each
def test_a_row_of_alignment_is_the_share_of_the_alignments_that_read_the_position(alignment):
    model, (ids, inputs) = built(case(alignment)), (sources([4]), targets([4]))
    rows = model.force(*padded(ids), padded(inputs)[0], need_attention=True).attention[0]
    score, spoken = tables(model, ids[0], inputs[0])
    for i in range(4):
        share = torch.zeros(4).double()
        for path in itertools.product(range(4), repeat=i + 1):
            told = math.prod(spoken[t][path[t]][inputs[0][t + 1]] for t in range(i))
            share[path[i]] += told * of_alignment(score, path, alignment)
        assert_close(rows[i], share / share.sum(), rtol=0.0, atol=4**4 * 10 * 14 * EPS)


def test_a_monotonic_alignment_never_goes_back():
    """The first output forces the last position; then no other may be read."""
    energies, real = torch.randn(1, 3, 5).double(), torch.ones(1, 5).bool()
    emitted = torch.full((1, 3, 5), NEVER).double()
    emitted[..., 3] = 0.0
    priors = Monotonic().priors(energies, real, emitted).exp()
    assert (priors[0, 0] > 0).all()
    assert not priors[0, 1:, :3].any() and (priors[0, 1:, 3:] > 0).all()
    assert_close(priors.sum(-1), torch.ones(1, 3).double(), rtol=0.0, atol=25 * EPS)
    free = Independent().priors(energies, real, emitted)
    assert_close(free, energies.log_softmax(-1), rtol=0.0, atol=25 * EPS)


@pytest.mark.parametrize("rule", [Independent(), Monotonic()])
def test_the_sums_have_the_derivatives_of_the_equation_pads_included(rule):
    torch.manual_seed(1)
    energies, emitted = (torch.randn(2, 3, 4).double().requires_grad_() for _ in range(2))
    real = torch.arange(4) < torch.tensor([[4], [2]])

    def priors(energies, emitted):
        return rule.priors(energies, real, emitted).exp()

    assert torch.autograd.gradcheck(priors, (energies, emitted))
    assert torch.autograd.gradgradcheck(priors, (energies, emitted))
    (gradient,) = torch.autograd.grad(priors(energies, emitted).square().sum(), energies)
    assert not gradient[1, :, 2:].any() and gradient[0].any()


def test_energies_as_far_apart_as_numbers_go_give_no_nan():
    energies = torch.tensor([[[-1e4, 0.0, 1e4], [1e4, 0.0, -1e4]]]).requires_grad_()
    real = torch.ones(1, 3).bool()
    priors = Monotonic().priors(energies, real, torch.zeros(1, 2, 3))
    # The first step reads the last position, so that the second has no choice.
    assert_close(priors.exp(), torch.tensor([[[0.0, 0, 1], [0, 0, 1]]]))
    priors.exp().square().sum().backward()
    assert energies.grad.isfinite().all()
    assert_close(beginning(energies[:, :1]).exp(), torch.tensor([[[1.0, 0, 0]]]))


@each
def test_the_state_of_the_decoder_knows_no_source(alignment):
    model = built(case(alignment))
    tokens = torch.tensor([[1]])
    one, other = (model.step(tokens, model.start(*padded(sources([5], seed=s)))) for s in (1, 2))
    assert torch.equal(one.state.hidden, other.state.hidden)
    assert not torch.equal(one.log_probs, other.log_probs)


def test_attention_settings_without_a_meaning_here_are_refused():
    for normalizer in ("sparsemax", "hard"):
        with pytest.raises(ValueError, match=r'"hard" reads of model\.attention its score and'):
            HardConfig(attention=AttentionConfig(normalizer=normalizer))
    model = build_model(
        HardConfig(attention=AttentionConfig("additive", hidden=5)), SOURCE, TARGET
    )
    assert model.score.v.shape == (5,)
