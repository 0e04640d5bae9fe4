"""`qkv translate RUN`: turn lines of text into lines of text."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from qkv.cli.lines import STDIN, chunks, read_lines
from qkv.config import Config, SearchConfig, load_config

if TYPE_CHECKING:
    from qkv.run import Run
    from qkv.search.translate import Translation

DESCRIPTION = """Turn each line of the input into a line of output; an empty line stays empty.

With --n-best, each output is a line: line number, score, text, with tabs between. With --json,
each input line gives one JSON object with the outputs, their tokens, spans, scores and attention.
The defaults of --search are those of the run.
"""


@dataclass(frozen=True)
class Arguments:
    """What `qkv translate` takes."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    input: Path = STDIN
    """The text, a line a sentence; - is standard input."""
    n_best: int = 1
    """Outputs a line."""
    json: bool = False
    """One JSON object a line."""
    show: bool = False
    """Draw the attention of each output in the terminal, below it."""
    html: Path | None = None
    """Write a page with the heat maps of the best outputs."""
    svg: Path | None = None
    """Write the heat maps as SVG (several: numbered files)."""
    png: Path | None = None
    """Write the heat maps as PNG (several: numbered files)."""
    replace_unknown: bool = False
    """Put the source word with the most attention where the model says <unk>."""
    dictionary: Path | None = None
    """With --replace-unknown: a TSV of source words and what to write for them."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """How to search."""


def run(words: list[str]) -> int:
    """Translate."""
    arguments = tyro.cli(
        Arguments,
        prog="qkv translate",
        description=DESCRIPTION,
        args=words,
        default=Arguments(tyro.MISSING, search=config_of(words).search),
    )
    from qkv.run import load

    loaded = load(arguments.run)
    kept: list[Translation] = []
    number = 0
    for chunk in chunks(read_lines(arguments.input), 512):
        for line, outputs in zip(chunk, translate_lines(loaded, chunk, arguments), strict=True):
            number += 1
            print_outputs(loaded, number, line, outputs, arguments)
            if arguments.html or arguments.svg or arguments.png:
                kept += outputs[:1]
        sys.stdout.flush()
    write_figures(loaded, kept, arguments)
    return 0


def config_of(words: list[str]) -> Config:
    """Return the config of the run that the first word names, for the defaults of --search."""
    if words and not words[0].startswith("-") and (Path(words[0]) / "config.json").exists():
        return load_config(Path(words[0]) / "config.json")
    return Config()


def translate_lines(run: Run, lines: list[str], arguments: Arguments) -> list[list[Translation]]:
    """Translate the lines that hold something; the others get no output."""
    full = [line for line in lines if line.strip()]
    found = iter(run.translate(full, n_best=arguments.n_best, search=arguments.search))
    return [next(found) if line.strip() else [] for line in lines]


def print_outputs(
    run: Run, number: int, line: str, outputs: list[Translation], arguments: Arguments
) -> None:
    """Print the outputs of one input line in the form that was asked for."""
    records = [record_of(run, output, arguments) for output in outputs]
    if arguments.json:
        tree = {"line": number, "source": line, "outputs": records}
        print(json.dumps(tree, ensure_ascii=False))
    elif arguments.n_best > 1:
        for record in records:
            print(f"{number}\t{record['score']:.6f}\t{record['text']}")
    else:
        print(records[0]["text"] if records else "")
    if arguments.show:
        from qkv.cli.figures import figure_of
        from qkv.view import terminal

        for output in outputs:
            print(terminal(figure_of(run, output)))


def record_of(run: Run, output: Translation, arguments: Arguments) -> dict[str, Any]:
    """Return an output as plain values."""
    record: dict[str, Any] = {
        "text": output.text,
        "log_prob": output.log_prob,
        "score": output.score,
        "truncated": not output.complete,
        "ids": list(output.ids),
        "tokens": run.target.symbols(output.ids),
        "source_tokens": [
            {"text": token.text, "start": token.start, "end": token.end}
            for token in output.source.tokens
        ],
        "attention": None if output.attention is None else output.attention.tolist(),
    }
    if arguments.replace_unknown:
        from qkv.cli.unknown import replace

        record["text"], record["replaced"] = replace(run, output, arguments.dictionary)
    return record


def write_figures(run: Run, outputs: list[Translation], arguments: Arguments) -> None:
    """Write the pages and pictures that were asked for, and say where."""
    paths = [path for path in (arguments.html, arguments.svg, arguments.png) if path]
    if not paths:
        return
    from qkv.cli.figures import figures_of
    from qkv.view import save

    figures = figures_of(run, outputs)
    for path in paths:
        for written in save(figures, path):
            print(f"qkv translate: wrote {written}", file=sys.stderr)
