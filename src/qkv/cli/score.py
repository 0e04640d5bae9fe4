"""`qkv score RUN`: log-probabilities of known targets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import tyro

from qkv.cli.arguments import checked, parse_for_run
from qkv.cli.lines import STDIN, chunks, name_of, read_lines, read_pairs_of_lines
from qkv.config import SearchConfig

DESCRIPTION = """Give each pair's log-probability, score and number of tokens, with tabs between.

The input is a TSV of sources and targets, or what `qkv translate --json` wrote: then every output
is scored by the very tokens that search chose, and the numbers are the same.
"""


@dataclass(frozen=True)
class Penalties:
    """The settings of a search that its scores depend on."""

    alpha: float = 1.0
    """Length penalty: score = log p / ((5 + n) / 6)^alpha (Wu et al. 2016, eq. 14)."""
    coverage: float = 0.0
    """Coverage penalty beta (Wu et al. 2016, eq. 14); 0: off."""

    @staticmethod
    def of(search: SearchConfig) -> Penalties:
        """Return those of a search."""
        return Penalties(search.alpha, search.coverage)


@dataclass(frozen=True)
class Arguments:
    """What `qkv score` takes."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    input: Path = STDIN
    """The pairs; - is standard input."""
    json: bool = False
    """The input is what `qkv translate --json` wrote."""
    search: Penalties = field(default_factory=Penalties)
    """The penalties of the score; the defaults are those of the run."""


def run(words: list[str]) -> int:
    """Score."""
    arguments, config = parse_for_run(
        "score",
        DESCRIPTION,
        words,
        lambda config: Arguments(tyro.MISSING, search=Penalties.of(config.search)),
    )
    search = replace(config.search, **asdict(arguments.search))
    search = checked(replace(config, search=search)).search
    from qkv.run import load

    loaded = load(arguments.run)
    read = read_outputs if arguments.json else read_pairs_of_lines
    for chunk in chunks(read(arguments.input), arguments.input):
        sources, targets = zip(*chunk, strict=True)
        for found in loaded.force(sources, targets, search=search):
            print(f"{found.log_prob:.6f}\t{found.score:.6f}\t{len(found.ids) + 1}")
        sys.stdout.flush()
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
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{name_of(path)}, line {number}: not a line of `qkv translate --json` ({error!r})"
            ) from error
