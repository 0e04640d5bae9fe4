"""`qkv export RUN FOLDER --to FORMAT`: write a model for another program."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from qkv.cli.lines import read_lines

DESCRIPTION = """Write a trained model for another program, with all that its texts need.

ctranslate2 takes Transformers; onnx every kind but ntm, as encoder.onnx and step.onnx. What was
written and the model itself search greedily for some sources, and the folder stays only if they
find the same tokens. README.md in it says how to run it.
"""


@dataclass(frozen=True)
class Arguments:
    """What `qkv export` takes."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    folder: tyro.conf.Positional[Path]
    """Where to write; it must not exist, or be empty."""
    to: Literal["ctranslate2", "onnx"]
    """The format."""
    check: Path | None = None
    """Sources to compare with, a line each, beside those that are drawn."""


def run(words: list[str]) -> int:
    """Export."""
    arguments = tyro.cli(Arguments, prog="qkv export", description=DESCRIPTION, args=words)
    texts = [] if arguments.check is None else list(read_lines(arguments.check))
    if arguments.to == "onnx":
        print("qkv export: recording the graphs takes a while", file=sys.stderr, flush=True)
    from qkv.exports import export

    folder = export(arguments.run, arguments.folder, arguments.to, check=texts)
    checked = json.loads((folder / "qkv.json").read_text(encoding="utf-8"))["checked"]["sources"]
    print(f"qkv export: it finds the model's tokens for all of {checked} sources", file=sys.stderr)
    print(folder)
    return 0
