"""The side that asks: programs started once, and asked in turn (see gate.py)."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path


class Program:
    """A program that answers a line with a line."""

    def __init__(self, name: str, command: Sequence[str | Path], threads: int) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the program)
        self._process = subprocess.Popen(
            [str(word) for word in command], text=True, stderr=self._errors,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip
        self.about = self._answer()

    def ask(self, **request: object) -> dict:
        """Send a request and wait for its answer."""
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-3:]
            raise RuntimeError(f"{self.name} ended: {' / '.join(last) or 'it said nothing'}")
        return json.loads(line)

    @property
    def peak(self) -> float:
        """The most memory that it has held at a time, in MiB (Linux)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def in_turn(
    programs: dict[str, Program], requests: Sequence[dict], rounds: int, lost: list[str]
) -> dict[str, list[list[dict]]]:
    """Ask each program each request, one after the other, round after round.

    A program that ends is taken out, and why goes to `lost`. Returns for each other program and
    request the answers of the rounds.
    """
    answers: dict[str, list[list[dict]]] = {name: [[] for _ in requests] for name in programs}
    for _ in range(rounds):
        for number, request in enumerate(requests):
            for name in list(programs):
                try:
                    answers[name][number].append(programs[name].ask(**request))
                except (RuntimeError, BrokenPipeError) as why:
                    lost.append(str(why))
                    programs.pop(name).close()
    return {name: answers[name] for name in programs}


def rate(answers: Sequence[dict], unit: str, clock: str = "seconds") -> dict[str, float]:
    """Median, least and most of a unit a second."""
    rates = [answer[unit] / answer[clock] for answer in answers]
    return {"median": statistics.median(rates), "least": min(rates), "most": max(rates)}
