from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from qkv.config import TrainingConfig
from qkv.training.optimizers import OPTIMIZERS, SCHEDULES, build_optimizer, learning_rate

PEAK, WARMUP, STEPS = 3e-3, 7, 40

FORMULAS = {
    "constant": lambda n: 1.0,
    "plateau": lambda n: 1.0,
    "inverse_sqrt": lambda n: math.sqrt(WARMUP / n) if n > WARMUP else 1.0,
    "cosine": lambda n: (1 + math.cos(math.pi * (n - 1) / STEPS)) / 2,
    "linear": lambda n: 1 - (n - 1) / STEPS,
}


@pytest.mark.parametrize("schedule", FORMULAS)
def test_the_learning_rate_follows_its_formula(schedule: str):
    config = TrainingConfig(learning_rate=PEAK, schedule=schedule, warmup=WARMUP)  # type: ignore[arg-type]
    for n in range(1, STEPS + 1):
        rate = learning_rate(config, n, (n - 1) / STEPS, 1.0)
        expected = PEAK * min(1.0, n / WARMUP) * FORMULAS[schedule](n)
        assert rate == pytest.approx(expected, rel=1e-12), n


def test_every_schedule_has_a_formula_here():
    assert SCHEDULES.keys() == FORMULAS.keys()


@pytest.mark.parametrize("schedule", FORMULAS)
def test_the_rate_rises_from_a_fraction_of_the_peak_and_never_passes_it(schedule: str):
    config = TrainingConfig(learning_rate=PEAK, schedule=schedule, warmup=WARMUP)  # type: ignore[arg-type]
    rates = [learning_rate(config, n, (n - 1) / STEPS, 1.0) for n in range(1, STEPS + 1)]
    assert rates[0] == pytest.approx(PEAK / WARMUP, rel=1e-12)
    assert max(rates) <= PEAK
    assert all(a < b for a, b in itertools.pairwise(rates[:4]))


@pytest.mark.parametrize("schedule", FORMULAS)
def test_without_a_warm_up_the_first_rate_is_the_peak(schedule: str):
    config = TrainingConfig(learning_rate=PEAK, schedule=schedule, warmup=0)  # type: ignore[arg-type]
    assert learning_rate(config, 1, 0.0, 1.0) == PEAK


@pytest.mark.parametrize("schedule", FORMULAS)
def test_a_plateaus_cut_multiplies_the_rate(schedule: str):
    config = TrainingConfig(learning_rate=PEAK, schedule=schedule, warmup=WARMUP)  # type: ignore[arg-type]
    whole = learning_rate(config, 11, 0.25, 1.0)
    assert learning_rate(config, 11, 0.25, 0.25) == pytest.approx(whole / 4, rel=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_has_the_rate_and_the_weight_decay_of_the_config(name: str):
    config = TrainingConfig(optimizer=name, learning_rate=0.25, weight_decay=0.5)  # type: ignore[arg-type]
    (group,) = build_optimizer([nn.Parameter(torch.ones(3))], config).param_groups
    assert (group["lr"], group["weight_decay"]) == (0.25, 0.5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_shrinks_a_parameter_without_a_gradient(name: str):
    parameter = nn.Parameter(torch.full((3,), 2.0))
    config = TrainingConfig(optimizer=name, learning_rate=0.1, weight_decay=0.1)  # type: ignore[arg-type]
    optimizer = build_optimizer([parameter], config)
    parameter.grad = torch.zeros(3)
    optimizer.step()
    assert (parameter < 2.0).all()
    still = nn.Parameter(torch.full((3,), 2.0))
    optimizer = build_optimizer([still], replace(config, weight_decay=0.0))
    still.grad = torch.zeros(3)
    optimizer.step()
    assert_close(still.detach(), torch.full((3,), 2.0))


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_adams_take_the_decay_rates_of_the_config(name: str):
    config = TrainingConfig(optimizer=name, betas=(0.7, 0.8))  # type: ignore[arg-type]
    (group,) = build_optimizer([nn.Parameter(torch.ones(3))], config).param_groups
    assert tuple(group["betas"]) == (0.7, 0.8)
