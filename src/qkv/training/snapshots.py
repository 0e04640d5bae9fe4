"""The weights of evaluations: the best ones, and the last few for their average."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from qkv.models.weights import load_tensors, save_tensors


class Snapshots:
    """Files named by their step, so that a checkpoint says which of them count.

    A snapshot is written before the checkpoint that knows of it, and deleted only after one that
    no longer needs it: whenever the process is killed, what the checkpoint needs is there.
    """

    def __init__(self, folder: Path, *, last: int) -> None:
        """Keep the snapshots of the best step and of the `last` last ones in a folder."""
        self.folder = folder
        self.last = last

    def path(self, step: int) -> Path:
        """Return the file of a step."""
        return self.folder / f"{step:09d}.safetensors"

    def write(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Keep the weights of a step."""
        save_tensors(tensors, self.path(step), {"step": str(step)})

    def read(self, step: int) -> dict[str, Tensor]:
        """Return the weights of a step."""
        return load_tensors(self.path(step))[0]

    def latest(self) -> list[Path]:
        """Return the files of the last evaluations, oldest first."""
        return sorted(self.folder.glob("*.safetensors"))[-self.last :]

    def forget(self, *, best: int, now: int) -> None:
        """Delete what is neither the best nor among the last ones up to the step `now`."""
        files = sorted(self.folder.glob("*.safetensors"))
        past = [file for file in files if file <= self.path(now)]
        keep = {self.path(best), *past[-self.last :]}
        for file in files:
            if file not in keep:
                file.unlink()


def average(paths: list[Path]) -> dict[str, Tensor]:
    """Return the mean of the parameters in several files, summed in float64.

    Vaswani et al. 2017, section 6.1, average the last 5 checkpoints.
    """
    total: dict[str, Tensor] = {}
    for path in paths:
        for name, tensor in load_tensors(path)[0].items():
            wide = tensor.to(torch.float64)
            total[name] = total[name] + wide if name in total else wide
    return {name: (tensor / len(paths)).float() for name, tensor in total.items()}
