"""`qkv data`: the named corpora, or the pairs of a config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from qkv.cli.arguments import given
from qkv.cli.errors import UsageError
from qkv.configfile import load_config

DESCRIPTION = """List the named corpora; or, given a config, read its pairs and show what they are.

Exit status 1 if a split cannot be read.
"""


@dataclass(frozen=True)
class Arguments:
    """What `qkv data` takes."""

    config: tyro.conf.Positional[Path | None] = None
    """A config; without one, the corpora are listed."""
    show: int = 3
    """Pairs to show of each split."""


def run(words: list[str]) -> int:
    """List or look."""
    arguments = tyro.cli(Arguments, prog="qkv data", description=DESCRIPTION, args=words)
    if arguments.show < 0:
        raise UsageError(f"--show {arguments.show}: it is a number of pairs, or 0 for none")
    if arguments.config is None:
        if given(words, "--show"):
            raise UsageError("--show is for the pairs of a config; name one: qkv data CONFIG")
        print(list_corpora())
    else:
        look_at(arguments.config, arguments.show)
    return 0


def list_corpora() -> str:
    """Return the corpora, a paragraph each."""
    from qkv.data import CORPORA

    paragraphs = []
    for name, corpus in CORPORA.items():
        needs = [f'data.corpus = "{name}"']
        if corpus.directory:
            needs.append('data.directory = "..."')
        needs += [
            f'data.{side} = "..." ({meaning})'
            for side, meaning in (("source", corpus.source), ("target", corpus.target))
            if meaning
        ]
        paragraphs.append(
            f"{name}\n  {corpus.description}\n  from {corpus.origin}; licence: {corpus.licence}\n"
            f"  write: {', '.join(needs)}"
        )
    return "\n".join(paragraphs)


def look_at(path: Path, show: int) -> None:
    """Print what each split of a config holds."""
    from qkv.data import load_pairs

    config = load_config(path)
    for split in ("train", "dev", "test"):
        if not config.data.corpus and not getattr(config.data, split):
            print(f"{split}: not given")
            continue
        pairs = load_pairs(config.data, split)
        print(f"{split}: {pairs.report}")
        for pair in pairs[:show]:
            print(f"  {pair.source}\t{' | '.join(pair.references)}")
