"""How much a client may ask for."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """What one request, and all that wait, may hold.

    Raises:
        ValueError: one of them is not above 0.
    """

    body_bytes: int = 1_000_000
    """Of a request; more: 413."""
    body_seconds: float = 10.0
    """To send a body in; longer: 408."""
    texts: int = 256
    """Of a request; more: 422."""
    tokens: int = 512
    """Of a text, as the model cuts it; more: 422."""
    n_best: int = 10
    """Outputs a text; more: 422."""
    beam: int = 16
    """Hypotheses kept a step; more: 422."""
    queue: int = 1024
    """Texts that wait for a model, or requests to look at one; more: 429."""
    batch: int = 64
    """Texts that a model works on at a time."""
    seconds: float = 30.0
    """From request to answer; longer: 503."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"the limit {field.name} is {value}; it must be above 0")
