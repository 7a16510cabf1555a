"""The OpenAPI document: from the routes, their docstrings, and the Structs of their bodies."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from memrouter import __version__
from memrouter.domain import Json
from memrouter.edge.openapi_table import (
    ERRORS,
    JSON,
    LINKS,
    OWN,
    PARAMETERS,
    PROVIDERS,
    STREAM,
    SUMMARIES,
    TAGS,
    Described,
    ErrorAnswer,
    Place,
)

PATH = "/openapi.json"

_REF = "#/components/schemas/{name}"
_CONVERTER = re.compile(r"\{(\w+):\w+\}")
_IN_PATH = re.compile(r"\{(\w+)\}")
_PATH_SCHEMAS: dict[str, Json] = {
    "id": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "examples": ["key_0123456789abcdef"]},
    "provider": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "examples": ["openai"]},
    "model": {"type": "string", "minLength": 1, "examples": ["gpt-5.5"]},
    "number": {"type": "integer", "minimum": 0},
    "url": {"type": "string", "examples": ["https://api.openai.com/v1/chat/completions"]},
}
_SCHEMES: dict[str, Json] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A memory key, `mk_…`; a mode may follow it, as in `mk_…:read`.",
    },
    "memory_key": {"type": "apiKey", "in": "header", "name": "X-Memory-Key"},
    "anthropic_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "google_key": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
    "google_parameter": {"type": "apiKey", "in": "query", "name": "key"},
    "supermemory_key": {"type": "apiKey", "in": "header", "name": "x-supermemory-api-key"},
}
_LATER = (429, 503)
"""Statuses with Retry-After."""
_REQUEST_ID = {"X-Request-ID": {"$ref": "#/components/headers/RequestID"}}


class OpenApi:
    """Serves the document; it is made when it is first asked for."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """routes  all endpoints of our own but this one"""
        self._routes = (*routes, *self.routes())
        self._body: bytes | None = None

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [Route(PATH, self.show, methods=["GET"])]

    async def show(self, _request: Request) -> Response:
        """This document."""
        if self._body is None:
            self._body = msgspec.json.encode(document(self._routes))
        return Response(self._body, media_type=JSON)


def document(routes: Iterable[Route]) -> Json:
    """The document of these routes of ours, and of the providers' endpoints."""
    schemas, components = msgspec.json.schema_components(_structs(), ref_template=_REF)
    refs = dict(zip(_structs(), schemas, strict=True))
    paths: dict[str, Json] = {}
    for place, described, name, says in _endpoints(routes):
        method, path = place
        operation = _operation(place, described, name, says, refs)
        paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "memrouter",
            "version": __version__,
            "description": "A self-hosted memory router for LLM apps.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": says} for name, says in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _described(components),
            "securitySchemes": _SCHEMES,
            "headers": {
                "RequestID": {
                    "description": "The request's id, as in the log.",
                    "schema": {"type": "string"},
                }
            },
        },
    }


def _endpoints(routes: Iterable[Route]) -> Iterator[tuple[Place, Described, str, str]]:
    """Method and path, what is known of it, its name, and what it does."""
    for route in routes:
        path = _CONVERTER.sub(r"{\1}", route.path)
        for method in sorted((route.methods or set()) - {"HEAD"}):
            place = method, path
            says = inspect.getdoc(route.endpoint) or ""
            yield place, OWN.get(place, Described(tag="Operation")), route.name, says
    for place, described in PROVIDERS.items():
        method, path = place
        name = "_".join(re.findall(r"\w+", f"{method.lower()} {path}"))
        yield place, described, name, SUMMARIES.get(place, f"The provider's own {path}.")


def _structs() -> list[type]:
    found: dict[type, None] = {ErrorAnswer: None}
    for described in (*OWN.values(), *PROVIDERS.values()):
        found |= dict.fromkeys(s for s in (described.body, described.answer) if s is not None)
    return list(found)


def _described(components: dict[str, Json]) -> dict[str, Json]:
    """The schemas, their descriptions without the indentation of docstrings."""
    return {
        name: {**schema, "description": inspect.cleandoc(schema.get("description", ""))}
        for name, schema in components.items()
    }


def _operation(
    place: Place, described: Described, name: str, says: str, refs: dict[type, Json]
) -> Json:
    summary, _, rest = says.partition("\n")
    operation: Json = {
        "operationId": name,
        "summary": summary.strip(),
        "tags": [described.tag],
        "parameters": [*_path_parameters(place[1]), *_parameters(described)],
        "responses": {**_success(place, described, refs), **_failures(place, described, refs)},
        "security": _security(place, described),
    }
    if rest.strip():
        operation["description"] = rest.strip()
    if described.body is not None or described.body_media:
        operation["requestBody"] = _body(described, refs)
    return operation


def _path_parameters(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS[name]}
        for name in _IN_PATH.findall(path)
    ]


def _parameters(described: Described) -> list[Json]:
    return [
        {"name": p.name, "in": p.place, "description": p.says, "schema": p.schema}
        for p in (PARAMETERS[name] for name in described.parameters)
    ]


def _body(described: Described, refs: dict[type, Json]) -> Json:
    schema: Json = {"type": "string" if described.body_media.endswith("ndjson") else "object"}
    if described.body is not None:
        schema = refs[described.body]
    content: Json = {"schema": schema}
    if described.example is not None:
        content["example"] = described.example
    return {
        "required": described.body_needed,
        "content": {described.body_media or JSON: content},
    }


def _success(place: Place, described: Described, refs: dict[type, Json]) -> Json:
    if place in PROVIDERS:
        content: Json = {"*/*": {}}
        if described.body is not None:
            content = {JSON: {"schema": {"type": ["object", "array"]}}, STREAM: {}}
        says = "The provider's answer, as it came."
        return {"200": {"description": says, "headers": _REQUEST_ID, "content": content}}
    schema: Json = {"type": "object" if described.media == JSON else "string"}
    if described.answer is not None:
        schema = refs[described.answer]
    content = {described.media: {"schema": schema}}
    success: Json = {"description": "As asked.", "headers": _REQUEST_ID, "content": content}
    if place in LINKS:
        success["links"] = {
            name: {"operationId": name, "parameters": parameters}
            for name, parameters in LINKS[place].items()
        }
    answers = {str(described.status): success}
    if place == ("GET", "/health"):
        answers["503"] = {**success, "description": "The router is stopping."}
    return answers


def _failures(place: Place, described: Described, refs: dict[type, Json]) -> Json:
    if place in PROVIDERS:
        says = "An error of the provider, as it came; or one of ours, in the provider's shape."
        content: Json = {"*/*": {}}
        return {
            "503": _failure(503, f"{ERRORS[503]} Or the provider's own.", content),
            "default": _failure(0, says, content),
        }
    statuses = {500, *described.errors}
    if not described.keyless:
        statuses |= {401}
    if described.account:
        statuses |= {403}
    if described.limited:
        statuses |= {429, 503} | ({402} if place[0] == "POST" else set())
    if described.body is not None or described.body_media:
        statuses |= {400, 413}
    content = {JSON: {"schema": refs[ErrorAnswer]}}
    return {str(status): _failure(status, ERRORS[status], content) for status in sorted(statuses)}


def _failure(status: int, says: str, content: Json) -> Json:
    later = {"Retry-After": {"schema": {"type": "integer"}}} if status in _LATER else {}
    return {"description": says, "headers": {**_REQUEST_ID, **later}, "content": content}


def _security(place: Place, described: Described) -> list[Json]:
    """Ways to send the memory key, any one of which will do."""
    if described.keyless:
        return []
    schemes = ["bearer", "memory_key", "anthropic_key", "google_key"]
    if place[1].startswith("/v3/"):
        schemes.insert(0, "supermemory_key")
    if place[1].endswith("Content"):
        schemes.append("google_parameter")
    return [{scheme: []} for scheme in schemes]
