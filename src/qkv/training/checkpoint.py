"""Checkpoints: everything that the rest of a run depends on, in one file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn, optim

from qkv.models.weights import load_parameters, load_tensors, parameters_of, save_tensors

FORMAT = "qkv-checkpoint-1"


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Random numbers need no place here: those of update n are drawn from (seed, n, process), and
    the order of epoch k from (seed, k).

    step: updates done. epoch, position: the next batch. seconds: time spent training.
    factor: what a plateau has cut off the learning rate. best: the best dev value (None: none
    yet), found at best_step. stale: evaluations since. finished: the run has ended.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    factor: float = 1.0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    finished: bool = False

    def after(self, **changes: float | bool | None) -> Progress:
        """Return a changed copy."""
        return replace(self, **changes)  # type: ignore[arg-type]


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: optim.Optimizer, progress: Progress, run: str
) -> None:
    """Write the model, the optimiser and the progress atomically.

    Args:
        path: the file.
        model: its parameters and buffers are kept.
        optimizer: its state is kept.
        progress: where the run stands.
        run: the digest of the config, so that another run's checkpoint is refused.
    """
    tensors = {f"model.{name}": tensor for name, tensor in parameters_of(model).items()}
    scalars: dict[str, float] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            else:
                scalars[f"{index}.{key}"] = value
    metadata = {
        "format": FORMAT,
        "run": run,
        "progress": json.dumps(asdict(progress)),
        "optimizer": json.dumps(scalars),
    }
    save_tensors(tensors, path, metadata)


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: optim.Optimizer, run: str
) -> Progress:
    """Restore model and optimiser in place and return the progress.

    Raises:
        ValueError: the file is cut short, is not a checkpoint, or is another run's.
    """
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a checkpoint of this version (its format: "
            f"{metadata.get('format', 'none')!r}, expected: {FORMAT!r}); give another run folder"
        )
    if metadata["run"] != run:
        raise ValueError(
            f"{path} is a checkpoint of another run (its config digest {metadata['run']}, this "
            f"run's {run}); give another run folder"
        )
    prefix = "model."
    parameters = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    load_parameters(model, parameters, path)
    states: dict[int, dict[str, Tensor | float]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            index, _, key = rest.partition(".")
            states.setdefault(int(index), {})[key] = tensor
    for name, value in json.loads(metadata["optimizer"]).items():
        index, _, key = name.partition(".")
        states.setdefault(int(index), {})[key] = value
    full = optimizer.state_dict()
    optimizer.load_state_dict({"state": states, "param_groups": full["param_groups"]})
    return Progress(**json.loads(metadata["progress"]))


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
