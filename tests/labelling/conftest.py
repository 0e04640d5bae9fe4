"""A trained run of each kind of model that gives labels."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_values import values


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
    """A classifier that has learned the rule; no word knows of another."""
    from small_runs import fit

    given = values(labels, "classifier", metric="f1-macro")
    given["model"]["encoder"] = "projection"
    return fit(tmp_path_factory.mktemp("runs") / "classifier", given)


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
