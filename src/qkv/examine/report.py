"""What the tests found, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qkv.explain.faithfulness.finding import LEVEL, RESAMPLES, Finding
from qkv.explain.faithfulness.verdict import CAUTION, Verdict, judge

HEAD = ("test", "measured on each example", "mean [95 %]", "sd", "n", "baseline [95 %]", "reading")
SHORT = [HEAD[0], *HEAD[2:]]


@dataclass(frozen=True)
class Report:
    """The findings, and what they are about.

    about: the run, the split, the number of examples, the accuracy, the seconds each test took.
    """

    findings: Sequence[Finding]
    about: dict[str, Any]

    @property
    def verdict(self) -> Verdict:
        """What all of them allow to say."""
        return judge(self.findings)

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **self.about,
            "verdict": self.verdict.json(),
            "interval": f"{LEVEL:.0%}, percentile bootstrap over examples, {RESAMPLES} resamples",
            "findings": [finding.json() for finding in self.findings],
        }

    def rows(self) -> list[list[str]]:
        """Return the cells of the table, a row a finding."""
        return [
            [
                one.test,
                one.measure,
                str(one.value),
                f"{one.value.deviation:.3f}",
                f"{one.value.n:,}",
                f"{one.baseline} ({one.chance})",
                one.reading,
            ]
            for one in self.findings
        ]

    def __str__(self) -> str:
        shown = [SHORT, *([row[0], *row[2:]] for row in self.rows())]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in shown
        ]
        said = [f"{one.test}: {one.measure}.\n  {one.says}" for one in self.findings]
        return "\n".join(
            [title(self.about), "", *table, "", *said, "", self.verdict.says, CAUTION]
        )


def title(about: dict[str, Any]) -> str:
    """Say what was examined."""
    return (
        f"Is attention explanation? {about['run']}, {about['n']:,} examples of {about['split']}, "
        f"accuracy {about['accuracy']:.3f}"
    )
