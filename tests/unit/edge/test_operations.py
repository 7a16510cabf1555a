"""Every endpoint of the memory API is described, and nothing else is."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest
from starlette.routing import Route

from memrouter.edge.access import MemoryParts
from memrouter.edge.inference_api import InferenceApi
from memrouter.edge.memory_api import MemoryApi
from memrouter.edge.operations import OPERATIONS, Operation


class NoParts:
    """Routes need none."""

    def __getattr__(self, name: str) -> None:
        return None


def served() -> list[Route]:
    parts = cast("MemoryParts", NoParts())
    return [*InferenceApi(parts).routes(), *MemoryApi(parts).routes()]


def test_every_route_is_described() -> None:
    routes = {
        (method, route.path.replace("memory_{number}", "{id}"))
        for route in served()
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = [(operation.method, operation.path) for operation in OPERATIONS]
    assert set(described) == routes
    assert len(described) == len(routes)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: f"{o.method} {o.path}")
def test_each_can_be_shown(operation: Operation) -> None:
    types = [t for t in (operation.request, operation.answer) if t]
    for type_ in types:
        schema = msgspec.json.schema(type_)["$defs"]
        assert all(shape["description"] for shape in schema.values())
    assert (operation.request is not None) == (
        operation.method == "POST" and "warmup" not in operation.path
    )
    assert {p.name for p in operation.parameters if p.required} == (
        {"id"} if "{id}" in operation.path else set()
    )
    for parameter in operation.parameters:
        assert msgspec.json.schema(parameter.kind)
        assert parameter.meaning.endswith(".")
