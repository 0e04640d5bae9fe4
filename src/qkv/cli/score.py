"""`qkv score RUN`: log-probabilities of known targets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from qkv.cli.lines import STDIN, read_lines, read_pairs_of_lines
from qkv.cli.translate import config_of
from qkv.config import SearchConfig

DESCRIPTION = """Give each pair's log-probability, score and number of tokens, with tabs between.

The input is a TSV of sources and targets, or what `qkv translate --json` wrote: then every output
is scored by the very tokens that search chose, and the numbers are the same.
"""


@dataclass(frozen=True)
class Arguments:
    """What `qkv score` takes."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    input: Path = STDIN
    """The pairs; - is standard input."""
    json: bool = False
    """The input is what `qkv translate --json` wrote."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """The penalties of the score."""


def run(words: list[str]) -> int:
    """Score."""
    arguments = tyro.cli(
        Arguments,
        prog="qkv score",
        description=DESCRIPTION,
        args=words,
        default=Arguments(tyro.MISSING, search=config_of(words).search),
    )
    from qkv.run import load

    loaded = load(arguments.run)
    given = list((read_outputs if arguments.json else read_pairs_of_lines)(arguments.input))
    sources, targets = [pair[0] for pair in given], [pair[1] for pair in given]
    for found in loaded.force(sources, targets, search=arguments.search):
        print(f"{found.log_prob:.6f}\t{found.score:.6f}\t{len(found.ids) + 1}")
    return 0


def read_outputs(path: Path) -> Iterator[tuple[str, list[int]]]:
    """Give the source and the target ids of each output in the JSON lines of `qkv translate`.

    Raises:
        ValueError: a line is not such a JSON object.
    """
    for number, line in enumerate(read_lines(path), start=1):
        try:
            tree = json.loads(line)
            for output in tree["outputs"]:
                yield tree["source"], [int(token) for token in output["ids"]]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}: not a line of `qkv translate --json` ({error!r})"
            ) from error
