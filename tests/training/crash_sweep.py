"""Kill a training at every single point where it writes, and let it go on: a program of its own.

    python crash_sweep.py CONFIG.json FOLDER

A process is forked for each point, and kills itself there with SIGKILL: before a new file is
renamed into its place (it stands half written beside it), after, after a file was deleted, and
half way through a line of the history. Another process then runs the same training to its end.
Prints, for each point, a line of JSON that says whether the results are those of a run that was
left alone. It runs apart from the tests so that it can fork a process without threads.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qkv.config import Config
from qkv.configfile import load_config
from qkv.training import log
from qkv.training.loop import train

TIMES = ("seconds", "tokens_per_second")


class Bomb:
    """Counts the points where something is written, and goes off at one of them."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.points: list[str] = []

    def pass_by(self, point: str) -> None:
        self.points.append(point)
        if len(self.points) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def plant(self) -> None:
        """Put it where files are written."""
        replace, unlink, write = Path.replace, Path.unlink, log.JsonLines.write

        def replace_around(path: Path, target: Path) -> Any:
            self.pass_by(f"before {Path(target).name}")
            result = replace(path, target)
            self.pass_by(f"after {Path(target).name}")
            return result

        def unlink_around(path: Path, missing_ok: bool = False) -> None:
            unlink(path, missing_ok)
            self.pass_by(f"deleted {path.name}")

        def write_half(lines: log.JsonLines, record: dict[str, Any]) -> None:
            if len(self.points) + 1 == self.at:
                with lines.path.open("a") as stream:
                    stream.write(json.dumps(record)[:20])
            self.pass_by("half a line of metrics.jsonl")
            write(lines, record)

        Path.replace, Path.unlink = replace_around, unlink_around  # type: ignore[assignment,method-assign]
        log.JsonLines.write = write_half  # type: ignore[method-assign]


def in_a_process(work: Callable[[], None]) -> int:
    """Run something in a forked process and return how it ended: minus the signal, if by one."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def results(run: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """Return the weights, and the history without the times in it."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    history = [json.loads(line) for line in lines]
    return (run / "weights.safetensors").read_bytes(), [
        {name: value for name, value in record.items() if name not in TIMES} for record in history
    ]


def train_with(bomb: Bomb, config: Config, run: Path) -> None:
    bomb.plant()
    train(config, run, quiet=True)
    run.with_suffix(".points").write_text(json.dumps(bomb.points))


def sweep(config: Config, folder: Path) -> None:
    whole = folder / "whole"
    train(config, whole, quiet=True)  # here, so that the forked ones find all imports done
    expected = results(whole)
    assert in_a_process(lambda: train_with(Bomb(0), config, folder / "listed")) == 0
    points = json.loads((folder / "listed.points").read_text())
    for number, point in enumerate(points, start=1):
        run = folder / f"{number}"
        ended = in_a_process(lambda run=run, n=number: train_with(Bomb(n), config, run))
        again = in_a_process(lambda run=run: train(config, run, quiet=True))
        found = results(run) if again == 0 else (b"", [])
        print(
            json.dumps(
                {
                    "point": point,
                    "killed": ended == -signal.SIGKILL,
                    "went_on": again == 0,
                    "same_weights": found[0] == expected[0],
                    "same_history": found[1] == expected[1],
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    sweep(load_config(Path(sys.argv[1])), Path(sys.argv[2]))
