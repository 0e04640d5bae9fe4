"""What `qkv classify` and `qkv tag` share: lines in, labels and pictures of attention out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import tyro

from qkv.cli.errors import UsageError
from qkv.cli.lines import STDIN, chunks, name_of, read_lines
from qkv.cli.progress import Progress

if TYPE_CHECKING:
    from qkv.run import Run
    from qkv.text import Encoded
    from qkv.view import Figure

Found = TypeVar("Found")


@dataclass(frozen=True)
class Arguments:
    """What a verb takes that gives labels."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    input: Path = STDIN
    """The texts, one a line; - is standard input."""
    json: bool = False
    """One JSON object a line."""
    show: bool = False
    """Draw the attention of each text in the terminal, below its labels."""
    html: Path | None = None
    """Write a page with the attention of all texts."""
    svg: Path | None = None
    """Write the attention as SVG (several: numbered files)."""
    png: Path | None = None
    """Write the attention as PNG (several: numbered files)."""

    @property
    def pictures(self) -> list[Path]:
        """The files that were asked for."""
        return [path for path in (self.html, self.svg, self.png) if path]

    def check(self) -> None:
        """Refuse arguments that contradict each other.

        Raises:
            UsageError: two do, or a file's name or folder is wrong.
        """
        if self.json and self.show:
            raise UsageError("--json and --show both write to standard output; give one of them")
        for kind, path in (("html", self.html), ("svg", self.svg), ("png", self.png)):
            if path and path.suffix != f".{kind}":
                raise UsageError(f"--{kind} {path}: its name must end in .{kind}")
            if path and not path.parent.is_dir():
                raise UsageError(f"--{kind} {path}: there is no folder {path.parent}")


@dataclass(frozen=True)
class Verb(Generic[Found]):
    """One of the two: how to ask a run, and what to print, write and draw of an answer."""

    name: str
    ask: Callable[[Run, list[str], Callable[[int], None]], list[Found]]
    line: Callable[[Found], str]
    record: Callable[[Found], dict[str, Any]]
    figure: Callable[[Run, Found], Figure]

    def run(self, description: str, words: list[str]) -> int:
        """Read the arguments, and answer line after line."""
        arguments = tyro.cli(
            Arguments, prog=f"qkv {self.name}", description=description, args=words
        )
        arguments.check()
        from qkv.run import load

        loaded = load(arguments.run)
        figures: list[Figure] = []
        progress = Progress(self.name)
        number = 0
        for chunk in chunks(read_lines(arguments.input), arguments.input):
            full = [line for line in chunk if line.strip()]
            with progress.chunk(len(full)) as update:
                found = iter(self.ask(loaded, full, update))
            for line in chunk:
                number += 1
                answer = next(found) if line.strip() else None
                self._print(loaded, number, answer, arguments)
                if answer is not None and arguments.pictures:
                    figures.append(self.figure(loaded, answer))
            sys.stdout.flush()
        self._draw(figures, arguments)
        return 0

    def _print(self, run: Run, number: int, answer: Found | None, arguments: Arguments) -> None:
        """Print the answer to a line: an empty line stays empty."""
        if arguments.json:
            record = {"text": ""} if answer is None else self.record(answer)
            print(json.dumps({"line": number} | record, ensure_ascii=False))
            return
        print("" if answer is None else self.line(answer))
        if arguments.show and answer is not None:
            from qkv.view import terminal

            print(terminal(self.figure(run, answer)))

    def _draw(self, figures: list[Figure], arguments: Arguments) -> None:
        """Write the pages and pictures that were asked for, and say where."""
        if arguments.pictures and not figures:
            raise ValueError(
                f"{name_of(arguments.input)} holds no text, so there is no attention to draw: "
                f"{arguments.pictures[0]} is not written"
            )
        for path in arguments.pictures:
            from qkv.view import save

            for written in save(figures, path):
                print(f"qkv {self.name}: wrote {written}", file=sys.stderr)


def tokens_of(source: Encoded) -> list[dict[str, Any]]:
    """Return a text's tokens as plain values."""
    return [{"text": one.text, "start": one.start, "end": one.end} for one in source.tokens]
