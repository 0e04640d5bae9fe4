from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainer import build_trainer, weights

from qkv.folder import write_json
from qkv.models.weights import load_tensors, save_tensors
from qkv.training import validate
from qkv.training.trainer import Trainer
from small_runs import LABELLERS, fit, qkv, small, spawn, tree, write_labels, write_toml

HERE = Path(__file__).parent
TIMES = ("seconds", "tokens_per_second")


def history(run: Path) -> list[dict[str, Any]]:
    """Return what metrics.jsonl holds, without the times."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


def bytes_of(run: Path) -> bytes:
    return (run / "weights.safetensors").read_bytes()


def wait_for_checkpoints(process: subprocess.Popen[str], run: Path, count: int) -> None:
    """Wait until a training has written some more checkpoints, or has ended."""
    seen: set[int] = set()
    checkpoint = run / "checkpoint.safetensors"
    while len(seen) <= count and process.poll() is None:
        if checkpoint.exists():
            seen.add(checkpoint.stat().st_mtime_ns)
        time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["rnnsearch", "transformer", "classifier"])
def test_a_training_killed_at_random_moments_ends_with_the_weights_of_one_left_alone(
    model: str, corpus: Path, tmp_path: Path
):
    if model in LABELLERS:
        corpus = write_labels(tmp_path / "labels", model, train=90, test=24)
    values = tree(corpus, model, epochs=4, checkpoint_every=2, metric="accuracy", dev_limit=5)
    whole = fit(tmp_path / "whole", values)
    config = write_toml(tmp_path / "config.toml", values)
    run = tmp_path / "killed"
    seed = random.randrange(10**6)
    print(f"the moments of seed {seed}")
    moments = random.Random(seed)

    kills = 0
    for _ in range(2):
        process = spawn("train", config, "--out", run)
        wait_for_checkpoints(process, run, moments.randint(2, 12))
        time.sleep(moments.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    last = spawn("train", config, "--out", run)
    _, said = last.communicate()

    assert last.returncode == 0, said
    assert kills >= 1 and "going on from step" in said
    assert bytes_of(run) == bytes_of(whole)
    assert history(run) == history(whole)


@pytest.mark.slow
def test_a_training_killed_at_any_point_where_it_writes_goes_on_as_if_nothing_had_been(
    corpus: Path, tmp_path: Path
):
    settings = {"max_steps": 5, "evaluate_every": 2, "checkpoint_every": 1, "average": 2}
    values = tree(corpus, "transformer", **settings)
    values["data"]["tokens_per_batch"] = 200
    write_json(tmp_path / "config.json", values)
    swept = subprocess.run(
        [sys.executable, HERE / "crash_sweep.py", tmp_path / "config.json", tmp_path],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert swept.returncode == 0, swept.stderr
    outcomes = [json.loads(line) for line in swept.stdout.splitlines()]
    points = [outcome.pop("point") for outcome in outcomes]
    for place in ("config.json", "source.json", "target.json", "weights.safetensors"):
        assert f"before {place}" in points and f"after {place}" in points
    assert points.count("before checkpoint.safetensors") == 5
    assert points.count("before 000000002.safetensors") == 1
    assert points.count("deleted 000000002.safetensors") == 1
    assert points.count("half a line of metrics.jsonl") == 4
    for point, outcome in zip(points, outcomes, strict=True):
        assert all(outcome.values()), (point, outcome)


@pytest.mark.parametrize("model", ["rnnenc", "luong", "transformer"])
@pytest.mark.parametrize("optimizer", ["adam", "adadelta", "sgd"])
def test_a_checkpoint_restores_every_number_that_an_update_reads(
    model: str, optimizer: str, corpus: Path, tmp_path: Path
):
    config = small(corpus, model, optimizer=optimizer, schedule="plateau")
    one = build_trainer(config, tmp_path / "run")
    for _ in range(3):
        one.update()
    one.evaluate()
    one.progress = replace(one.progress, factor=0.5, stale=2)
    one.save()
    two = build_trainer(config, tmp_path / "run")
    assert two.resume()
    assert two.progress == one.progress
    for trainer in (one, two):
        trainer.update()
        trainer.update()
    for name, tensor in weights(one).items():
        assert torch.equal(weights(two)[name], tensor), name
    assert two.record()["loss"] == one.record()["loss"]


def test_a_checkpoint_restores_the_scale_of_float16(corpus: Path, tmp_path: Path):
    def build() -> Trainer:
        trainer = build_trainer(small(corpus), tmp_path / "run")
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        trainer.parts = replace(trainer.parts, scaler=scaler)
        return trainer

    one, two = build(), build()
    for _ in range(5):
        one.update()
    assert one.parts.scaler.get_scale() == 32.0
    one.save()
    assert two.resume()
    assert two.parts.scaler.state_dict() == one.parts.scaler.state_dict()


def test_a_finished_run_goes_on_where_more_epochs_are_asked_for(corpus: Path, tmp_path: Path):
    longer = tree(corpus, epochs=3, schedule="constant")
    at_once = fit(tmp_path / "at-once", longer)
    in_two = fit(tmp_path / "in-two", tree(corpus, epochs=1, schedule="constant"))
    first = bytes_of(in_two)
    fit(in_two, longer)
    assert bytes_of(in_two) == bytes_of(at_once) != first
    assert history(in_two) == history(at_once)
    assert json.loads((in_two / "config.json").read_text())["training"]["epochs"] == 3


def test_a_finished_run_started_again_stays_what_it_is(corpus: Path, tmp_path: Path):
    values = tree(corpus, epochs=2)
    run = fit(tmp_path / "run", values)
    before = bytes_of(run), history(run)
    fit(run, values)
    assert (bytes_of(run), history(run)) == before


def test_a_run_whose_limits_were_lowered_below_its_first_evaluation_is_evaluated_at_once(
    corpus: Path, tmp_path: Path
):
    config = small(corpus, epochs=3, checkpoint_every=1)
    trainer = build_trainer(config, tmp_path / "run")
    trainer.update()
    trainer.update()
    trainer.save()
    run = fit(tmp_path / "run", tree(corpus, epochs=3, checkpoint_every=1, max_steps=1))
    assert [record["step"] for record in history(run)] == [2, 2]
    assert (run / "weights.safetensors").exists()


def test_a_run_killed_before_its_checkpoint_still_has_the_weights_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch, corpus: Path, tmp_path: Path
):
    """What the last checkpoint calls the best is there, and nothing later is averaged in."""
    values = iter([3.0, 2.0])
    monkeypatch.setattr(validate, "measure", lambda *_: {"loss": next(values)})
    config = small(corpus, average=1)
    killed = build_trainer(config, tmp_path / "run")
    for saved in (True, False):
        killed.update()
        killed.evaluate()
        if saved:
            expected = weights(killed)
            killed.save()
    goes_on = build_trainer(config, tmp_path / "run")
    assert goes_on.resume()
    assert goes_on.finish() == {
        "step": 1,
        "weights": "best",
        "of_steps": [1],
        "dev_loss": 3.0,
    }
    found, _ = load_tensors(tmp_path / "run" / "weights.safetensors")
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    assert len(list((tmp_path / "run" / "snapshots").iterdir())) == 1


def test_another_config_is_refused_with_the_keys_that_differ_and_nothing_is_lost(
    corpus: Path, tmp_path: Path
):
    run = fit(tmp_path / "run", tree(corpus, epochs=1))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    values = tree(corpus, epochs=1, learning_rate=0.02)
    values["model"]["hidden"] = 11
    with pytest.raises(ValueError, match="keys differ: ") as raised:
        fit(run, values)
    message = str(raised.value)
    assert str(run) in message and "--out" in message
    assert "keys differ: model.hidden, training.learning_rate." in message
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_mistake_found_before_the_first_checkpoint_does_not_take_the_folder(
    corpus: Path, tmp_path: Path
):
    run = tmp_path / "run"
    wrong = tree(corpus, epochs=1)
    wrong["data"]["train"] = [str(corpus / "trian.tsv")]
    with pytest.raises(ValueError, match=r"trian\.tsv"):
        fit(run, wrong)
    wrong = tree(corpus, epochs=1)
    wrong["text"]["source"] = {"kind": "words", "size": 5}
    wrong["data"]["dev"] = [str(corpus / "dve.tsv")]
    with pytest.raises(ValueError, match=r"dve\.tsv"):
        fit(run, wrong)
    fit(run, tree(corpus, epochs=1))
    again = fit(tmp_path / "again", tree(corpus, epochs=1))
    assert bytes_of(run) == bytes_of(again)


def test_a_checkpoint_cut_short_is_refused_by_name_and_left_as_it_is(corpus: Path, tmp_path: Path):
    values = tree(corpus, epochs=2)
    run = fit(tmp_path / "run", values)
    checkpoint = run / "checkpoint.safetensors"
    whole = checkpoint.read_bytes()
    for size in (0, 7, 200, len(whole) - 1):
        checkpoint.write_bytes(whole[:size])
        with pytest.raises(
            ValueError, match=r"checkpoint\.safetensors is not a whole safetensors"
        ):
            fit(run, values)
        assert checkpoint.read_bytes() == whole[:size]
    checkpoint.write_bytes(whole)
    fit(run, values)


def test_a_file_that_is_no_checkpoint_is_refused_by_name(corpus: Path, tmp_path: Path):
    values = tree(corpus, epochs=1)
    run = fit(tmp_path / "run", values)
    save_tensors({"model.weight": torch.ones(2)}, run / "checkpoint.safetensors", {})
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is not a checkpoint of this"):
        fit(run, values)


def test_the_checkpoint_of_another_run_is_refused_by_name(corpus: Path, tmp_path: Path):
    run = fit(tmp_path / "run", tree(corpus, epochs=1))
    other = fit(tmp_path / "other", tree(corpus, epochs=1, seed=2))
    foreign = (other / "checkpoint.safetensors").read_bytes()
    (run / "checkpoint.safetensors").write_bytes(foreign)
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is a checkpoint of another"):
        fit(run, tree(corpus, epochs=2))


def test_a_run_does_not_go_on_with_other_data_under_the_same_name(corpus: Path, tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    for file in corpus.iterdir():
        (data / file.name).write_bytes(file.read_bytes())
    run = fit(tmp_path / "run", tree(data, epochs=1))
    with (data / "train.tsv").open("a") as stream:
        stream.write("a b\tb a\n")
    with pytest.raises(ValueError, match="the training data has changed"):
        fit(run, tree(data, epochs=2))


def test_a_folder_that_is_no_run_is_refused(corpus: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and is not a run; give another --out"):
        fit(tmp_path, tree(corpus))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_two_trainings_cannot_share_a_folder(corpus: Path, tmp_path: Path):
    from qkv.files import locked

    config = write_toml(tmp_path / "config.toml", tree(corpus, epochs=1))
    with locked(tmp_path / "run"):
        outcome = qkv("train", config, "--out", tmp_path / "run")
    assert outcome.status == 1
    assert f"another process is training in {tmp_path / 'run'}" in outcome.err
    assert qkv("train", config, "--out", tmp_path / "run").status == 0


@pytest.mark.parametrize("name", ["taken", "taken/run"])
def test_a_file_where_the_run_folder_should_be_is_named(name: str, corpus: Path, tmp_path: Path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    config = write_toml(tmp_path / "config.toml", tree(corpus))
    outcome = qkv("train", config, "--out", tmp_path / name)
    assert outcome.status == 1
    assert f"{tmp_path / name} is to be a folder, but {taken} is a file" in outcome.err
    assert "give another --out" in outcome.err and taken.read_text() == "mine"


@pytest.mark.parametrize("name", ["source.json", "target.json"])
def test_a_training_that_goes_on_learns_a_lost_vocabulary_again(
    name: str, corpus: Path, tmp_path: Path
):
    run = fit(tmp_path / "run", tree(corpus, epochs=1))
    before = (run / name).read_bytes()
    (run / name).unlink()
    fit(run, tree(corpus, epochs=2))
    assert (run / name).read_bytes() == before
