"""`qkv train CONFIG`: fit a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import tyro

from qkv.cli.arguments import checked
from qkv.cli.errors import UsageError
from qkv.config import MODEL_CONFIGS, Config
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
        description=DESCRIPTION + keys_shown(config, base),
        args=words,
        default=Arguments(config, base),
        config=(tyro.conf.AvoidSubcommands,),
    )
    settings = checked(arguments.settings)
    with saying_how_to_go_on(arguments.out):
        from qkv.training.loop import train

        train(settings, arguments.out, quiet=arguments.quiet)
    return 0


@contextmanager
def saying_how_to_go_on(out: Path) -> Iterator[None]:
    """Let an interruption say what is kept in the run folder."""
    try:
        yield
    except KeyboardInterrupt:
        from qkv.folder import RunFolder
        from qkv.training.checkpoint import saved_step

        step = saved_step(RunFolder(out).checkpoint)
        raise KeyboardInterrupt(
            f"{out} has no checkpoint yet: the same command starts from the beginning"
            if step is None
            else f"{out} has a checkpoint of step {step}: the same command goes on from there"
        ) from None


def keys_shown(path: Path, config: Config) -> str:
    """Say of which kind of model the keys are that a help shows, and how to see the others."""
    shown = f'The keys of the model are those of kind = "{config.model.kind}"'
    if path is not tyro.MISSING:
        return f"\n{shown}, as {path} says.\n"
    return f"""
{shown}. A CONFIG with another
kind (of {", ".join(MODEL_CONFIGS)}) has others:
`qkv train CONFIG --help` shows the keys and values of that CONFIG.
"""


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
