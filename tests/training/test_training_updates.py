from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainer import build_trainer, weights
from torch.testing import assert_close

from qkv.configfile import make_config
from qkv.models.weights import load_tensors
from qkv.training import validate
from qkv.training.trainer import Trainer
from small_runs import fit, qkv, small, tree, write_toml

EPS = torch.finfo(torch.float32).eps


def plain(corpus: Path, **training: Any) -> Any:
    """Return a config without dropout and without a warm-up, by stochastic gradient descent."""
    settings = {"optimizer": "sgd", "schedule": "constant", "warmup": 0, "clip": 0.0}
    values = tree(corpus, "transformer", **settings | {"learning_rate": 1.0} | training)
    values["model"] |= {"dropout": 0.0, "attention_dropout": 0.0}
    return make_config(values)


def test_accumulating_batches_is_the_same_as_one_batch_of_them(corpus: Path, tmp_path: Path):
    apart = build_trainer(plain(corpus, accumulate=3), tmp_path / "apart")
    together = build_trainer(plain(corpus), tmp_path / "together")
    batches = apart.batches()[:3]
    assert len({len(rows) for rows in batches}) > 1, "batches of equal size would prove less"
    apart.order = (0, batches)
    together.order = (0, [[row for rows in batches for row in rows]])
    before = weights(apart)

    apart.update()
    together.update()

    tokens = together.progress.tokens
    assert apart.progress.tokens == tokens
    assert apart.progress.loss == pytest.approx(together.progress.loss, rel=EPS * tokens)
    after = weights(together)
    # The gradients are means over the tokens, summed in another order.
    step = max(float((after[name] - weight).abs().max()) for name, weight in before.items())
    for name, weight in weights(apart).items():
        assert_close(weight, after[name], rtol=EPS, atol=EPS * tokens * step)
    assert step > 0.01


def test_every_example_is_read_once_an_epoch_the_last_batch_included(corpus: Path, tmp_path: Path):
    trainer = build_trainer(small(corpus, accumulate=5), tmp_path / "run")
    batches = trainer.batches()
    assert len(batches) % 5 != 0, "the last update must be short of batches"
    assert sorted(row for rows in batches for row in rows) == list(range(len(trainer.task.train)))
    while trainer.progress.epoch == 0:
        trainer.update()
    assert trainer.progress.step == -(-len(batches) // 5)
    assert trainer.progress.tokens == int(trainer.counts.sum())


def test_the_order_of_the_data_is_a_pure_function_of_seed_and_epoch(corpus: Path, tmp_path: Path):
    trainer = build_trainer(small(corpus), tmp_path / "a")
    first = trainer.batches()
    while trainer.progress.epoch < 2:
        trainer.update()
    third = trainer.batches()
    fresh = build_trainer(small(corpus), tmp_path / "b")
    fresh.progress = replace(fresh.progress, epoch=2)
    torch.manual_seed(7)  # nothing global has a say
    assert fresh.batches() == third != first
    other = build_trainer(small(corpus, seed=2), tmp_path / "c")
    assert other.batches() != first


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_the_gradient_is_clipped_to_its_norm_or_not_at_all(
    clip: float, corpus: Path, tmp_path: Path
):
    """With a rate of 1, the step of plain gradient descent is the gradient."""
    trainer = build_trainer(plain(corpus, clip=clip), tmp_path / "run")
    before = weights(trainer)
    trainer.update()
    steps = [weight - before[name] for name, weight in weights(trainer).items()]
    norm = float(torch.stack([step.double().square().sum() for step in steps]).sum().sqrt())
    if clip:
        # Each step is rounded to the precision of the weight that it changes, about 1.
        assert norm == pytest.approx(clip, rel=0.01)
    else:
        assert norm > 0.1


def test_the_first_updates_warm_up(corpus: Path, tmp_path: Path):
    config = small(corpus, warmup=4, schedule="constant", learning_rate=0.01)
    trainer = build_trainer(config, tmp_path / "run")
    rates = []
    for _ in range(6):
        trainer.update()
        rates.append(trainer.parts.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])


def test_every_update_draws_its_own_dropout(corpus: Path, tmp_path: Path):
    """The same batch, and weights that do not move: only the draws can change the loss."""
    config = small(corpus, "transformer", optimizer="sgd", learning_rate=1e-30, warmup=0)
    trainer = build_trainer(config, tmp_path / "run")
    trainer.order = (0, [trainer.batches()[0]] * 4)
    losses = []
    for _ in range(3):
        trainer.update()
        losses.append(trainer.record()["loss"])
    assert len(set(losses)) == 3


def give_dev_values(monkeypatch: pytest.MonkeyPatch, values: list[float], name: str = "loss"):
    """Let evaluations find these values, one after the other."""
    given = iter(values)
    monkeypatch.setattr(validate, "measure", lambda *_: {name: next(given)})


def test_a_plateau_cuts_the_rate_by_its_factor(
    monkeypatch: pytest.MonkeyPatch, corpus: Path, tmp_path: Path
):
    config = small(corpus, schedule="plateau", plateau_factor=0.25, warmup=0, learning_rate=0.01)
    trainer = build_trainer(config, tmp_path / "run")
    give_dev_values(monkeypatch, [3.0, 2.0, 2.0, 2.5, 1.0, 1.5])
    rates = []
    for _ in range(6):
        trainer.update()
        rates.append(trainer.parts.optimizer.param_groups[0]["lr"])
        trainer.evaluate()
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.0025, 0.000625, 0.000625])
    assert trainer.progress.factor == 0.25**3


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "inverse_sqrt"])
def test_no_other_schedule_is_cut(
    schedule: str, monkeypatch: pytest.MonkeyPatch, corpus: Path, tmp_path: Path
):
    trainer = build_trainer(small(corpus, schedule=schedule), tmp_path / "run")
    give_dev_values(monkeypatch, [1.0, 2.0])
    trainer.update()
    trainer.evaluate()
    trainer.evaluate()
    assert trainer.progress.factor == 1.0


def test_patience_stops_after_that_many_evaluations_without_a_better_value(
    monkeypatch: pytest.MonkeyPatch, corpus: Path, tmp_path: Path
):
    values = tree(corpus, epochs=50, evaluate_every=2, patience=3, average=1)
    give_dev_values(monkeypatch, [5.0, 4.0, 4.5, 3.0, 3.0, 3.5, 3.1, 1.0])
    run = fit(tmp_path / "run", values)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4, 6, 8, 10, 12, 14, 14]
    assert records[-1] == {"step": 14, "weights": "best", "of_steps": [8], "dev_loss": 3.0}


@pytest.mark.parametrize("metric", ["loss", "wer", "per", "bleu", "chrf", "accuracy"])
def test_better_is_smaller_for_losses_and_error_rates_and_bigger_for_the_rest(
    metric: str, corpus: Path, tmp_path: Path
):
    trainer = build_trainer(small(corpus, metric=metric), tmp_path / "run")
    smaller_is_better = metric in {"loss", "wer", "per"}
    low, high = (1.0, 0.5), (2.0, 0.5)
    assert trainer.better(low, high) == smaller_is_better
    assert trainer.better(high, low) != smaller_is_better
    assert not trainer.better(low, low)


@pytest.mark.parametrize("metric", ["accuracy", "per"])
def test_of_equal_dev_values_the_one_with_the_lower_loss_wins_and_the_end_names_its_step(
    metric: str, monkeypatch: pytest.MonkeyPatch, corpus: Path, tmp_path: Path
):
    settings = {"epochs": 50, "max_steps": 8, "evaluate_every": 2, "average": 1}
    given = iter([(50.0, 3.0), (50.0, 2.0), (50.0, 2.0), (50.0, 2.5)])
    monkeypatch.setattr(
        validate, "measure", lambda *_: dict(zip((metric, "loss"), next(given), strict=True))
    )
    config = write_toml(tmp_path / "config.toml", tree(corpus, metric=metric, **settings))
    outcome = qkv("train", config, "--out", tmp_path / "run")
    assert outcome.status == 0
    assert f"done: step 8  weights best  of_steps 4  dev_{metric} 50;" in outcome.err
    found, _ = load_tensors(tmp_path / "run" / "weights.safetensors")
    best, _ = load_tensors(tmp_path / "run" / "snapshots" / "000000004.safetensors")
    for name, tensor in found.items():
        assert_close(tensor, best[name], rtol=0.0, atol=0.0)


def test_the_log_and_the_bar_count_epochs_from_one(corpus: Path, tmp_path: Path):
    trainer = build_trainer(small(corpus, epochs=2), tmp_path / "run")
    said = []
    batches = len(trainer.batches())
    for _ in range(2 * batches):
        trainer.update()
        assert f"epoch {trainer.progress.current_epoch} " in trainer.facts()
        said.append(trainer.record()["epoch"])
    assert said == [1] * batches + [2] * batches


def trained_with_dev_values(
    values: list[float], monkeypatch: pytest.MonkeyPatch, corpus: Path, run: Path
) -> dict[str, Any]:
    settings = {"epochs": 50, "max_steps": 6, "evaluate_every": 2, "average": 2}
    give_dev_values(monkeypatch, values)
    fit(run, tree(corpus, **settings))
    record: dict[str, Any] = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    return record


def test_the_average_is_kept_where_it_beats_the_best(
    monkeypatch: pytest.MonkeyPatch, corpus: Path, tmp_path: Path
):
    """Evaluations find 3, 1 and 2; the fourth value is the average's."""
    run = tmp_path / "run"
    record = trained_with_dev_values([3.0, 1.0, 2.0, 0.5], monkeypatch, corpus, run)
    assert record == {"step": 6, "weights": "average", "of_steps": [4, 6], "dev_loss": 0.5}
    found, _ = load_tensors(run / "weights.safetensors")
    files = sorted((run / "snapshots").glob("*.safetensors"))
    assert [int(file.stem) for file in files] == [4, 6]
    one, two = (load_tensors(file)[0] for file in files)
    for name, tensor in found.items():
        mean = (one[name].double() + two[name].double()) / 2
        assert_close(tensor, mean.float(), rtol=EPS, atol=0.0)


def test_the_best_weights_are_kept_where_they_beat_the_average(
    monkeypatch: pytest.MonkeyPatch, corpus: Path, tmp_path: Path
):
    run = tmp_path / "run"
    record = trained_with_dev_values([1.0, 3.0, 2.0, 1.5], monkeypatch, corpus, run)
    assert record == {"step": 6, "weights": "best", "of_steps": [2], "dev_loss": 1.0}
    found, _ = load_tensors(run / "weights.safetensors")
    best, _ = load_tensors(run / "snapshots" / "000000002.safetensors")
    for name, tensor in found.items():
        assert_close(tensor, best[name], rtol=0.0, atol=0.0)


def test_the_end_of_the_training_is_always_evaluated_and_saved(corpus: Path, tmp_path: Path):
    run = fit(tmp_path / "run", tree(corpus, max_steps=5, evaluate_every=3, average=1))
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [3, 5, 5]
    trainer = build_trainer(small(corpus, max_steps=5, evaluate_every=3, average=1), run)
    assert trainer.resume() and trainer.progress.step == 5


def test_float16_on_a_cpu_is_refused_by_name(corpus: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"training\.precision = 'float16' needs a GPU"):
        fit(tmp_path / "run", tree(corpus, precision="float16"))


@pytest.mark.parametrize("model", ["rnnsearch", "transformer"])
def test_bfloat16_computes_in_bfloat16_and_keeps_its_weights_in_float32(
    model: str, corpus: Path, tmp_path: Path
):
    trainers: list[Trainer] = []
    for precision in ("float32", "bfloat16"):
        values = tree(corpus, model, precision=precision)
        values["model"]["dropout"] = 0.0
        trainers.append(build_trainer(make_config(values), tmp_path / precision))
    exact, rounded = trainers
    for trainer in trainers:
        trainer.update()
    # bfloat16 has 8 bits: two to three digits of the loss, and not more.
    assert rounded.progress.loss == pytest.approx(exact.progress.loss, rel=0.02)
    assert rounded.progress.loss != exact.progress.loss
    for name, weight in weights(rounded).items():
        assert weight.dtype == torch.float32 and weight.isfinite().all(), name


def test_a_training_that_diverges_is_stopped_with_what_to_change(corpus: Path, tmp_path: Path):
    values = tree(corpus, optimizer="sgd", learning_rate=1e30, warmup=0, clip=0.0, epochs=9)
    with pytest.raises(ValueError, match=r"diverged; lower training\.learning_rate"):
        fit(tmp_path / "run", values)


@pytest.mark.parametrize("model", ["rnnsearch", "transformer"])
def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others(
    model: str, corpus: Path, tmp_path: Path
):
    runs = [
        fit(tmp_path / name, tree(corpus, model, epochs=1, seed=seed))
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    ]
    one, again, other = ((run / "weights.safetensors").read_bytes() for run in runs)
    assert one == again
    assert load_tensors(runs[0] / "weights.safetensors")[0].keys() == (
        load_tensors(runs[2] / "weights.safetensors")[0].keys()
    )
    assert one != other


def test_the_dev_loss_is_the_mean_over_the_tokens_without_smoothing_or_dropout(
    corpus: Path, tmp_path: Path
):
    config = small(corpus, "transformer", label_smoothing=0.3)
    trainer = build_trainer(config, tmp_path / "run")
    values = trainer.evaluate()
    one_by_one, tokens = 0.0, 0
    trainer.model.eval()
    with torch.no_grad():
        for source, target in zip(trainer.task.dev.source, trainer.task.dev.target, strict=True):
            ids, outputs = [*source.tolist(), 2], [*target.tolist(), 2]
            logits = trainer.model(
                torch.tensor([ids]), torch.tensor([len(ids)]), torch.tensor([[1, *outputs[:-1]]])
            )
            log_probs = logits[0].double().log_softmax(-1)
            one_by_one -= float(log_probs[range(len(outputs)), outputs].sum())
            tokens += len(outputs)
    # float32 log-probabilities of about 2, with an error of a few units in the last place each.
    assert values["dev_loss"] == pytest.approx(one_by_one / tokens, rel=20 * EPS)
