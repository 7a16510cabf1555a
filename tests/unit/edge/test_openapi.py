"""The document: of the routes there are, complete, valid, and without anything secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from memrouter.domain import Json
from memrouter.edge.openapi import PATH, OpenApi, document
from memrouter.edge.openapi_table import OWN, PROVIDERS
from memrouter.testing.asgi import Client


async def endpoint(_: Request) -> Response:
    """What it does.

    And what else.
    """
    raise NotImplementedError


def routes() -> list[Route]:
    """Routes as in the table, some with what Starlette knows and OpenAPI does not."""
    return [
        Route(path.replace("{model}", "{model:path}"), endpoint, methods=[method], name=f"n{i}")
        for i, (method, path) in enumerate(OWN)
    ]


DOCUMENT = document(routes())


def operations(doc: Json = DOCUMENT) -> Iterator[tuple[str, str, Json]]:
    for path, item in doc["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


OPERATIONS = list(operations())
IDS = [f"{method} {path}" for method, path, _ in OPERATIONS]


def test_it_is_a_valid_document() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(json.loads(json.dumps(DOCUMENT))).validate()


def test_it_has_every_route_and_no_other() -> None:
    assert {(method, path) for method, path, _ in OPERATIONS} == {*OWN, *PROVIDERS}


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_references_lead_somewhere() -> None:
    found = re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DOCUMENT))
    assert found
    for place in set(found):
        at: Any = DOCUMENT
        for step in place.split("/"):
            at = at[step]


def test_docstrings_become_summaries() -> None:
    shown = DOCUMENT["paths"]["/health"]["get"]
    assert (shown["summary"], shown["description"]) == ("What it does.", "And what else.")


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_operations(method: str, path: str, operation: Json) -> None:
    named = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
    assert named == re.findall(r"\{(\w+)\}", path)
    assert operation["summary"].endswith(".")
    assert operation["responses"]
    if (method, path) in OWN:
        assert "500" in operation["responses"]
        described = OWN[method, path]
        assert ("401" in operation["responses"]) == (not described.keyless)
        assert bool(operation["security"]) == (not described.keyless)
        assert ("403" in operation["responses"]) >= described.account
        assert ("429" in operation["responses"]) == described.limited


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_what_has_bounds_says_when_to_come_back(method: str, path: str, operation: Json) -> None:
    limited = {**OWN, **PROVIDERS}.get((method, path), OWN["GET", "/health"]).limited
    assert ("503" in operation["responses"]) == (limited or path == "/health")
    for status in {"429", "503"} & operation["responses"].keys():
        told = operation["responses"][status]["headers"]
        assert ("Retry-After" in told) == limited


def test_an_error_of_ours_is_as_the_seed_says() -> None:
    error = DOCUMENT["components"]["schemas"]["ErrorAnswer"]
    assert sorted(error["required"]) == ["error", "hint"]


def test_a_route_that_the_table_does_not_know_is_in_it_too() -> None:
    doc = document([Route("/v1/new", endpoint, methods=["GET"])])
    shown = doc["paths"]["/v1/new"]["get"]
    assert shown["summary"] == "What it does."
    assert shown["responses"]["200"]["content"] == {
        "application/json": {"schema": {"type": "object"}}
    }


def test_it_shows_no_key() -> None:
    text = json.dumps(DOCUMENT, ensure_ascii=False)
    for rest in re.findall(r"\b(?:mk_|sk-)([A-Za-z0-9_-]+)", text):
        assert set(rest) == {"x"} or len(rest) < 8


async def test_it_is_served_to_anybody() -> None:
    api = OpenApi([Route("/health", endpoint, methods=["GET"])])
    client = Client(Router(api.routes()))
    answer = await client.get(PATH)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json["paths"]) == {"/health", PATH, *(path for _, path in PROVIDERS)}
    assert (await client.get(PATH)).body == answer.body
