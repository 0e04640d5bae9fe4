"""REINFORCE against full enumeration, on a chain small enough to write every path down.

Step t, after reading position k, reads j with p = softmax(theta[t, k])_j and gains phi[t, k, j]:
log-likelihoods in the shape of tables. theta and phi are the parameters.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from qkv.nn.baselines import BASELINES, MovingAverage
from qkv.nn.reinforce import Drawn, Reinforce, entropy, joined, pick

STEPS, POSITIONS = 3, 4
WEIGHT, ENTROPY = 1.0, 0.3
EPS = torch.finfo(torch.float64).eps
each_baseline = pytest.mark.parametrize("baseline", BASELINES)
each_kind = pytest.mark.parametrize("lasting", [True, False], ids=["lasting", "independent"])


def chain(*, lasting: bool) -> tuple[Tensor, Tensor]:
    """theta and phi; where draws do not last, every k has the same rows."""
    generator = torch.Generator().manual_seed(1)
    shape = (STEPS, POSITIONS if lasting else 1, POSITIONS)
    theta = torch.randn(shape, generator=generator, dtype=torch.float64)
    phi = torch.randn(shape, generator=generator, dtype=torch.float64) - 3  # log p is below 0
    return theta, phi


def by_enumeration(theta: Tensor, phi: Tensor) -> Tensor:
    """d E[gains] + ENTROPY * E[d entropies], over all 64 paths: both parameters in a row."""
    theta, phi = (tensor.clone().requires_grad_() for tensor in (theta, phi))
    objective = torch.zeros(()).double()
    for path in itertools.product(range(POSITIONS), repeat=STEPS):
        p, gain, disorder, k = 1.0, 0.0, 0.0, 0
        for t, j in enumerate(path):
            distribution = theta[t, k].softmax(0)
            p = p * distribution[j]
            gain = gain + phi[t, k, j]
            disorder = disorder - (distribution * distribution.log()).sum()
            k = j if theta.shape[1] > 1 else 0
        objective = objective + p * gain + ENTROPY * p.detach() * disorder
    return torch.cat([g.flatten() for g in torch.autograd.grad(objective, (theta, phi))])


def build(baseline: str, k: int = 0) -> Reinforce:
    """An estimator whose baseline says something: unfitted ones must not bias it either."""
    torch.manual_seed(3)
    built = BASELINES[baseline](1).double()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    if isinstance(built, MovingAverage):
        built.mean.fill_(-2.8)
        built.seen.fill_(1.0)
    return Reinforce(built, weight=WEIGHT, entropy=ENTROPY, rao_blackwell=k)


def sampled(estimator: Reinforce, theta: Tensor, phi: Tensor, samples: int) -> Tensor:
    """One gradient of each sample, [samples, parameters]; its sign that of the objective."""
    torch.manual_seed(2)
    theta, phi = (t.expand(samples, *t.shape).clone().requires_grad_() for t in (theta, phi))
    gradients = torch.autograd.grad(walk(estimator, theta, phi), (theta, phi))
    return -torch.cat([gradient.flatten(1) for gradient in gradients], 1)


def walk(estimator: Reinforce, theta: Tensor, phi: Tensor) -> Tensor:
    """The loss of one path through each of some chains."""
    samples = len(theta)
    lasting, rows = theta.shape[2] > 1, torch.arange(samples)
    at, steps, features = torch.zeros(samples, dtype=torch.long), [], []
    read = []
    for t in range(STEPS):
        distribution = theta[rows, t, at].log_softmax(-1)
        drawn = torch.multinomial(distribution.detach().exp(), 1).squeeze(1)
        table = phi[rows, t, at]

        def features_at(positions: Tensor, table: Tensor = table) -> Tensor:
            return table.gather(1, positions.squeeze(1)).unsqueeze(1).unsqueeze(-1)

        log_prob = distribution[rows, drawn].unsqueeze(1)
        steps.append(Drawn(log_prob, distribution.unsqueeze(1), features_at, lasting))
        features.append(features_at(drawn[:, None, None]).squeeze(2))
        read.append(drawn.double().view(-1, 1, 1))
        at = drawn if lasting else at
    everything, real = torch.cat(features, 1), torch.ones(samples, STEPS).bool()
    drawn = joined(steps)
    readings = estimator.readings(everything, drawn)
    gains, known = readings.features.squeeze(-1), torch.cat(read, 1)
    return estimator(gains, readings, drawn, known, real)  # a baseline knows what was read


def variance(gradients: Tensor) -> float:
    return float(gradients.var(0).sum())


@each_kind
@each_baseline
@pytest.mark.parametrize("k", [0, 1, 2, POSITIONS, 9])
def test_the_expected_gradient_is_that_of_full_enumeration(lasting, baseline, k):
    samples, parameters = 20_000, chain(lasting=lasting)
    found = sampled(build(baseline, k), *parameters, samples)
    expected = by_enumeration(*parameters)
    # Five standard errors: a chance of 6e-7 for each of at most 96 parameters. What has no
    # variance is off by the rounding of 64 paths of a few products below 10 each.
    slack = 5 * found.std(0) / samples**0.5 + 64 * 100 * EPS
    assert ((found.mean(0) - expected).abs() <= slack).all()
    assert (slack < 0.2).all() and expected.abs().max() > 0.2  # tight enough to mean something


@pytest.mark.parametrize("k", [POSITIONS, 9])
def test_where_contexts_are_independent_the_whole_sum_has_no_variance(k):
    parameters = chain(lasting=False)
    found = sampled(build("none", k), *parameters, 50)
    assert_close(found, by_enumeration(*parameters).expand_as(found), rtol=0.0, atol=6400 * EPS)


@each_kind
def test_a_baseline_lowers_the_variance(lasting):
    parameters = chain(lasting=lasting)
    without = variance(sampled(build("none"), *parameters, 4000))
    # The gains are about -3 with a spread of 1: most of their square is their mean.
    assert variance(sampled(build("moving_average"), *parameters, 4000)) < 0.5 * without


def test_a_fitted_prediction_lowers_the_variance_below_that_of_an_average():
    """What a step gains depends on what the step before it read."""
    theta, phi = chain(lasting=True)
    phi = phi + 2 * torch.arange(4).double().view(1, 4, 1)
    found = {}
    for baseline in ("moving_average", "learned"):
        estimator = build(baseline)
        # One parameter that does nothing, so that an average can be "fitted" by the same lines.
        own = [*estimator.parameters(), torch.nn.Parameter(torch.zeros(()))]
        optimizer = torch.optim.Adam(own, lr=0.03)
        for _ in range(200):
            optimizer.zero_grad()
            loss = walk(estimator, theta.expand(64, -1, -1, -1), phi.expand(64, -1, -1, -1))
            (loss / 64 + own[-1]).backward()
            optimizer.step()
        found[baseline] = variance(sampled(estimator, theta, phi, 4000))
    assert found["learned"] < 0.8 * found["moving_average"]


@each_kind
@each_baseline
def test_rao_blackwell_lowers_the_variance_the_more_positions_it_sums(lasting, baseline):
    parameters = chain(lasting=lasting)
    found = [variance(sampled(build(baseline, k), *parameters, 4000)) for k in (0, 1, 2, 4)]
    assert found[0] > found[1] > found[2] > found[3]


def test_picked_positions_are_the_likeliest_and_one_drawn_of_the_rest():
    torch.manual_seed(1)
    p = torch.tensor([0.1, 0.4, 0.0, 0.2, 0.3], dtype=torch.float64)
    positions, weights = pick(p.log().expand(20_000, 1, 5), 2)
    assert (positions[..., :2] == torch.tensor([1, 4])).all()
    assert_close(
        weights[0, 0], torch.tensor([0.4, 0.3, 0.3], dtype=torch.float64), rtol=4 * EPS, atol=0.0
    )
    share = (positions[..., 2] == 3).double().mean()
    assert abs(share - 2 / 3) < 5 * (2 / 9 / 20_000) ** 0.5
    assert set(positions[..., 2].unique().tolist()) == {0, 3}


def test_a_forbidden_position_adds_neither_to_the_sum_nor_nan_to_a_gradient():
    energies = torch.tensor([[[0.3, -torch.inf, 1.0]]]).double().requires_grad_()
    distribution = energies.log_softmax(-1)
    table = torch.randn(1, 3).double()

    def features_at(positions: Tensor) -> Tensor:
        return table.gather(1, positions[0]).view(1, 1, -1, 1)

    drawn = Drawn(distribution[..., 2], distribution, features_at, True)
    for k in (0, 1, 2, 3):
        estimator = build("none", k)
        features = features_at(torch.tensor([[[2]]])).squeeze(2)
        readings = estimator.readings(features, drawn)
        real = torch.ones(1, 1).bool()
        loss = estimator(readings.features.squeeze(-1), readings, drawn, features, real)
        (gradient,) = torch.autograd.grad(loss, energies, retain_graph=True)
        assert gradient.isfinite().all() and gradient[0, 0, 1] == 0
    p = distribution.detach().exp()[0, 0, [0, 2]]
    assert_close(entropy(distribution)[0, 0], -(p * p.log()).sum(), rtol=8 * EPS, atol=0.0)


@each_baseline
def test_pads_change_nothing(baseline):
    """A step beyond the end has no say in the loss, the baseline, or the gains before it."""
    torch.manual_seed(5)
    distribution = torch.randn(2, 3, 4).double().log_softmax(-1)
    gains, features = torch.randn(2, 3, 1).double(), torch.randn(2, 3, 1).double()
    real = torch.tensor([[True, True, True], [True, False, False]])

    def loss(noise: float) -> tuple[Tensor, Tensor]:
        estimator = build(baseline)
        pads = noise * (~real).double().unsqueeze(-1)
        drawn = Drawn(distribution[..., 1], distribution + pads, lambda positions: features, True)
        readings = estimator.readings(features, drawn)
        value = estimator(
            gains * real.unsqueeze(-1) + pads, readings, drawn, features + pads, real
        )
        return value, torch.cat([b.flatten() for b in estimator.buffers()] or [torch.zeros(1)])

    assert_close(loss(7.0), loss(0.0), rtol=0.0, atol=0.0)


def test_the_moving_average_moves_a_tenth_and_starts_at_the_first_mean():
    baseline = MovingAverage(1).double()
    real = torch.tensor([[True, True, False]])
    before = torch.zeros(1, 3, 1).double()
    means = []
    for gains in ([-4.0, -2.0, 99.0], [-1.0, -1.0, 99.0]):
        both = torch.tensor([gains]).double().unsqueeze(-1).expand(-1, -1, 2)
        baseline.fit(baseline(before), both, real.unsqueeze(-1).expand(-1, -1, 2))
        means.append(float(baseline.mean))
    assert means == pytest.approx([-3.0, -2.8])
    assert_close(baseline(before), torch.full((1, 3, 2), -2.8).double())
