"""What all tests share: one thread a process, small trained runs, and the real corpora."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tests run side by side

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Letters and the same backwards: train.tsv, dev.tsv, test.tsv."""
    from small_runs import write_corpus

    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An RNNsearch that turns most sequences round, names (to it, <unk>) included."""
    from small_runs import fit, tree, write_corpus

    folder = tmp_path_factory.mktemp("learnable")
    values = tree(
        write_corpus(folder, longest=5, train=400, names=0.1),
        epochs=12,
        learning_rate=0.015,
        schedule="linear",
        warmup=20,
    )
    values["data"]["tokens_per_batch"] = 120
    values["text"] = {side: {"kind": "words", "min_count": 3} for side in ("source", "target")}
    values["model"] |= {"embedding": 12, "hidden": 24, "maxout": 12, "dropout": 0.0}
    values["training"] |= {"metric": "accuracy", "average": 2, "label_smoothing": 0.0}
    return fit(tmp_path_factory.mktemp("runs") / "trained", values)


@pytest.fixture(scope="session")
def without_attention(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An RNNenc, trained for an epoch."""
    from small_runs import fit, tree

    return fit(tmp_path_factory.mktemp("runs") / "rnnenc", tree(corpus, "rnnenc", epochs=1))


@pytest.fixture(scope="session")
def keyword_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of texts in which one word says the label."""
    from labelled_runs import values
    from small_runs import fit

    given = values(tmp_path_factory.mktemp("labelled"))
    return fit(tmp_path_factory.mktemp("runs") / "classifier", given)


@pytest.fixture
def corpus_folder():
    """Return a function from a folder's name to its path, which skips the test without one."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    root = Path(os.environ.get("QKV_DATA") or beside)

    def find(name: str) -> str:
        if not (root / name).is_dir():
            pytest.skip(f"no {name} in {root}; set QKV_DATA to the folder that has the corpora")
        return str(root / name)

    return find
