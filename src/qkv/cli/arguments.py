"""What the verbs share in reading the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import tyro

from qkv.cli.errors import UsageError
from qkv.config import Config
from qkv.config.labellers import METRICS as LABEL_METRICS
from qkv.config.search import METHOD_OF
from qkv.configfile import config_tree, load_config, make_config


class NamesRun(Protocol):
    """Arguments that name a run folder."""

    @property
    def run(self) -> Path:
        """The run folder."""


Arguments = TypeVar("Arguments", bound=NamesRun)


def parse_for_run(
    verb: str, description: str, words: list[str], make: Callable[[Config], Arguments]
) -> tuple[Arguments, Config]:
    """Read the words of a verb whose defaults are those of the run that they name.

    They are read twice: which of them names the run is known only once all are read.

    make: returns the arguments with the defaults of a config.

    Returns: the arguments, and the config of the run.
    """

    def parse(config: Config) -> Arguments:
        default = make(config)
        return tyro.cli(
            type(default), prog=f"qkv {verb}", description=description, args=words, default=default
        )

    file = parse(Config()).run / "config.json"
    config = load_config(file) if file.exists() else Config()
    return parse(config), config


def given(words: list[str], option: str) -> bool:
    """Whether an option stands on the command line, whatever its value."""
    return any(word.partition("=")[0].replace("_", "-") == option for word in words)


def refuse_idle_search(words: list[str], config: Config) -> None:
    """Refuse options of a search that is not the one asked for: they would do nothing.

    Raises:
        UsageError: there is one.
    """
    search = config.search
    labels = config.model.kind in LABEL_METRICS
    if labels and any(word.startswith("--search.") for word in words):
        raise UsageError(
            f"the run is a {config.model.kind}: it gives labels, and nothing is searched; leave "
            "out --search"
        )
    for name, method in METHOD_OF.items():
        option = f"--search.{name.replace('_', '-')}"
        if method != search.method and given(words, option):
            raise UsageError(
                f"{option} belongs to --search.method {method}, but the method is "
                f"{search.method}; leave it out, or give --search.method {method}"
            )


def checked(config: Config) -> Config:
    """Return a config that holds words of the command line, checked as one from a file is.

    Raises:
        UsageError: a value is wrong.
    """
    try:
        return make_config(config_tree(config), origin="the command line")
    except ValueError as error:
        raise UsageError(str(error)) from error
