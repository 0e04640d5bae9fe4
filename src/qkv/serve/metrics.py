"""What Prometheus may ask; one registry an application, so that two do not add up."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counts and times of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "qkv_requests",
            "Requests, by path and status",
            ["path", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "qkv_request_seconds",
            "From request to answer",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "qkv_batch_texts",
            "Texts worked on together",
            ["model"],
            buckets=SIZES,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "qkv_waiting_texts", "Texts that wait for a model", ["model"], registry=self.registry
        )

    def text(self) -> bytes:
        """Return all of them, as Prometheus reads them."""
        return generate_latest(self.registry)
