"""A trained run of each kind of model that gives labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def values(corpus: Path, kind: str, **training: Any) -> dict[str, Any]:
    """A config that learns the small rule in seconds."""
    from small_runs import tree

    settings = {"epochs": 8, "learning_rate": 0.02, "label_smoothing": 0.0, "average": 1}
    given = tree(corpus, kind, **settings | training)
    given["data"]["tokens_per_batch"] = 200
    return given


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts with a label each."""
    from small_runs import write_labels

    return write_labels(tmp_path_factory.mktemp("labels"), "classifier")


@pytest.fixture(scope="session")
def tags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts with a label a word."""
    from small_runs import write_labels

    return write_labels(tmp_path_factory.mktemp("tags"), "tagger")


@pytest.fixture(scope="session")
def classifier(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BiLSTM classifier that has learned the rule."""
    from small_runs import fit

    metric = {"metric": "f1-macro"}
    return fit(tmp_path_factory.mktemp("runs") / "sure", values(labels, "classifier", **metric))


@pytest.fixture(scope="session")
def tagger(tags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tagger that has learned the rule."""
    from small_runs import fit

    metric = {"metric": "token-accuracy"}
    return fit(tmp_path_factory.mktemp("runs") / "tagger", values(tags, "tagger", **metric))


@pytest.fixture(scope="session")
def hierarchical(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hierarchical network that has learned the rule."""
    from small_runs import fit

    return fit(tmp_path_factory.mktemp("runs") / "han", values(labels, "hierarchical"))
