"""Checkpoints: everything that the rest of a run depends on, in one file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor, nn, optim
from torch.amp.grad_scaler import GradScaler

from qkv.models.weights import (
    load_metadata,
    load_parameters,
    load_tensors,
    parameters_of,
    save_tensors,
)

FORMAT = "qkv-checkpoint-1"


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Random numbers need no place here: those of update n are drawn from (seed, n, process), and
    the order of epoch k from (seed, k).

    step: updates done. epoch, position: the next batch. seconds: time spent training.
    nll, tokens: sums since the last record, which was made when `recorded` seconds were spent.
    factor: what a plateau has cut off the learning rate. best: the best dev value (None: none
    yet), found at best_step with best_loss (0, which no loss beats, in a checkpoint that does not
    say). stale: evaluations since.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    nll: float = 0.0
    tokens: int = 0
    recorded: float = 0.0
    factor: float = 1.0
    best: float | None = None
    best_loss: float = 0.0
    best_step: int = 0
    stale: int = 0

    @property
    def current_epoch(self) -> int:
        """The epoch of the last update, from 1: at the end of an epoch it is still that one."""
        return max(1, self.epoch + (self.position > 0))

    @property
    def loss(self) -> float:
        """The mean -log p of a target token since the last record."""
        return self.nll / max(1, self.tokens)

    @property
    def tokens_per_second(self) -> float:
        """The rate since the last record."""
        return self.tokens / max(1e-9, self.seconds - self.recorded)


@dataclass(frozen=True)
class Parts:
    """What an update changes: restored in place.

    estimator: what the loss keeps beside the model (a baseline), often nothing.
    """

    model: nn.Module
    estimator: nn.Module
    optimizer: optim.Optimizer
    scaler: GradScaler


def save_checkpoint(path: Path, parts: Parts, progress: Progress, run: str) -> None:
    """Write the parts and the progress atomically.

    run: the digest of the config and the data, so that another run's checkpoint is refused.
    """
    tensors = {f"model.{name}": tensor for name, tensor in parameters_of(parts.model).items()}
    for name, tensor in parameters_of(parts.estimator).items():
        tensors[f"estimator.{name}"] = tensor
    scalars: dict[str, float] = {}
    for index, state in parts.optimizer.state_dict()["state"].items():
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
        "scaler": json.dumps(parts.scaler.state_dict()),
    }
    save_tensors(tensors, path, metadata)


def saved_step(path: Path) -> int | None:
    """Return the step of a checkpoint without reading the rest of it; None: there is none."""
    try:
        metadata = load_metadata(path)
        return int(json.loads(metadata["progress"])["step"])
    except (ValueError, KeyError):
        return None


def load_checkpoint(path: Path, parts: Parts, run: str) -> Progress:
    """Restore the parts in place and return the progress.

    Raises:
        ValueError: the file is cut short, is not a checkpoint, or is another run's.
    """
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a checkpoint of this version (its format: "
            f"{metadata.get('format', 'none')!r}, expected: {FORMAT!r}); give another --out"
        )
    if metadata["run"] != run:
        raise ValueError(
            f"{path} is a checkpoint of another config, or the training data has changed since "
            f"(its digest {metadata['run']}, this run's {run}); give another --out"
        )
    for prefix, module in (("model.", parts.model), ("estimator.", parts.estimator)):
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        load_parameters(module, own, path)
    states: dict[int, dict[str, Tensor | float]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            index, _, key = rest.partition(".")
            states.setdefault(int(index), {})[key] = tensor
    for name, value in json.loads(metadata["optimizer"]).items():
        index, _, key = name.partition(".")
        states.setdefault(int(index), {})[key] = value
    groups = parts.optimizer.state_dict()["param_groups"]
    parts.optimizer.load_state_dict({"state": states, "param_groups": groups})
    if scaler := json.loads(metadata["scaler"]):  # empty unless it is in use
        parts.scaler.load_state_dict(scaler)
    return Progress(**json.loads(metadata["progress"]))
