"""Optimisers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from torch import nn, optim

from qkv.config import TrainingConfig

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter], TrainingConfig], optim.Optimizer]] = {
    "adam": lambda parameters, config: optim.Adam(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        eps=1e-9,
        weight_decay=config.weight_decay,
        fused=True,
    ),
    "adamw": lambda parameters, config: optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        eps=1e-9,
        weight_decay=config.weight_decay,
        fused=True,
    ),
    "adadelta": lambda parameters, config: optim.Adadelta(
        parameters,
        lr=config.learning_rate,
        rho=0.95,
        eps=1e-6,
        weight_decay=config.weight_decay,
    ),
    "sgd": lambda parameters, config: optim.SGD(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay
    ),
}

SCHEDULES: dict[str, Callable[[float, int, int], float]] = {
    "constant": lambda progress, step, warmup: 1.0,
    "plateau": lambda progress, step, warmup: 1.0,  # its factor comes from the dev metric
    "inverse_sqrt": lambda progress, step, warmup: math.sqrt(warmup / max(step, warmup)),
    "cosine": lambda progress, step, warmup: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "linear": lambda progress, step, warmup: 1.0 - progress,
}


def learning_rate(config: TrainingConfig, step: int, progress: float, factor: float) -> float:
    """Return the rate of update `step` (from 1).

        rate = peak * factor * min(1, step / warmup) * schedule

    inverse_sqrt: sqrt(warmup / max(step, warmup)) (Vaswani et al. 2017, eq. 3, with the peak as
    the parameter); cosine: (1 + cos(pi * progress)) / 2; linear: 1 - progress; constant and
    plateau: 1. A warm-up of 0 counts as 1.

    Args:
        config: gives peak, warm-up and schedule.
        step: the update, from 1.
        progress: the share of the training that is done, in 0..1.
        factor: what a plateau has cut so far.
    """
    warmup = max(1, config.warmup)
    schedule = SCHEDULES[config.schedule](progress, step, warmup)
    return config.learning_rate * factor * min(1.0, step / warmup) * schedule


def build_optimizer(parameters: Iterable[nn.Parameter], config: TrainingConfig) -> optim.Optimizer:
    """Build the optimiser that a config names."""
    return OPTIMIZERS[config.optimizer](parameters, config)
