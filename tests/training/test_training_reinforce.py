"""Training where positions are drawn: the loss, its gradient, its state, a whole run."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainer import build_trainer, weights
from torch import Tensor, nn
from torch.testing import assert_close

from qkv.attention.normalizers.hard import Hard
from qkv.attention.normalizers.normalizer import Normalized
from qkv.config import AttentionConfig, LuongConfig, ReinforceConfig, RNNsearchConfig
from qkv.configfile import make_config
from qkv.data import collate
from qkv.models.build import build_model
from qkv.models.weights import load_tensors
from qkv.nn.reinforce import Reinforce
from qkv.training.estimator import Exact, build_estimator
from qkv.training.loss import SequenceLoss
from small_runs import fit, small, tree

HARD = AttentionConfig("additive", normalizer="hard")
SIZES = {"embedding": 3, "hidden": 4, "dropout": 0.0}
MODELS = {
    "rnnsearch": RNNsearchConfig(attention=HARD, maxout=3, **SIZES),
    "luong-fed": LuongConfig(attention=HARD, layers=1, **SIZES),
    "luong": LuongConfig(attention=HARD, layers=1, input_feeding=False, **SIZES),
}
# Two target tokens that read one of three positions each: nine paths.
SOURCE, LENGTH = torch.tensor([[5, 4, 2]]), torch.tensor([3])
TARGET_IN, TARGET_OUT = torch.tensor([[1, 6]]), torch.tensor([[6, 2]])


class Guided(Hard):
    """Reads what it is told to, step after step, and says how likely that was."""

    def __init__(self, path: tuple[int, ...]) -> None:
        super().__init__()
        self.path, self.log_p = list(path), torch.zeros(())

    def forward(self, energies: Tensor, *, stats: bool) -> Normalized:
        given = torch.tensor([self.path.pop(0) for _ in range(energies.shape[-2])])
        one_hot = nn.functional.one_hot(given, energies.shape[-1]).to(energies.dtype)
        self.log_p = self.log_p + (energies.log_softmax(-1) * one_hot).sum()
        return Normalized(one_hot.expand_as(energies))


def model_of(name: str) -> nn.Module:
    torch.manual_seed(1)
    model = build_model(MODELS[name], 7, 8).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7)
    return model


def flat(gradients: Any) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])


def by_enumeration(model: nn.Module, smoothing: float) -> tuple[Tensor, float]:
    """The gradient of E[loss] over the nine paths, and the expected plain loss."""
    loss, expected, plain = SequenceLoss(model, smoothing), torch.zeros(()), 0.0
    for path in itertools.product(range(3), repeat=2):
        guide = model.attention.normalizer = Guided(path)
        smoothed, nll = loss(SOURCE, LENGTH, TARGET_IN, TARGET_OUT)
        expected = expected + guide.log_p.exp() * smoothed
        plain += float(guide.log_p.detach().exp() * nll)
    model.attention.normalizer = Hard()
    return flat(torch.autograd.grad(expected, own(model))), plain


def own(model: nn.Module) -> list[Tensor]:
    """The parameters, but for embeddings: most rows of those are not read."""
    return [p for name, p in model.named_parameters() if "embedding" not in name]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "settings",
    [
        {"baseline": "none"},
        {"baseline": "moving_average"},
        {"baseline": "learned"},
        {"baseline": "moving_average", "rao_blackwell": 1},
        {"baseline": "learned", "rao_blackwell": 3},
    ],
    ids=str,
)
def test_the_expected_gradient_of_a_model_is_that_of_full_enumeration(name, settings):
    model, smoothing = model_of(name), 0.1
    expected, expected_plain = by_enumeration(model, smoothing)
    estimator = build_estimator(model, ReinforceConfig(entropy=0.0, **settings)).double()
    loss = SequenceLoss(model, smoothing, estimator).train()
    copies, batches, found, plains = 128, 60, [], []
    batch = [t.expand(copies, *t.shape[1:]) for t in (SOURCE, LENGTH, TARGET_IN, TARGET_OUT)]
    torch.manual_seed(2)
    for _ in range(batches):
        value, plain = loss(*batch)
        found.append(flat(torch.autograd.grad(value / copies, own(model))))
        plains.append(plain / copies)
    means, plain = torch.stack(found), torch.stack(plains)
    # Five standard errors of a mean of 60 batches, themselves near normal: with the error of
    # their own spread (60 draws: a tenth), a chance of about 1e-5 for each of some 300 numbers.
    # Losses are float32: two tokens, each a few roundings of numbers below 10.
    rounding = 20 * torch.finfo(torch.float32).eps
    slack = 5 * means.std(0) / batches**0.5 + rounding
    assert ((means.mean(0) - expected).abs() <= slack).all()
    assert slack.max() < 0.2 * expected.abs().max()
    assert abs(plain.mean() - expected_plain) <= 5 * plain.std() / batches**0.5 + rounding


@pytest.mark.parametrize("name", MODELS)
def test_in_eval_mode_the_loss_is_that_of_the_likeliest_path(name):
    model = model_of(name).eval()
    estimator = build_estimator(model, ReinforceConfig())
    smoothed, plain = SequenceLoss(model, 0.0, estimator)(SOURCE, LENGTH, TARGET_IN, TARGET_OUT)
    logits = model(SOURCE, LENGTH, TARGET_IN)[0].log_softmax(-1)
    # Two differences of float32 logits below 10.
    expected = -(logits[0, 6] + logits[1, 2]).float()
    assert_close(plain.float(), expected, rtol=0.0, atol=2 * 10 * 1.2e-7)
    assert_close(smoothed.float(), expected, rtol=0.0, atol=2 * 10 * 1.2e-7)
    rows = model.force(SOURCE, LENGTH, TARGET_IN, need_attention=True).attention
    assert set(rows.unique().tolist()) == {0.0, 1.0}


def test_only_a_model_that_draws_gets_an_estimator():
    for config in (LuongConfig(**SIZES), LuongConfig(attention=AttentionConfig("dot"), **SIZES)):
        assert isinstance(build_estimator(build_model(config, 7, 8), ReinforceConfig()), Exact)
    gumbel = LuongConfig(attention=AttentionConfig(normalizer="gumbel"), **SIZES)
    assert isinstance(build_estimator(build_model(gumbel, 7, 8), ReinforceConfig()), Exact)
    for name in MODELS:
        built = build_estimator(model_of(name), ReinforceConfig(rao_blackwell=2, weight=0.5))
        assert isinstance(built, Reinforce)
        assert (built.rao_blackwell, built.weight, built.entropy) == (2, 0.5, 0.01)


def values(corpus: Path, model: str, *, normalizer: str = "hard", **reinforce: Any) -> Any:
    found = tree(corpus, model, reinforce=reinforce)
    found["model"]["attention"] = {"score": "general", "normalizer": normalizer}
    return found


@pytest.mark.parametrize("model", ["rnnsearch", "luong"])
@pytest.mark.parametrize("baseline", ["none", "moving_average", "learned"])
def test_a_checkpoint_restores_the_baseline(
    model: str, baseline: str, corpus: Path, tmp_path: Path
):
    config = make_config(values(corpus, model, baseline=baseline, rao_blackwell=2))
    one = build_trainer(config, tmp_path / "run")
    for _ in range(3):
        one.update()
    one.evaluate()
    one.save()
    two = build_trainer(config, tmp_path / "run")
    assert two.resume()
    held = one.parts.estimator.state_dict()
    assert bool(held) == (baseline != "none")
    for trainer in (one, two):
        trainer.update()
        trainer.update()
    for name, tensor in weights(one).items():
        assert torch.equal(weights(two)[name], tensor), name
    moved = one.parts.estimator.state_dict()
    assert_close(two.parts.estimator.state_dict(), moved, rtol=0.0, atol=0.0)


def test_a_baseline_learns_and_is_no_part_of_the_model(corpus: Path, tmp_path: Path):
    trainer = build_trainer(
        make_config(values(corpus, "luong", baseline="learned")), tmp_path / "run"
    )
    before = {n: p.detach().clone() for n, p in trainer.parts.estimator.named_parameters()}
    for _ in range(3):
        trainer.update()
    for name, parameter in trainer.parts.estimator.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    run = fit(tmp_path / "whole", values(corpus, "luong", baseline="learned"))
    tensors, _ = load_tensors(run / "weights.safetensors")
    assert tensors.keys() == weights(trainer).keys()
    assert any(
        name.startswith("estimator.") for name in load_tensors(run / "checkpoint.safetensors")[0]
    )


@pytest.mark.parametrize("model", ["rnnsearch", "luong"])
def test_the_position_learns_only_through_the_estimator(model: str, corpus: Path, tmp_path: Path):
    """Without the score term, and the entropy, nothing moves the energies' own parameters."""
    moved = {}
    for weight in (0.0, 1.0):
        settings = values(corpus, model, weight=weight, entropy=0.0)
        trainer = build_trainer(make_config(settings), tmp_path / str(weight))
        before = trainer.model.attention.score.project_key.weight.detach().clone()
        for _ in range(3):
            trainer.update()
        moved[weight] = not torch.equal(trainer.model.attention.score.project_key.weight, before)
    assert moved == {0.0: False, 1.0: True}


@pytest.mark.parametrize("normalizer", ["hard", "gumbel"])
@pytest.mark.parametrize("model", ["rnnsearch", "luong"])
def test_a_run_trains_and_its_seed_fixes_it(
    model: str, normalizer: str, corpus: Path, tmp_path: Path
):
    settings = values(corpus, model, normalizer=normalizer)
    runs = [fit(tmp_path / name, settings) for name in ("one", "two")]
    first, second = ((run / "weights.safetensors").read_bytes() for run in runs)
    assert first == second
    records = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
    assert records[1]["dev_loss"] < records[0]["dev_loss"]


def test_a_reported_loss_is_the_plain_one_of_the_dev_set(corpus: Path, tmp_path: Path):
    trainer = build_trainer(make_config(values(corpus, "luong")), tmp_path / "run")
    assert trainer.evaluate() == trainer.evaluate()
    batch = collate(trainer.task.train, [0, 1, 2])
    trainer.model.eval()
    given = batch.source, batch.source_lengths, batch.target_in, batch.target_out
    one, two = (trainer.loss(*given)[1] for _ in range(2))
    assert torch.equal(one, two)
    soft = build_trainer(small(corpus, "luong"), tmp_path / "soft")
    assert soft.parts.estimator.state_dict() == {}
