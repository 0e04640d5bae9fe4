"""`qkv compare CONFIG --vary KEY=V1,V2`: train variants of a recipe and compare them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from qkv.cli.arguments import checked
from qkv.cli.errors import UsageError
from qkv.cli.train import keys_shown, read_config
from qkv.config import Config

DESCRIPTION = """Train every combination of the varied values on one recipe, and compare them.

    qkv compare CONFIG --vary attention.score=additive,dot --vary training.seed=1,2,3

A KEY is that of the config, or as much of its end as no other key has. Several seeds are
--vary training.seed=1,2,3; several kinds of model, --vary model.kind=rnnenc,rnnsearch (each takes
the values of the keys that it has). All other keys can be given as for `qkv train`.

The table goes to standard output and into DIR, with results.json, a page of the variants' heat
maps of the same dev pairs, and a run folder for each variant. Each is trained in its own process,
one after another. Started again, it goes on where it was. Exit status 1 if a variant failed.
"""


@dataclass(frozen=True)
class Arguments:
    """What `qkv compare` takes."""

    config: tyro.conf.Positional[Path]
    """The config, TOML."""
    settings: Annotated[Config, tyro.conf.arg(name="")]
    """Every key of the config."""
    vary: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """KEY=V1,V2,...; once for each key."""
    out: Path = Path("runs/compare")
    """DIR, the folder of it all."""
    table: Path | None = None
    """Where the table goes; not given: DIR/table.md."""
    html: Path | None = None
    """Where the page goes; not given: DIR/page.html."""
    split: str = "dev"
    """What the metrics are measured on: dev, test, or a split that the corpus names."""
    metrics: tuple[str, ...] = ()
    """Names as for `qkv evaluate`; none: training.metric, or else those of the corpus."""
    gold: Path | None = None
    """Gold links (source, target, links with tabs between), for the alignment error rate."""
    show: int = 3
    """Dev pairs on the page."""


def run(words: list[str]) -> int:
    """Compare."""
    config, base = read_config(words, "compare")
    arguments = tyro.cli(
        Arguments,
        prog="qkv compare",
        description=DESCRIPTION + keys_shown(config, base),
        args=words,
        default=Arguments(config, base),
        config=(tyro.conf.AvoidSubcommands,),
    )
    settings = checked(arguments.settings)
    if not arguments.vary:
        raise UsageError("nothing is varied; give --vary KEY=V1,V2, such as attention.score=dot")
    if arguments.show < 0:
        raise UsageError(f"--show {arguments.show}: it is a number of pairs, or 0 for none")
    table = place_of(arguments.table, arguments.out / "table.md", "--table")
    page = place_of(arguments.html, arguments.out / "page.html", "--html")
    from qkv.compare import compare
    from qkv.files import write_atomically

    found = compare(
        settings,
        read_vary(settings, arguments.vary),
        arguments.out,
        split=arguments.split,
        metrics=arguments.metrics,
        gold=arguments.gold,
        show=arguments.show,
    )
    title = f"{arguments.config}: {', '.join(axis.shown for axis in found.axes)}"
    write_atomically(table, found.markdown().encode())
    write_atomically(page, found.html(title).encode())
    print(found.markdown(), end="")
    print(f"qkv compare: wrote {table} and {page}", file=sys.stderr)
    return 1 if found.failed else 0


def read_vary(config: Config, words: tuple[str, ...]) -> dict[str, list[object]]:
    """Return the values of each varied key; every combination makes a config.

    Raises:
        UsageError: one is wrong.
    """
    from qkv.compare import axes_of, parse_axes, variants_of

    try:
        vary = parse_axes(config, words)
        variants_of(config, axes_of(config, vary))
    except ValueError as error:
        raise UsageError(f"--vary: {error}") from error
    return vary


def place_of(path: Path | None, default: Path, option: str) -> Path:
    """Return where a file goes.

    Raises:
        UsageError: its folder does not exist.
    """
    if path and not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}")
    return path or default
