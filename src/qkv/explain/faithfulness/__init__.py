"""Is attention explanation? Jain and Wallace 2019 asked, and Wiegreffe and Pinter 2019 asked back.

One file a test. Each measures something on every example, holds the mean against a random baseline
with a bootstrap interval, and says what may be concluded. `TESTS` names them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.explain.faithfulness.finding import Estimate, Finding
    from qkv.explain.faithfulness.material import Material
    from qkv.explain.faithfulness.settings import Settings
    from qkv.explain.faithfulness.subject import Subject
    from qkv.explain.faithfulness.verdict import Verdict

_EXPORTS = {
    "Estimate": "finding",
    "Finding": "finding",
    "Material": "material",
    "Settings": "settings",
    "Subject": "subject",
    "Verdict": "verdict",
}

__all__ = ["TESTS", "Estimate", "Finding", "Material", "Settings", "Subject", "Test", "Verdict"]


@dataclass(frozen=True)
class Test:
    """A test's function (`module:name` in this package), what it asks, and whether it trains."""

    function: str
    asks: str
    trains: bool = False

    def load(self) -> Any:
        """Import the function: it takes a `Material` and what is told of its progress."""
        module, name = self.function.split(":")
        return getattr(import_module(f"{__name__}.{module}"), name)


TESTS = {
    "gradient": Test("gradient:test", "do the weights rank the words as gradients do?"),
    "leave-one-out": Test("leave_one_out:test", "do they rank them as leaving a word out does?"),
    "permutation": Test("permutation:test", "does the output change when weights change places?"),
    "adversarial": Test("adversarial:test", "do very different weights give the same output?"),
    "uniform": Test("uniform:test", "does the model need its weights, or do equal ones do?"),
    "uniform-trained": Test(
        "frozen:uniform", "is a model as good that was trained with equal weights?", trains=True
    ),
    "frozen": Test(
        "frozen:frozen", "is a model as good whose attention was never trained?", trains=True
    ),
    "seeds": Test("seeds:test", "do models of other seeds have the same weights?", trains=True),
    "adversarial-model": Test(
        "adversarial_model:test",
        "can a model learn the same outputs with other weights?",
        trains=True,
    ),
    "mlp": Test("mlp:test", "do the weights help a model that sees no context?", trains=True),
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
