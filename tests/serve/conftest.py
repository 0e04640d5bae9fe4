"""Two small trained models, and a server that has both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import BARE, HEADS, Running, httpx, running

from small_runs import fit, tree, write_corpus


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model with many heads, and one without attention."""
    folder = tmp_path_factory.mktemp("serve")
    corpus = write_corpus(folder / "corpus")
    return {kind: fit(folder / kind, tree(corpus, kind)) for kind in (HEADS, BARE)}


@pytest.fixture(scope="session")
def server(runs: dict[str, Path]) -> Iterator[Running]:
    with running(runs[HEADS], runs[BARE]) as found:
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
