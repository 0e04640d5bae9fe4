"""`qkv explain RUN`: is the attention of a classifier an explanation of what it decides?"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tyro

from qkv.cli.arguments import checked, parse_for_run
from qkv.cli.errors import UsageError
from qkv.config import DataConfig
from qkv.explain.faithfulness import TESTS, Settings

DESCRIPTION = """Test whether a classifier's attention weights explain what it decides.

The tests of Jain and Wallace 2019 and of Wiegreffe and Pinter 2019, each with a random baseline, n
and a 95 % bootstrap interval. Those that train models of the run's config run with --train alone.
"""


@dataclass(frozen=True)
class Arguments:
    """What `qkv explain` takes."""

    run: tyro.conf.Positional[Path]
    """The run folder of a classifier."""
    tests: tuple[str, ...] = ()
    """Which tests; none: all that train nothing, and with --train all."""
    train: bool = False
    """Run also the tests that train models; how long that may take is said first."""
    split: str = "test"
    """train, dev, test, or a split that the corpus names (`qkv data`)."""
    limit: int = 500
    """Only the first examples; 0: all."""
    shortest: int = 1
    """Only texts of as many tokens or more (Jain and Wallace's SST: 6)."""
    seed: int = 1
    """Of every draw."""
    output: Path | None = None
    """A folder for explanation.json, index.html and the models that were trained."""
    json: bool = False
    """Print JSON."""
    settings: Settings = field(default_factory=Settings)
    """The papers' settings."""
    data: DataConfig = field(default_factory=DataConfig)
    """Where the examples are; the defaults are those of the run."""


def run(words: list[str]) -> int:
    """Explain."""
    arguments, config = parse_for_run(
        "explain", DESCRIPTION, words, lambda config: Arguments(tyro.MISSING, data=config.data)
    )
    config = checked(replace(config, data=arguments.data))
    _check(arguments)
    from qkv.data import Pairs, load_pairs
    from qkv.examine import examine
    from qkv.examine.examination import chosen, refuse_others
    from qkv.run import load
    from qkv.training.log import Reporter

    names = chosen(arguments.tests, trains=arguments.train)
    loaded = replace(load(arguments.run), config=config)
    refuse_others(loaded)
    pairs = load_pairs(config.data, arguments.split)
    long = [p for p in pairs if len(loaded.source.ids(p.source)) >= arguments.shortest]
    if not long:
        raise ValueError(
            f"no text of {arguments.split} has {arguments.shortest} tokens or more "
            f"(--shortest {arguments.shortest})"
        )
    pairs = Pairs(tuple(long[: arguments.limit or len(long)]), pairs.report)
    if arguments.train:
        print(f"qkv explain: {_warning(arguments, names)}", file=sys.stderr)
    with Reporter(speaks=True) as reporter:
        report = examine(
            loaded,
            pairs,
            names,
            settings=arguments.settings,
            seed=arguments.seed,
            folder=_models(arguments) if arguments.train else None,
            tell=_teller(reporter),
        )
    report = replace(
        report, about={"run": str(arguments.run), "split": arguments.split, **report.about}
    )
    print(json.dumps(report.json(), ensure_ascii=False) if arguments.json else report)
    if arguments.output:
        from qkv.examine.page import page
        from qkv.files import write_atomically
        from qkv.folder import write_json

        arguments.output.mkdir(parents=True, exist_ok=True)
        write_json(arguments.output / "explanation.json", report.json())
        write_atomically(arguments.output / "index.html", page(report).encode())
        print(f"qkv explain: written to {arguments.output}", file=sys.stderr)
    return 0


def _check(arguments: Arguments) -> None:
    """Refuse numbers that mean nothing.

    Raises:
        UsageError: there is one.
    """
    if arguments.limit < 0:
        raise UsageError(f"--limit {arguments.limit}: it is a number of examples, or 0 for all")
    settings = arguments.settings
    for name in ("permutations", "adversaries", "steps", "seeds", "epochs"):
        if getattr(settings, name) < 1:
            raise UsageError(f"--settings.{name} {getattr(settings, name)}: give 1 or more")
    if not 0 < settings.epsilon < 1:
        raise UsageError(f"--settings.epsilon {settings.epsilon}: it is between 0 and 1")
    if settings.divergence < 0:
        raise UsageError(f"--settings.divergence {settings.divergence}: give 0 or more")


def _models(arguments: Arguments) -> Path:
    """Return where trained models are kept, so that what was trained once is not trained again."""
    return (arguments.output or arguments.run / "explain") / "models"


def _warning(arguments: Arguments, names: list[str]) -> str:
    """Say how many trainings there will be, and how long the run's own took."""
    counts = {"uniform-trained": 1, "frozen": 1, "seeds": arguments.settings.seeds}
    trainings = sum(counts.get(name, 1) for name in names if TESTS[name].trains)
    lines = (arguments.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    spent = max((json.loads(line).get("seconds", 0.0) for line in lines), default=0.0)
    return (
        f"{trainings} trainings to come (what stands in {_models(arguments)} is not trained "
        f"again); that of the run itself took {spent / 60:.1f} minutes, so about "
        f"{trainings * spent / 60:.0f} minutes"
    )


def _teller(reporter: Any) -> Any:
    """Pass progress on to a bar or to lines."""
    import time

    started = time.monotonic()
    return lambda share, text: reporter.update(share, time.monotonic() - started, text)
