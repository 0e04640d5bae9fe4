"""A process of its own for each variant: its memory and its crashes are no one else's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from qkv.compare.record import Question, plain_tree
from qkv.compare.variants import Variant

# -P: a file of the working folder must not stand in for a module.
COMMAND = [sys.executable, "-P", "-m", "qkv.compare.child"]


def run_variant(folder: Path, variant: Variant, question: Question) -> str:
    """Train and measure a variant in a folder; return what went wrong, or nothing.

    The process's messages and progress go to standard error. It ends with this one: its input is
    a pipe that this process holds open.
    """
    job = {
        "folder": str(folder),
        "config": plain_tree(variant.config),
        "question": question.json(),
    }
    process = subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        with suppress(BrokenPipeError):  # it died at once; its status says so
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        said = process.stdout.read()
        status = process.wait()
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        process.wait()
    return _problem(said, status)


def _problem(said: str, status: int) -> str:
    if status == 0:
        return ""
    if said:
        error: str = json.loads(said)["error"]
        return error
    if status < 0:
        name = signal.Signals(-status).name
        return f"killed by {name}" + (", perhaps for memory" if name == "SIGKILL" else "")
    return f"ended with status {status}; what it printed says why"
