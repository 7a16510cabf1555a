"""The served OpenAPI document, held against the server: no 500, answers as it says, in any mood."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from memrouter.edge.openapi_table import OWN, PROVIDERS

from .conftest import ServedProvider
from .stack import Router

EXAMPLES = 6
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
PLACES = sorted([*OWN, *PROVIDERS])
MODES = {"as it says": GenerationMode.POSITIVE, "otherwise": GenerationMode.NEGATIVE}


@schemathesis.serializer("application/x-ndjson")
def _lines(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def fuzzed(served: ServedProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router of its own: its keys are renamed and its vaults filled with nonsense."""
    router = Router(tmp_path_factory.mktemp("fuzzed"), served.port)
    yield router.start()
    router.kill()


@pytest.fixture(scope="module")
def schema(fuzzed: Router, served: ServedProvider) -> Any:
    with fuzzed.http() as http:
        answer = http.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    [url, *_] = document["paths"]["/v3/{url}"]["post"]["parameters"]
    url["schema"]["examples"] = [f"{served.url}/v1/chat/completions"]  # not the real one
    loaded = schemathesis.openapi.from_dict(document)
    loaded.config.update(base_url=fuzzed.url)
    loaded.validate()
    return loaded


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("place", PLACES, ids=" ".join)
def test_answers_are_as_the_document_says(
    fuzzed: Router, schema: Any, place: tuple[str, str], mode: GenerationMode
) -> None:
    method, path = place
    operation = schema[path][method]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        headers = {"Authorization": f"Bearer {fuzzed.account_key}"}
        answer = case.call(headers=headers)
        case.validate_response(answer, checks=CHECKS, headers=headers)

    # Where nothing can be sent, or whatever is sent is right, there is nothing to send wrongly.
    with contextlib.suppress(Unsatisfiable):
        ask()
    assert fuzzed.running
