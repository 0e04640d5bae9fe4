"""`qkv translate RUN`: turn lines of text into lines of text."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from qkv.cli.arguments import checked, parse_for_run, refuse_idle_search
from qkv.cli.errors import UsageError
from qkv.cli.lines import STDIN, chunks, name_of, read_lines
from qkv.cli.progress import Progress
from qkv.config import SearchConfig

if TYPE_CHECKING:
    from qkv.run import Run
    from qkv.search.translate import Translation

DESCRIPTION = """Turn each line of the input into a line of output; an empty line stays empty.

With --n-best, each output is a line: line number, score, text, with tabs between. With --json,
each input line gives one JSON object with the outputs, their tokens, spans, scores and attention.
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
    verbose: bool = False
    """Say on standard error which way the search takes, and why."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """How to search; the defaults are those of the run."""

    @property
    def pictures(self) -> list[Path]:
        """The files of heat maps that were asked for."""
        return [path for path in (self.html, self.svg, self.png) if path]


def run(words: list[str]) -> int:
    """Translate."""
    arguments, config = parse_for_run(
        "translate",
        DESCRIPTION,
        words,
        lambda config: Arguments(tyro.MISSING, search=config.search),
    )
    config = checked(replace(config, search=arguments.search))
    search = config.search
    refuse_idle_search(words, config)
    arguments = agree(replace(arguments, search=search))
    from qkv.figures import require_attention
    from qkv.run import load
    from qkv.text import UNK

    loaded = load(arguments.run)
    if arguments.show or arguments.replace_unknown or arguments.pictures:
        require_attention(loaded)
    if arguments.verbose:
        print(f"qkv translate: {loaded.search_plan(arguments.search)}", file=sys.stderr)
    kept: list[Translation] = []
    progress = Progress("translate")
    number = cut = unknown = 0
    for chunk in chunks(read_lines(arguments.input), arguments.input):
        found = translate_lines(loaded, chunk, arguments, progress)
        for line, outputs in zip(chunk, found, strict=True):
            number += 1
            cut += not all(output.complete for output in outputs)
            unknown += sum(output.source.ids.count(UNK) for output in outputs[:1])
            print_outputs(loaded, number, line, outputs, arguments)
            kept += outputs[:1] if arguments.pictures else []
        sys.stdout.flush()
    if cut:
        print(f"qkv translate: {cut} outputs cut off at their longest length", file=sys.stderr)
    if unknown:
        print(f"qkv translate: {unknown} source tokens are unknown to the model", file=sys.stderr)
    if arguments.pictures and not kept:
        raise ValueError(
            f"{name_of(arguments.input)} holds no line to translate ({number} lines, none with "
            f"text), so there is no attention to draw: {arguments.pictures[0]} is not written"
        )
    write_figures(loaded, kept, arguments.pictures)
    return 0


def agree(arguments: Arguments) -> Arguments:
    """Return arguments that do not contradict each other.

    Raises:
        UsageError: two of them do.
    """
    if arguments.json and arguments.show:
        raise UsageError("--json and --show both write to standard output; give one of them")
    if arguments.dictionary and not arguments.replace_unknown:
        raise UsageError("--dictionary is of use only with --replace-unknown")
    for kind, path in (("html", arguments.html), ("svg", arguments.svg), ("png", arguments.png)):
        if path and path.suffix != f".{kind}":
            raise UsageError(f"--{kind} {path}: its name must end in .{kind}")
        if path and not path.parent.is_dir():
            raise UsageError(f"--{kind} {path}: there is no folder {path.parent}")
    return arguments


def translate_lines(
    run: Run, lines: list[str], arguments: Arguments, progress: Progress
) -> list[list[Translation]]:
    """Translate the lines that hold something; the others get no output."""
    full = [line for line in lines if line.strip()]
    with progress.chunk(len(full)) as update:
        outputs = run.translate(
            full, n_best=arguments.n_best, search=arguments.search, progress=update
        )
    found = iter(outputs)
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
        from qkv.figures import figure_of
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


def write_figures(run: Run, outputs: list[Translation], paths: list[Path]) -> None:
    """Write the pages and pictures that were asked for, and say where."""
    if not paths:
        return
    from qkv.figures import alignment_of, figure_of
    from qkv.view import save

    for path in paths:
        draw = alignment_of if path.suffix == ".html" else figure_of
        for written in save([draw(run, output) for output in outputs], path):
            print(f"qkv translate: wrote {written}", file=sys.stderr)
