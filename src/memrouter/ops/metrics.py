"""What /metrics tells: counts and durations, labelled by names of ours, never by users or keys."""

from __future__ import annotations

import os
from typing import Generic, TypeVar

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector

_FAST = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SLOW = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


Kind = TypeVar("Kind", bound=MetricWrapperBase)


class Known(dict[str | tuple[str, ...], Kind], Generic[Kind]):
    """The children of a metric, by their label or labels: `metric.labels` checks them each time."""

    def __init__(self, metric: Kind) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: str | tuple[str, ...]) -> Kind:
        found = self._metric.labels(*((labels,) if isinstance(labels, str) else labels))
        self[labels] = found
        return found


class Metrics:
    """Every metric of a process; see docs/reference/metrics.md."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter(
            "memrouter_requests", "Requests answered", ["surface", "format", "status"], registry=own
        )
        self.stage = Histogram(
            "memrouter_stage_seconds",
            "Time a request spends in the router, by stage",
            ["stage"],
            buckets=_FAST,
            registry=own,
        )
        self.provider = Histogram(
            "memrouter_provider_seconds",
            "Time until a provider's headers arrive",
            ["provider"],
            buckets=_SLOW,
            registry=own,
        )
        self.provider_errors = Counter(
            "memrouter_provider_errors",
            "Providers that could not be reached or broke off",
            ["provider"],
            registry=own,
        )
        self.failed_open = Counter(
            "memrouter_failed_open",
            "Requests that went on without memory, by what failed",
            ["stage", "error"],
            registry=own,
        )
        self.shed = Counter(
            "memrouter_shed", "What was refused beyond capacity", ["what"], registry=own
        )
        self.recalled = Counter("memrouter_recalled_memories", "Memories injected", registry=own)
        self.injected = Counter("memrouter_injected_tokens", "Tokens injected", registry=own)
        self.stored = Counter("memrouter_stored_turns", "Turns stored", registry=own)
        self.expired = Counter(
            "memrouter_expired_memories", "Memories deleted by age", registry=own
        )
        self.embedded = Counter("memrouter_embedded_chunks", "Chunks embedded", registry=own)
        self.backlog = Gauge(
            "memrouter_backlog_vaults",
            "Vaults whose chunks wait for vectors",
            registry=own,
            multiprocess_mode="livesum",
        )
        self.running = Gauge(
            "memrouter_running_requests",
            "Requests under way",
            registry=own,
            multiprocess_mode="livesum",
        )

        # What every request counts.
        self.answered = Known(self.requests)
        self.stages = Known(self.stage)
        self.providers = Known(self.provider)

    def expose(self) -> bytes:
        """The metrics of this process, or of all workers where several serve."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
