"""The metrics there are, and what each of them takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, NamedTuple

References = Sequence[str] | Sequence[Sequence[str]]
"""What the outputs are held against: for each sentence a text, or several texts."""


@dataclass(frozen=True)
class Score:
    """A value, in percent, and all that is needed to compute it again."""

    name: str
    value: float
    signature: str

    def json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.name} = {self.value:.2f} ({self.signature})"


class Metric(NamedTuple):
    """Where a metric's function is, and in which direction it is better.

    function: "module:name"; imported on first use.
    """

    function: str
    bigger_is_better: bool

    def load(self) -> Callable[[Sequence[str], References], Score]:
        """Import the function."""
        module, name = self.function.split(":")
        function: Callable[[Sequence[str], References], Score] = getattr(
            import_module(module), name
        )
        return function


METRICS: dict[str, Metric] = {
    "bleu": Metric("qkv.evaluate.metrics:bleu", True),
    "bleu-zh": Metric("qkv.evaluate.metrics:bleu_zh", True),
    "bleu-char": Metric("qkv.evaluate.metrics:bleu_char", True),
    "chrf": Metric("qkv.evaluate.metrics:chrf", True),
    "chrf++": Metric("qkv.evaluate.metrics:chrf_plus_plus", True),
    "ter": Metric("qkv.evaluate.metrics:ter", False),
    "per": Metric("qkv.evaluate.error_rates:per", False),
    "wer": Metric("qkv.evaluate.error_rates:wer", False),
    "accuracy": Metric("qkv.evaluate.error_rates:accuracy", True),
    "token-accuracy": Metric("qkv.evaluate.labels:token_accuracy", True),
    "f1-macro": Metric("qkv.evaluate.labels:f1_macro", True),
    "f1-micro": Metric("qkv.evaluate.labels:f1_micro", True),
    "f1-binary": Metric("qkv.evaluate.labels:f1_binary", True),
}


def find(name: str) -> Metric:
    """Return a metric by its name.

    Raises: ValueError if there is none of that name.
    """
    if name not in METRICS:
        raise ValueError(f"unknown metric {name!r}; allowed: {', '.join(METRICS)}")
    return METRICS[name]


def listed(hypotheses: Sequence[str], references: References) -> list[list[str]]:
    """Return each sentence's references as a list.

    Raises: ValueError if there is nothing to evaluate, the numbers differ, a sentence has no
        reference, or one text was given where a list of texts belongs.
    """
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise ValueError("hypotheses and references are lists of texts; one text was given")
    if len(hypotheses) == 0:
        raise ValueError("there is nothing to evaluate: no hypothesis was given")
    if len(hypotheses) != len(references):
        raise ValueError(
            f"{len(hypotheses)} hypotheses, but references for {len(references)} sentences; "
            "references[i] holds the reference, or references, of hypotheses[i]"
        )
    lists = [[one] if isinstance(one, str) else list(one) for one in references]
    for i, several in enumerate(lists):
        if not several:
            raise ValueError(f"sentence {i} has no reference; each needs at least one")
    return lists
