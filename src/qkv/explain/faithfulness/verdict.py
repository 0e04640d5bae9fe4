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


@dataclass(frozen=True)
class Verdict:
    """faithful: no test speaks against the weights. ignored: the output does not depend on them.

    mixed: some tests speak for them and some against, or none decides.
    """

    kind: Literal["faithful", "ignored", "unfaithful", "mixed"]
    says: str

    def json(self) -> dict[str, str]:
        """Return plain values."""
        return {"kind": self.kind, "says": self.says, "caution": CAUTION}


def judge(findings: Sequence[Finding]) -> Verdict:
    """Weigh the findings.

    An output that permuted weights do not move settles the matter: what has no effect explains
    nothing. Otherwise it takes all deciding tests to agree.
    """
    for_, against = ([f.test for f in findings if f.reading == way] for way in ("for", "against"))
    if "permutation" in against:
        return Verdict(
            "ignored",
            "The decision does not depend on the attention weights, so they do not explain it.",
        )
    counted = f"{_names(for_)} speak for the weights, {_names(against)} against"
    if for_ and not against:
        return Verdict(
            "faithful",
            f"No test here speaks against reading the weights as an explanation; {_names(for_)} "
            "support it.",
        )
    if against and not for_:
        return Verdict(
            "unfaithful",
            f"{_names(against)} speak against reading the weights as an explanation, and none "
            "for it.",
        )
    if not findings or not (for_ or against):
        return Verdict("mixed", "None of these tests decides on these examples.")
    return Verdict("mixed", f"The tests disagree: {counted}.")


def _names(tests: Sequence[str]) -> str:
    names = list(dict.fromkeys(tests))
    if len(names) < 2:
        return "".join(names) or "none"
    return f"{', '.join(names[:-1])} and {names[-1]}"
