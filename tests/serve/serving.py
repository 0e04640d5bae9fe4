"""Servers in processes of their own, on loopback, with small trained models."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

httpx = pytest.importorskip("httpx", reason="the extra dev is not installed")
pytest.importorskip("fastapi", reason="the extra serve is not installed")

HEADS = "transformer"
BARE = "rnnenc"
LABELS = ("classifier", "hierarchical", "tagger")


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self) -> tuple[int, str]:
        """Tell it to stop, as a supervisor does; its exit status and what it said."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


@contextmanager
def running(*words: str | Path, **environment: str) -> Iterator[Running]:
    """Start `qkv serve WORDS` at a free port, and stop it in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "qkv", "serve", "--port", "0", *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        said = ""
        while not (found := re.search(r"at (http://\S+)", said)):
            line = process.stderr.readline()
            assert line, f"the server ended: {said}"
            said += line
        yield Running(process, found[1])
    finally:
        process.kill()
        process.communicate()


def output(client: httpx.Client, text: str) -> str:
    """The best output of the default model for one text."""
    answer = client.post("/translate", json={"text": text}).json()
    return answer["results"][0]["outputs"][0]["text"]
