from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainer import build_trainer
from torch.testing import assert_close

from qkv.configfile import make_config
from qkv.models.weights import load_tensors
from qkv.training.distributed import Processes
from small_runs import LABELLERS, fit, tree, write_labels, write_toml

CPU = torch.device("cpu")


def torchrun(count: int, config: Path, run: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `qkv train` in some processes that talk over the loopback interface."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(count), "-m", "qkv", "train", config, "--out", run, *words),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_together_the_processes_have_each_row_once():
    rows = [31, 5, 17, 2, 11]
    for count in (1, 2, 3, 7):
        shares = [Processes(rank, count, CPU).share(rows) for rank in range(count)]
        assert sorted(row for share in shares for row in share) == sorted(rows)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_needs_no_other():
    alone = Processes(0, 1, CPU)
    assert alone.leads
    assert alone.total(1.5, 2.0) == [1.5, 2.0]
    alone.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "tokens"),
    [("transformer", 14), ("classifier", 18), ("tagger", 18)],
)
def test_two_processes_learn_what_one_does_and_only_the_leader_writes(
    kind: str, tokens: int, corpus: Path, tmp_path: Path
):
    """Without dropout, and with batches of a single row, so that a process gets none of it."""
    settings = {"epochs": 2, "accumulate": 3, "evaluate_every": 6, "max_steps": 14, "average": 2}
    if kind in LABELLERS:
        corpus = write_labels(tmp_path / "labels", kind, train=60, test=9)
        # Adam would not see a gradient that is twice what it should be; this does.
        settings |= {"optimizer": "sgd", "clip": 0.0, "learning_rate": 0.2}
    values = tree(corpus, kind, **settings)
    values["data"]["tokens_per_batch"] = tokens
    values["model"] |= {key: 0.0 for key in values["model"] if key.endswith("dropout")}
    sizes = [len(rows) for rows in build_trainer(make_config(values), tmp_path / "x").batches()]
    assert 1 in sizes and any(size % 2 for size in sizes if size > 1)
    config = write_toml(tmp_path / "config.toml", values)
    one = fit(tmp_path / "one", values)

    ended = torchrun(2, config, tmp_path / "two")

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    # The leader alone speaks and writes: every line stands once.
    assert ended.stderr.count("done: ") == 1
    two = tmp_path / "two"
    assert (
        [r["step"] for r in history(two)] == [r["step"] for r in history(one)] == [6, 12, 14, 14]
    )
    for a, b in zip(history(one)[:-1], history(two)[:-1], strict=True):
        # Adam's division by the root of a small second moment magnifies the rounding of sums.
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
        assert b["dev_loss"] == pytest.approx(a["dev_loss"], rel=1e-4)
        assert b["learning_rate"] == a["learning_rate"]
    expected, _ = load_tensors(one / "weights.safetensors")
    found, _ = load_tensors(two / "weights.safetensors")
    # 14 updates of at most learning_rate (0.01) each; what rounding may turn round is the sign of
    # gradients that are zero but for rounding, those of the keys' biases.
    for name, tensor in expected.items():
        if not name.endswith("project_key.bias"):
            assert_close(found[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_measuring_the_dev_set_may_take_longer_than_the_processes_wait_for_each_other(
    corpus: Path, tmp_path: Path
):
    """Ten minutes of NCCL, thirty of gloo; here seconds. It is the leader alone who measures."""
    settings = {"epochs": 1, "max_steps": 2, "average": 1, "schedule": "constant"}
    config = write_toml(tmp_path / "config.toml", tree(corpus, "rnnenc", **settings))
    script = Path(__file__).parent / "slow_leader.py"
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", script, config, tmp_path / "run", "10", "14"),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert [record["step"] for record in history(tmp_path / "run")] == [2, 2]


@pytest.mark.slow
def test_processes_that_cannot_train_all_end_with_an_error(corpus: Path, tmp_path: Path):
    values = tree(corpus)
    values["data"]["train"] = [str(corpus / "nothing.tsv")]
    config = write_toml(tmp_path / "config.toml", values)
    ended = torchrun(2, config, tmp_path / "run")
    assert ended.returncode != 0
    assert "qkv train: no such file" in ended.stderr
