"""The served document: every route is in it, and everything in it is served."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.routing import Route

from memrouter.edge.openapi_table import OWN, PROVIDERS

from .conftest import World

VALUES = {
    "id": "key_none",
    "provider": "openai",
    "model": "gpt-5.5",
    "number": "7",
    "url": "https://api.openai.com/v1/chat/completions",
}


@pytest.fixture
async def document(world: World) -> dict[str, Any]:
    answer = await world.client("").get("/openapi.json")
    assert answer.status == 200
    found: dict[str, Any] = answer.json
    return found


async def test_every_route_is_documented(world: World, document: dict[str, Any]) -> None:
    routes = world.edge._own.routes
    assert all(isinstance(route, Route) for route in routes)
    served = {
        (method, route.path.replace(":path}", "}"))
        for route in routes
        for method in route.methods - {"HEAD"}
    }
    documented = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    assert served == documented - set(PROVIDERS)
    assert served == set(OWN)
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["summary"], path


@pytest.mark.parametrize(("method", "path"), [*OWN, *PROVIDERS], ids=" ".join)
async def test_everything_documented_is_served(world: World, method: str, path: str) -> None:
    """Who brings no key learns that one is needed, and not that there is no such endpoint."""
    keyless = (method, path) in OWN and OWN[method, path].keyless
    filled = path.format(**VALUES)
    answer = await world.client("nobody").send(method, filled, b"{}")
    assert answer.status == (200 if keyless else 401), answer.body
    assert (await world.client("nobody").send("TRACE", filled)).status in (401, 405)


async def test_links_lead_to_operations_that_have_such_a_parameter(world: World) -> None:
    document = (await world.client("").get("/openapi.json")).json
    operations = {o["operationId"]: o for path in document["paths"].values() for o in path.values()}
    links = [
        link
        for operation in operations.values()
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(links) > 5
    for link in links:
        named = {p["name"] for p in operations[link["operationId"]]["parameters"]}
        assert link["parameters"].keys() <= named
