"""`qkv train CONFIG`: fit a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from qkv.config import Config, load_config

DESCRIPTION = """Fit a model as a config says, and leave a run folder.

CONFIG is a TOML file (or the config.json of a run). Every key of it can be given here too, such as
--model.attention.score dot or --training.epochs 5. Started again with the same --out, a run that
was killed goes on from its last checkpoint. Under torchrun, all processes train one model.
"""


@dataclass(frozen=True)
class Arguments:
    """What `qkv train` takes."""

    config: tyro.conf.Positional[Path]
    """The config, TOML."""
    settings: Annotated[Config, tyro.conf.arg(name="")]
    """Every key of the config."""
    out: Path = Path("runs/new")
    """The run folder."""
    quiet: bool = False
    """Say nothing but errors."""


def run(words: list[str]) -> int:
    """Train."""
    given = Path(words[0]) if words and not words[0].startswith("-") else None
    base = load_config(given) if given else Config()
    arguments = tyro.cli(
        Arguments,
        prog="qkv train",
        description=DESCRIPTION,
        args=words,
        default=Arguments(given or tyro.MISSING, base),
        config=(tyro.conf.AvoidSubcommands,),
    )
    from qkv.training.loop import train

    train(arguments.settings, arguments.out, quiet=arguments.quiet)
    return 0
