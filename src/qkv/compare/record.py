"""What is asked of every variant, and the file in its folder that holds the answers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qkv.config import Config
from qkv.configfile import config_tree, load_config
from qkv.folder import RunFolder, write_json


@dataclass(frozen=True)
class Question:
    """What to measure: metrics on a split, AER on gold links ("": none), pairs to draw."""

    split: str
    metrics: tuple[str, ...]
    gold: str = ""
    gold_digest: str = ""
    show: int = 3

    def json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"metrics": list(self.metrics)}

    @classmethod
    def read(cls, tree: dict[str, Any]) -> Question:
        """Return what `json` gave."""
        return cls(**(tree | {"metrics": tuple(tree["metrics"])}))


def digest_of(path: Path) -> str:
    """Return a short hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Record:
    """measured.json in the folder of a variant.

    config: what was trained to its end. training: what that took. question, answer: what was
    measured of the trained model; None: nothing yet.
    """

    config: dict[str, Any]
    training: dict[str, Any]
    question: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None

    def save(self, folder: Path) -> None:
        """Write the file, whole."""
        write_json(_file(folder), asdict(self))


def trained(folder: Path, config: Config) -> Record | None:
    """Return the record of a folder where this very config was trained to its end.

    Raises:
        ValueError: the file is not such a record.
    """
    file, run = _file(folder), RunFolder(folder)
    if not (file.exists() and run.weights.exists() and run.config.exists()):
        return None
    try:
        record = Record(**json.loads(file.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{file} is not what `qkv compare` writes ({error}); delete it, and the variant is "
            "measured again"
        ) from error
    # The run may have been trained on since, by itself: then the numbers are not the model's.
    wanted = plain_tree(config)
    same = record.config == wanted == plain_tree(load_config(run.config))
    return record if same else None


def answered(folder: Path, config: Config, question: Question) -> Record | None:
    """Return the record of a folder that has nothing left to do."""
    record = trained(folder, config)
    return record if record is not None and record.question == question.json() else None


def plain_tree(config: Config) -> dict[str, Any]:
    """Return a config as JSON gives it back: lists in the place of tuples."""
    tree: dict[str, Any] = json.loads(json.dumps(config_tree(config)))
    return tree


def _file(folder: Path) -> Path:
    return folder / "measured.json"
