"""What all findings together allow to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qkv.explain.faithfulness.finding import Finding

CAUTION = (
    "These tests can speak against reading the weights as an explanation of this model on these "
    "examples; that none does is no proof. Intervals are 95 %, each by itself: of twenty, one may "
    "miss."
)


FEWEST = 30
"""Examples from which a verdict is given: a bootstrap of fewer values is narrower than it should
be, and of values that are all equal has no width."""


@dataclass(frozen=True)
class Verdict:
    """What may be said.

    ignored: the output does not depend on the weights. faithful: most tests speak for them and
    none against. unfaithful: most speak against them and none for. mixed: all else.
    """

    kind: Literal["faithful", "ignored", "unfaithful", "mixed"]
    says: str

    def json(self) -> dict[str, str]:
        """Return plain values."""
        return {"kind": self.kind, "says": self.says, "caution": CAUTION}


def judge(findings: Sequence[Finding]) -> Verdict:
    """Weigh the findings.

    An output that neither permuted nor random weights move settles the matter: what has no effect
    explains nothing. A test of fewer than `FEWEST` examples settles nothing.
    """
    for_, against, open_ = (
        [one.test for one in findings if one.reading == way] for way in ("for", "against", "open")
    )
    fewest = min((one.value.n for one in findings), default=FEWEST)
    if fewest < FEWEST:
        return Verdict(
            "mixed",
            f"{fewest} examples are too few to settle it: the intervals of so few values say "
            f"little; give {FEWEST} or more (--limit).",
        )
    if "permutation" in against:
        return Verdict(
            "ignored",
            "The decision does not depend on the attention weights, so they do not explain it.",
        )
    counted = (
        f"For reading the weights as an explanation: {_names(for_)}; against it: "
        f"{_names(against)}; undecided: {_names(open_)}."
    )
    if 2 * len(for_) > len(findings) and not against:
        return Verdict("faithful", f"Most tests support the weights as an explanation. {counted}")
    if 2 * len(against) > len(findings) and not for_:
        return Verdict(
            "unfaithful", f"Most tests speak against the weights as an explanation. {counted}"
        )
    return Verdict("mixed", f"The tests together do not settle it. {counted}")


def _names(tests: Sequence[str]) -> str:
    names = list(dict.fromkeys(tests))
    if len(names) < 2:
        return "".join(names) or "none"
    return f"{', '.join(names[:-1])} and {names[-1]}"
