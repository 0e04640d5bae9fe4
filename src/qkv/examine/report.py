"""What the tests found, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qkv.explain.faithfulness.finding import LEVEL, RESAMPLES, Finding
from qkv.explain.faithfulness.verdict import CAUTION, Verdict, judge

HEAD = ("test", "measured on each example", "mean [95 %]", "sd", "n", "baseline [95 %]", "says")
SIGNS = {"for": "for", "against": "against", "open": "open"}


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
                SIGNS[one.reading],
            ]
            for one in self.findings
        ]

    def __str__(self) -> str:
        lines = [title(self.about), ""]
        for one in self.findings:
            lines += [
                f"{one.test} ({one.reading})",
                f"  {one.measure}: {one.value}, sd {one.value.deviation:.3f}, n {one.value.n:,}",
                f"  {one.chance}: {one.baseline}",
                f"  {one.says}",
            ]
        return "\n".join([*lines, "", self.verdict.says, CAUTION])


def title(about: dict[str, Any]) -> str:
    """Say what was examined."""
    return (
        f"Is attention explanation? {about['run']}, {about['n']:,} examples of {about['split']}, "
        f"accuracy {about['accuracy']:.3f}"
    )
