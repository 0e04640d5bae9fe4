"""A model's parameters in a file: safetensors, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from qkv.files import write_atomically


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write tensors and strings atomically; equal contents give equal bytes.

    The strings go in as one: safetensors writes several in an order that changes.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(
        path, safetensors.torch.save(contiguous, {"qkv": json.dumps(metadata, sort_keys=True)})
    )


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and strings.

    Raises:
        ValueError: the file is missing, cut short, or not safetensors.
    """
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, _strings(file)  # noqa: SIM118


def load_metadata(path: Path) -> dict[str, str]:
    """Read the strings alone.

    Raises:
        ValueError: as for `load_tensors`.
    """
    with _opened(path) as file:
        return _strings(file)


def _strings(file: safetensors.safe_open) -> dict[str, str]:
    strings: dict[str, str] = json.loads((file.metadata() or {}).get("qkv", "{}"))
    return strings


@contextmanager
def _opened(path: Path) -> Iterator[safetensors.safe_open]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}); it was cut short or comes from "
            "elsewhere: restore it, or delete it and train again"
        ) from error


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer once (tied ones under their first name)."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def load_parameters(model: nn.Module, tensors: dict[str, Tensor], origin: Path) -> None:
    """Copy tensors into a model.

    Raises:
        ValueError: names or shapes differ; the first few differences are named.
    """
    own = parameters_of(model)
    problems = [f"{name} is missing" for name in own.keys() - tensors.keys()]
    problems += [f"{name} is not part of the model" for name in tensors.keys() - own.keys()]
    problems += [
        f"{name}: {tuple(tensors[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own.keys() & tensors.keys()
        if own[name].shape != tensors[name].shape
    ]
    if problems:
        listed = "; ".join(sorted(problems)[:5])
        raise ValueError(
            f"{origin} does not fit the model of its config ({len(problems)} differences: "
            f"{listed}); it belongs to another run, or the config was changed after training"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
