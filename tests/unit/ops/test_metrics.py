from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from memrouter.ops.metrics import Metrics

NAMES = {
    "memrouter_requests": "counter",
    "memrouter_stage_seconds": "histogram",
    "memrouter_provider_seconds": "histogram",
    "memrouter_provider_errors": "counter",
    "memrouter_failed_open": "counter",
    "memrouter_shed": "counter",
    "memrouter_recalled_memories": "counter",
    "memrouter_injected_tokens": "counter",
    "memrouter_stored_turns": "counter",
    "memrouter_embedded_chunks": "counter",
    "memrouter_expired_memories": "counter",
    "memrouter_backlog_vaults": "gauge",
    "memrouter_running_requests": "gauge",
}


def values(text: bytes) -> dict[str, float]:
    families = text_string_to_metric_families(text.decode())
    return {
        f"{s.name}{json.dumps(s.labels, sort_keys=True) if s.labels else ''}": s.value
        for family in families
        for s in family.samples
    }


def test_every_metric_has_its_name_and_kind() -> None:
    families = list(text_string_to_metric_families(Metrics().expose().decode()))
    found = {f.name: f.type for f in families if not f.name.endswith("_created")}
    assert found == NAMES
    assert all(f.documentation for f in families)


def test_metrics_count() -> None:
    metrics = Metrics()
    metrics.requests.labels("v1", "openai_chat", "200").inc()
    metrics.requests.labels("v1", "openai_chat", "200").inc()
    metrics.stage.labels("prepare").observe(0.002)
    metrics.backlog.set(3)
    found = values(metrics.expose())
    labels = '{"format": "openai_chat", "status": "200", "surface": "v1"}'
    assert found[f"memrouter_requests_total{labels}"] == 2
    assert found['memrouter_stage_seconds_bucket{"le": "0.0025", "stage": "prepare"}'] == 1
    assert found['memrouter_stage_seconds_bucket{"le": "0.001", "stage": "prepare"}'] == 0
    assert found["memrouter_backlog_vaults"] == 3


def test_children_that_are_known_are_the_same() -> None:
    metrics = Metrics()
    metrics.answered["v1", "openai_chat", "200"].inc()
    metrics.requests.labels("v1", "openai_chat", "200").inc()
    metrics.stages["store"].observe(0.002)
    found = values(metrics.expose())
    labels = '{"format": "openai_chat", "status": "200", "surface": "v1"}'
    assert found[f"memrouter_requests_total{labels}"] == 2
    assert found['memrouter_stage_seconds_count{"stage": "store"}'] == 1
    assert metrics.answered["v1", "x", "200"] is metrics.answered["v1", "x", "200"]


def test_two_apps_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.stored.inc(5)
    assert values(other.expose())["memrouter_stored_turns_total"] == 0


WORKER = """
import sys
from memrouter.ops.metrics import Metrics
metrics = Metrics()
metrics.stored.inc(int(sys.argv[1]))
metrics.running.inc()
print(metrics.expose().decode())
"""


def test_workers_add_up_in_files(tmp_path: Path) -> None:
    """As `serve --workers` has it: each process writes its part, any of them tells the sum."""
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    told = [
        subprocess.run(
            [sys.executable, "-c", WORKER, str(count)],
            env=environment,
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for count in (2, 3)
    ]
    assert values(told[0])["memrouter_stored_turns_total"] == 2
    assert values(told[1])["memrouter_stored_turns_total"] == 5


@pytest.mark.parametrize(
    "label", ["surface", "format", "status", "stage", "provider", "error", "what"]
)
def test_labels_are_names_of_ours(label: str) -> None:
    """No metric is labelled by a user, key, session, vault or model: there may be millions."""
    metrics = Metrics()
    named = {
        name for metric in vars(metrics).values() for name in getattr(metric, "_labelnames", ())
    }
    assert label in named
    assert named == {"surface", "format", "status", "stage", "provider", "error", "what"}
