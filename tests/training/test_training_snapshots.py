from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from qkv.training.snapshots import Snapshots, average


def steps_in(folder: Path) -> list[int]:
    return sorted(int(file.stem) for file in folder.glob("*.safetensors"))


def test_the_average_of_snapshots_is_the_mean_of_each_tensor(tmp_path: Path):
    snapshots = Snapshots(tmp_path, last=3)
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(5, 7, generator=generator) * 10**i for i in range(3)]
    for step, tensor in enumerate(tensors):
        snapshots.write(step, {"weight": tensor, "bias": tensor[0].clone()})

    mean = average(snapshots.latest())

    expected = torch.stack([tensor.double() for tensor in tensors]).mean(0)
    # Summed in float64 and rounded once: half a unit in the last place.
    assert_close(mean["weight"], expected.float(), rtol=torch.finfo(torch.float32).eps, atol=0.0)
    assert_close(mean["bias"], mean["weight"][0], rtol=0.0, atol=0.0)
    assert mean["weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("best", "kept"), [(50, [30, 40, 50]), (10, [10, 30, 40, 50]), (30, [30, 40, 50])]
)
def test_the_best_and_the_last_snapshots_are_kept(best: int, kept: list[int], tmp_path: Path):
    snapshots = Snapshots(tmp_path, last=3)
    for step in (10, 20, 30, 40, 50):
        snapshots.write(step, {"weight": torch.full((2,), float(step))})
    snapshots.forget(best=best, now=50)
    assert steps_in(tmp_path) == kept
    assert [int(path.stem) for path in snapshots.latest()] == [30, 40, 50]
    assert_close(snapshots.read(best)["weight"], torch.full((2,), float(best)))


def test_what_a_killed_run_wrote_after_its_checkpoint_is_forgotten(tmp_path: Path):
    """Else a run that ends elsewhere than the first try would average weights it never had."""
    snapshots = Snapshots(tmp_path, last=2)
    for step in (10, 20, 30, 40):
        snapshots.write(step, {"weight": torch.zeros(1)})
    snapshots.forget(best=10, now=30)
    assert steps_in(tmp_path) == [10, 20, 30]
