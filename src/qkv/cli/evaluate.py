"""`qkv evaluate RUN`: ask a model about a test set and measure the result."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from qkv.cli.arguments import checked, parse_for_run, refuse_idle_search
from qkv.cli.errors import UsageError
from qkv.config import DataConfig, SearchConfig
from qkv.config.models import usual_metrics
from qkv.evaluate.registry import METRICS, find

DESCRIPTION = """Ask the model about the sources of a split; hold its outputs against the targets.

BLEU and chrF are sacrebleu's, on detokenised text, with their signatures. WER is the share of
outputs that equal none of their references, PER the edits a reference token; both in percent. Of
labels, F1 is 2 right / (given + there), its macro mean over the labels of the references.
"""


@dataclass(frozen=True)
class Arguments:
    """What `qkv evaluate` takes."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    split: str = "test"
    """train, dev, test, or a split that the corpus names (`qkv data`)."""
    metrics: tuple[str, ...] = ("bleu", "chrf")
    """bleu, chrf, chrf++, ter, wer, per, accuracy; of labels: f1-macro, f1-micro, f1-binary,
    token-accuracy. The defaults are those of the run's kind of model."""
    limit: int = 0
    """Only the first pairs; 0: all."""
    by_length: bool = False
    """Add a table by the length of the source, in words."""
    by_label: bool = False
    """Add precision, recall and F1 of each label, and which was taken for which."""
    json: bool = False
    """Print JSON."""
    output: Path | None = None
    """Write the outputs, a line each."""
    data: DataConfig = field(default_factory=DataConfig)
    """Where the pairs are; the defaults are those of the run."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """How to search; the defaults are those of the run."""


def run(words: list[str]) -> int:
    """Evaluate."""
    arguments, config = parse_for_run(
        "evaluate",
        DESCRIPTION,
        words,
        lambda config: Arguments(
            tyro.MISSING,
            metrics=usual_metrics(config.model),
            data=config.data,
            search=config.search,
        ),
    )
    config = checked(replace(config, data=arguments.data, search=arguments.search))
    refuse_idle_search(words, config)
    if not arguments.metrics:
        raise UsageError(f"--metrics names none; give at least one of {', '.join(METRICS)}")
    for name in arguments.metrics:
        find(name)
    if arguments.limit < 0:
        raise UsageError(f"--limit {arguments.limit}: it is a number of pairs, or 0 for all")
    from qkv.data import load_pairs
    from qkv.files import write_atomically
    from qkv.measure import measure
    from qkv.run import load

    loaded = load(arguments.run)
    pairs = load_pairs(config.data, arguments.split)
    if arguments.limit:
        pairs = pairs.first(arguments.limit)
    started = time.monotonic()
    outputs, result = measure(
        loaded,
        pairs,
        arguments.metrics,
        search=config.search,
        by_length=arguments.by_length,
        by_label=arguments.by_label,
    )
    seconds = time.monotonic() - started
    if arguments.output:
        write_atomically(arguments.output, "".join(f"{line}\n" for line in outputs).encode())
    print(json.dumps(result.json(), ensure_ascii=False) if arguments.json else result)
    rate = f"{len(pairs)} sources in {seconds:.1f} s ({len(pairs) / seconds:.1f} a second)"
    print(f"qkv evaluate: {rate}", file=sys.stderr)
    return 0
