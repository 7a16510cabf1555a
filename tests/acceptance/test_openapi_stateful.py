"""Answers feed requests: ids that one operation gives are used in the others, in any order."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import use_after_free

from .conftest import ServedProvider
from .stack import Router
from .test_openapi import CHECKS, fuzzed, schema

__all__ = ["fuzzed", "schema"]  # the fixtures

EXAMPLES = 8
STEPS = 12


def test_sequences_of_requests(fuzzed: Router, served: ServedProvider, schema: Any) -> None:
    headers = {"Authorization": f"Bearer {fuzzed.account_key}"}
    schema.config.generation.update(modes=[GenerationMode.POSITIVE])
    calls: list[tuple[str, int]] = []

    class Workflow(schema.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": headers}

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            calls.append((case.operation.label, response.status_code))
            case.validate_response(response, checks=[*CHECKS, use_after_free], headers=headers)

    run_state_machine_as_test(
        Workflow,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert fuzzed.running
    assert any("{id}" in label and status < 300 for label, status in calls), "no id was used"
