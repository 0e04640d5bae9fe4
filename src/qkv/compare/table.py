"""The rows of a comparison, and the table that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qkv.compare.axes import Axis
from qkv.compare.record import Question, Record
from qkv.compare.variants import Variant, plain

NOTHING = "–"


@dataclass(frozen=True)
class Row:
    """A variant, and what is known of it: its record, or the error that it ended with."""

    variant: Variant
    record: Record | None
    error: str = ""

    @property
    def status(self) -> str:
        """done, failed or waiting."""
        return "done" if self.record else "failed" if self.error else "waiting"

    @property
    def answer(self) -> dict[str, Any]:
        """What was measured; empty if nothing was."""
        return (self.record.answer if self.record else None) or {}

    def json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        numbers = {key: value for key, value in self.answer.items() if key != "drawings"}
        return {
            "values": self.variant.values,
            "folder": self.variant.folder,
            "status": self.status,
            "error": self.error,
            **numbers,
            **(self.record.training if self.record else {}),
        }


def head_of(axes: Sequence[Axis], question: Question) -> list[str]:
    """Return the names of the columns."""
    aer = ["AER"] if question.gold else []
    cost = ["tokens/s", "minutes", "peak MiB"]
    varied = [axis.shown for axis in axes]
    return [*varied, "parameters", "dev perplexity", *question.metrics, *aer, *cost]


def cells_of(axes: Sequence[Axis], question: Question, rows: Sequence[Row]) -> list[list[str]]:
    """Return the cells of every row."""
    sizes = [row.answer["parameters"] for row in rows if row.answer]
    return [
        [plain(row.variant.values[axis.key]) for axis in axes]
        + _numbers(row, question, min(sizes, default=0))
        for row in rows
    ]


def notes_of(question: Question, rows: Sequence[Row]) -> list[str]:
    """Return what a reader must know beside the numbers."""
    sizes = sorted(row.answer["parameters"] for row in rows if row.answer)
    notes = []
    if sizes and sizes[0] != sizes[-1]:
        notes.append(
            f"The variants differ in size: from {sizes[0]:,} to {sizes[-1]:,} parameters; in "
            "brackets, how much each has more than the smallest."
        )
    signatures: dict[str, Any] = next((row.answer["metrics"] for row in rows if row.answer), {})
    signed = [f"{name} ({one['signature']})" for name, one in signatures.items()]
    notes.append(f"On {question.split}: {', '.join(signed or question.metrics)}.")
    if question.gold:
        notes.append(
            "AER in percent: of the links of words that attention gives when it reads the pairs "
            f"of {question.gold} (each target word, its heaviest source word)."
        )
    notes.append(
        "tokens/s (target tokens) and minutes are of the updates alone; peak MiB is the main "
        "memory of the variant's own process."
    )
    notes += [f"{row.variant.label} failed: {row.error}" for row in rows if row.error]
    return notes


def markdown(axes: Sequence[Axis], question: Question, rows: Sequence[Row]) -> str:
    """Return the table and its notes as Markdown."""
    head = head_of(axes, question)
    rule = ["---" if place < len(axes) else "---:" for place in range(len(head))]
    lines = [head, rule, *cells_of(axes, question, rows)]
    table = ["| " + " | ".join(map(_escape, line)) + " |" for line in lines]
    notes = [f"- {' '.join(note.split())}" for note in notes_of(question, rows)]
    return "\n".join([*table, "", *notes, ""])


def _numbers(row: Row, question: Question, smallest: int) -> list[str]:
    answer = row.answer
    if not answer or row.record is None:
        rest = len(head_of((), question)) - 1
        return [row.status, *[NOTHING] * rest]
    cost = row.record.training
    size = answer["parameters"]
    more = f" (+{100 * (size - smallest) / smallest:.1f} %)" if size > smallest else ""
    aer = answer["alignment"]
    return [
        f"{size:,}{more}",
        f"{answer['dev_perplexity']:.3f}",
        *(f"{answer['metrics'][name]['value']:.2f}" for name in question.metrics),
        *([f"{100 * aer['aer']:.2f}" if aer else NOTHING] if question.gold else []),
        _number(cost["tokens_per_second"], ",.0f"),
        _number(cost["minutes"], ".2f"),
        _number(cost["peak_mib"], ",.0f"),
    ]


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def _escape(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())
