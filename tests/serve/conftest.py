"""Small trained models, one of each kind of answer, and a server that has them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import BARE, HEADS, LABELS, Running, httpx, running

from small_runs import fit, tree, write_corpus, write_labels


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model with many heads, one without attention, and one of each kind that labels."""
    folder = tmp_path_factory.mktemp("serve")
    corpora = dict.fromkeys((HEADS, BARE), write_corpus(folder / "corpus"))
    corpora |= {kind: write_labels(folder / f"{kind}-labels", kind) for kind in LABELS}
    learned = {"epochs": 8, "learning_rate": 0.02, "label_smoothing": 0.0, "average": 1}
    training = dict.fromkeys(LABELS, learned)
    return {
        kind: fit(folder / kind, tree(corpus, kind, **training.get(kind, {})))
        for kind, corpus in corpora.items()
    }


@pytest.fixture(scope="session")
def server(runs: dict[str, Path]) -> Iterator[Running]:
    with running(*runs.values()) as found:
        yield found


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as found:
        yield found


@pytest.fixture
def refused() -> Callable[[httpx.Response, int], dict]:
    """Check the form of an error and return it."""

    def check(response: httpx.Response, status: int) -> dict:
        assert response.status_code == status, response.text
        error = response.json()["error"]
        assert set(error) <= {"code", "message", "limit"} and error["message"]
        return error

    return check
