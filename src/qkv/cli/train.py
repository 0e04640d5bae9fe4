"""`qkv train CONFIG`: fit a model."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import tyro

from qkv.cli.arguments import checked
from qkv.cli.errors import UsageError
from qkv.config import Config
from qkv.configfile import load_config

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
    config, base = read_config(words)
    arguments = tyro.cli(
        Arguments,
        prog="qkv train",
        description=DESCRIPTION,
        args=words,
        default=Arguments(config, base),
        config=(tyro.conf.AvoidSubcommands,),
    )
    settings = checked(arguments.settings)
    from qkv.training.loop import train

    train(settings, arguments.out, quiet=arguments.quiet)
    return 0


def read_config(words: list[str], verb: str = "train") -> tuple[Path, Config]:
    """Return the config that the first word names: what may follow depends on its model.

    Raises:
        UsageError: the first word is an option, or a later one would change the model's kind.
    """
    if words and not words[0].startswith("-"):
        base = load_config(Path(words[0]))
        for word, following in pairwise([*words, ""]):
            option, _, value = word.partition("=")
            if option == "--model.kind" and (value or following) != base.model.kind:
                raise UsageError(
                    f"--model.kind cannot change the kind that {words[0]} gives "
                    f"({base.model.kind!r}), since each kind has keys of its own; write another "
                    "config"
                )
        return Path(words[0]), base
    if words and words[0] not in ("-h", "--help"):
        raise UsageError(
            "the config comes first, and then the options that change it: "
            f"qkv {verb} CONFIG [--out FOLDER] [--training.epochs 5] ..."
        )
    return tyro.MISSING, Config()
