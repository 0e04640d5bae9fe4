"""Train and measure the variants of a recipe, one after another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qkv.compare.axes import Axis, axes_of
from qkv.compare.check import check, default_metrics
from qkv.compare.process import run_variant
from qkv.compare.record import Question, answered, digest_of
from qkv.compare.table import Row, markdown
from qkv.compare.variants import variants_of
from qkv.config import Config
from qkv.files import locked
from qkv.folder import write_json


@dataclass(frozen=True)
class Comparison:
    """What was varied and asked, and a row for each variant."""

    axes: tuple[Axis, ...]
    question: Question
    rows: tuple[Row, ...]

    @property
    def failed(self) -> bool:
        """Whether a variant has failed."""
        return any(row.status == "failed" for row in self.rows)

    def markdown(self) -> str:
        """Return the table, with what is needed to read it."""
        return markdown(self.axes, self.question, self.rows)

    def html(self, title: str) -> str:
        """Return one page: the table, and the variants' heat maps of the same pairs in rows."""
        from qkv.compare.page import page

        return page(self.axes, self.question, self.rows, title)

    def json(self) -> dict[str, Any]:
        """Return plain values for JSON; the heat maps stay in the variants' folders."""
        return {
            "varied": [axis.key for axis in self.axes],
            "question": self.question.json(),
            "rows": [row.json() for row in self.rows],
        }


def compare(
    config: Config,
    vary: Mapping[str, Sequence[Any]],
    folder: Path,
    *,
    split: str = "dev",
    metrics: Sequence[str] = (),
    gold: Path | None = None,
    show: int = 3,
    say: Callable[[str], None] | None = None,
) -> Comparison:
    """Train every combination of the varied values, and measure each.

    Each variant is trained in a process of its own, so that its peak memory is its own and a crash
    of it leaves the others alone. What is finished is not trained again; what was interrupted goes
    on from its last checkpoint. `folder/results.json` is written anew after each variant.

    Args:
        config: the recipe.
        vary: the values of each key; a key may be cut down to its unambiguous end.
        folder: where the variants' run folders go.
        split: what the metrics are measured on.
        metrics: names from `qkv.evaluate.METRICS`; none: the config's, or else the corpus's.
        gold: gold links, for the alignment error rate of the attention.
        show: how many dev pairs are drawn.
        say: takes the lines that tell how far it is; None: they go to standard error.

    Raises:
        ValueError: before anything is trained: a key, a value, a metric, a file or the folder is
            wrong, or the config refuses a combination.
    """
    say = say or _print
    axes = axes_of(config, vary)
    variants = variants_of(config, axes)
    question = Question(
        split,
        tuple(metrics) or default_metrics(config),
        str(gold) if gold else "",
        digest_of(gold) if gold else "",
        show,
    )
    check(variants, folder, question)
    for variant in variants:
        if variant.left_out:
            say(f"{variant.label}: that kind of model has no {', '.join(variant.left_out)}")
    with locked(folder):
        rows = [
            Row(variant, answered(folder / variant.folder, variant.config, question))
            for variant in variants
        ]
        return _train(folder, axes, question, rows, say)


def _train(
    folder: Path,
    axes: Sequence[Axis],
    question: Question,
    rows: list[Row],
    say: Callable[[str], None],
) -> Comparison:
    """Bring every row to its end, and say how to go on where that is interrupted."""
    try:
        for place in range(len(rows)):
            _save(folder, axes, question, rows)
            rows[place] = _next(folder, question, rows, place, say)
    except KeyboardInterrupt:
        done = sum(row.status == "done" for row in rows)
        say(
            f"{done} of {len(rows)} variants are done and the last one is at its last "
            "checkpoint; the same command goes on from there"
        )
        raise
    return _save(folder, axes, question, rows)


def _next(
    folder: Path, question: Question, rows: list[Row], place: int, say: Callable[[str], None]
) -> Row:
    """Return the row of a variant, when it is done."""
    row = rows[place]
    variant, own = row.variant, folder / row.variant.folder
    where = f"variant {place + 1} of {len(rows)}: {variant.label}"
    if row.status == "done":
        say(f"{where} (done before)")
        return row
    say(where)
    if error := run_variant(own, variant, question):
        say(f"variant {place + 1} failed: {error}")
        return Row(variant, None, error)
    record = answered(own, variant.config, question)
    assert record is not None, "the process of a variant leaves its record"
    return Row(variant, record)


def _save(
    folder: Path, axes: Sequence[Axis], question: Question, rows: Sequence[Row]
) -> Comparison:
    """Write the results so far, whole, and return them."""
    found = Comparison(tuple(axes), question, tuple(rows))
    write_json(folder / "results.json", found.json())
    return found


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
