"""Which endpoint a request is for, and what surrounds each; the relay is a fake."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from memrouter import errors
from memrouter.edge import bodies
from memrouter.edge.asgi import ClientGone, Receive, Request, Send
from memrouter.edge.exchange import Endpoint
from memrouter.edge.relay import Relay
from memrouter.edge.respond import send_json
from memrouter.edge.routes import Edge
from memrouter.edge.targets import Targets
from memrouter.ops.metrics import Metrics
from memrouter.testing.asgi import Client
from memrouter.upstream import providers
from memrouter.upstream.allowlist import Allowlist
from memrouter.wire.table import FORMATS

SECRET = "what-a-user-wrote"
Work = Callable[[Request, Receive, Send], Awaitable[int]]


class FakeRelay:
    """Keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Request, Endpoint]] = []
        self.work: Work | None = None

    async def __call__(
        self, request: Request, endpoint: Endpoint, receive: Receive, send: Send
    ) -> int:
        self.asked.append((request, endpoint))
        if self.work is not None:
            return await self.work(request, receive, send)
        await send_json(send, 200, {"relayed": True}, [(b"x-request-id", request.id.encode())])
        return 200


async def works(request: StarletteRequest) -> Response:
    return JSONResponse({"path": request.url.path, "id": bodies.head(request).id})


async def fails(_: StarletteRequest) -> Response:
    raise RuntimeError(SECRET)


async def forbids(_: StarletteRequest) -> Response:
    raise errors.Forbidden("no", "yes")


async def limits(_: StarletteRequest) -> Response:
    raise errors.RateLimited("slow", retry_after_s=3)


async def leaves(_: StarletteRequest) -> Response:
    raise ClientGone


async def breaks(_: StarletteRequest) -> Response:
    async def blocks() -> Any:
        yield b"some"
        raise RuntimeError(SECRET)

    from starlette.responses import StreamingResponse  # noqa: PLC0415

    return StreamingResponse(blocks())


class World:
    def __init__(self) -> None:
        self.relay = FakeRelay()
        self.metrics = Metrics()
        table = providers.table({})
        own = Router(
            [
                Route("/health", works, methods=["GET"]),
                Route("/v1/memory/search", works, methods=["POST"]),
                Route("/v1/memory/{id}", works, methods=["GET", "DELETE"]),
                Route("/v1/models", works, methods=["GET"]),
                Route("/fails", fails),
                Route("/forbids", forbids),
                Route("/limits", limits),
                Route("/leaves", leaves),
                Route("/breaks", breaks),
            ],
            redirect_slashes=False,
        )
        targets = Targets(table, Allowlist(table.known_hosts, ()))
        self.edge = Edge(cast("Relay", self.relay), targets, FORMATS, own, self.metrics)
        self.client = Client(self.edge)

    @property
    def counted(self) -> dict[str, float]:
        return {
            f"{s.labels['surface']} {s.labels['format']} {s.labels['status']}": s.value
            for family in self.metrics.requests.collect()
            for s in family.samples
            if s.name.endswith("_total")
        }


@pytest.fixture
def world() -> World:
    return World()


# --- where a request goes ---

# method, path → format ("" passes through), path that the relay sees
RELAYED: dict[str, tuple[str, str, str]] = {
    "POST /v1/chat/completions": ("openai_chat", "", "/v1/chat/completions"),
    "POST /v1/chat/completions/": ("openai_chat", "", "/v1/chat/completions/"),
    "POST /v1/v1/chat/completions": ("openai_chat", "", "/v1/chat/completions"),
    "POST /v1/v1/v1/messages": ("anthropic_messages", "", "/v1/messages"),
    "POST /v1/v1/messages": ("anthropic_messages", "", "/v1/messages"),
    "POST /chat/completions": ("openai_chat", "", "/v1/chat/completions"),
    "POST /messages": ("anthropic_messages", "", "/v1/messages"),
    "POST /v1/responses": ("openai_responses", "", "/v1/responses"),
    "POST /v1/models/gemini-3.5-flash:generateContent": (
        "gemini_generate",
        "",
        "/v1/models/gemini-3.5-flash:generateContent",
    ),
    "POST /v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse": (
        "gemini_generate",
        "alt=sse",
        "/v1beta/models/gemini-3.5-flash:streamGenerateContent",
    ),
    "POST /v1/v1beta/models/m:generateContent": (
        "gemini_generate",
        "",
        "/v1beta/models/m:generateContent",
    ),
    "POST /v1/messages?beta=true": ("anthropic_messages", "beta=true", "/v1/messages"),
    "POST /v1/messages/count_tokens": ("pass_through", "", "/v1/messages/count_tokens"),
    "POST /v1/responses/compact": ("pass_through", "", "/v1/responses/compact"),
    "POST /v1/embeddings": ("pass_through", "", "/v1/embeddings"),
    "POST /v1/completions": ("pass_through", "", "/v1/completions"),
    "POST /v1/audio/transcriptions": ("pass_through", "", "/v1/audio/transcriptions"),
    "GET /v1/files": ("pass_through", "", "/v1/files"),
    "DELETE /v1/files/file_1": ("pass_through", "", "/v1/files/file_1"),
    "GET /v1/responses/resp_1": ("pass_through", "", "/v1/responses/resp_1"),
    "POST /v1beta/models/m:countTokens": ("pass_through", "", "/v1beta/models/m:countTokens"),
    "GET /v1beta/models": ("pass_through", "", "/v1beta/models"),
}


@pytest.mark.parametrize("asked", RELAYED)
async def test_what_is_a_providers_goes_to_the_relay(world: World, asked: str) -> None:
    method, path = asked.split()
    label, query, seen = RELAYED[asked]
    answer = await world.client.send(method, path)
    assert answer.json == {"relayed": True}
    [(request, endpoint)] = world.relay.asked
    assert (endpoint.label, request.query, request.path) == (label, query, seen)
    assert request.surface == "v1"
    assert world.counted == {f"v1 {label} 200": 1}


OWN = ["GET /health", "POST /v1/memory/search", "DELETE /v1/memory/memory_1", "GET /v1/models"]


@pytest.mark.parametrize("asked", OWN)
async def test_what_is_ours_goes_to_our_endpoints(world: World, asked: str) -> None:
    method, path = asked.split()
    answer = await world.client.send(method, path)
    assert answer.status == 200
    assert answer.json["path"] == path
    assert answer.headers["x-request-id"] == answer.json["id"]
    assert world.relay.asked == []
    assert world.counted == {"v1 own 200": 1}


V3 = {
    "/v3/https://api.openai.com/v1/chat/completions": "openai_chat",
    "/v3/https:/api.anthropic.com/v1/messages": "anthropic_messages",
    "/v3/https://api.openai.com/v1/models": "pass_through",
}


@pytest.mark.parametrize(("path", "label"), V3.items())
async def test_v3_names_the_provider_in_its_path(world: World, path: str, label: str) -> None:
    assert (await world.client.post(path, b"{}")).status == 200
    [(request, endpoint)] = world.relay.asked
    assert (request.surface, endpoint.label) == ("v3", label)
    assert endpoint.url is not None


async def test_on_v3_only_post_is_understood(world: World) -> None:
    await world.client.get("/v3/https://api.openai.com/v1/chat/completions")
    [(_, endpoint)] = world.relay.asked
    assert endpoint.wire is None


async def test_v3_without_a_url_or_with_a_wrong_one_is_refused(world: World) -> None:
    for path, status in (
        ("/v3/", 400),
        ("/v3/nonsense", 400),
        ("/v3/https://evil.example/v1/chat/completions", 403),
        ("/v3/http://169.254.169.254/latest/meta-data", 403),
    ):
        answer = await world.client.post(path, b"{}")
        assert answer.status == status, path
        assert set(answer.json) == {"error", "hint"}
        assert answer.headers["x-request-id"].startswith("req_")
    assert world.relay.asked == []


# --- errors ---

ERRORS: dict[str, tuple[int, str]] = {
    "GET /nope": (404, "no such endpoint"),
    "GET /": (404, "no such endpoint"),
    "GET /v2/chat": (404, "no such endpoint"),
    "POST /v1/memory": (404, "no such endpoint"),
    "GET /v1/keys": (404, "no such endpoint"),
    "GET /v3": (404, "no such endpoint"),
    "POST /health": (405, "POST is not possible here"),
    "PUT /v1/memory/search": (405, "PUT is not possible here"),
    "DELETE /v1/models": (405, "DELETE is not possible here"),
    "GET /forbids": (403, "no"),
    "GET /limits": (429, "slow"),
    "GET /fails": (500, "Something went wrong in memrouter"),
}


@pytest.mark.parametrize("asked", ERRORS)
async def test_errors_are_json_with_a_hint(world: World, asked: str) -> None:
    method, path = asked.split()
    status, said = ERRORS[asked]
    answer = await world.client.send(method, path)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) == {"error", "hint"}
    assert said in answer.json["error"]
    assert answer.json["hint"] or path == "/limits"
    assert answer.headers["x-request-id"].startswith("req_")
    assert world.counted == {f"v1 own {status}": 1}


async def test_a_405_says_what_is_possible(world: World) -> None:
    answer = await world.client.send("PUT", "/v1/memory/memory_1")
    assert "GET" in answer.json["hint"]
    assert "DELETE" in answer.json["hint"]


async def test_a_429_says_when_to_come_back(world: World) -> None:
    assert (await world.client.get("/limits")).headers["retry-after"] == "3"


async def test_a_bug_is_500_without_details_and_in_the_log_with_its_place(
    world: World, logged: io.StringIO
) -> None:
    answer = await world.client.get("/fails")
    id = answer.headers["x-request-id"]
    assert SECRET not in f"{answer.body!r}{answer.headers}"
    assert id in answer.json["hint"]
    failed, done = (json.loads(line) for line in logged.getvalue().splitlines())
    assert failed["event"] == "request failed"
    assert (failed["request"], failed["error"]) == (id, "RuntimeError")
    assert "test_routes.py:" in failed["at"]
    assert (done["event"], done["request"], done["status"]) == ("request", id, 500)
    assert SECRET not in logged.getvalue()


@pytest.mark.parametrize("kind", ["bare", "group"])
async def test_a_bug_in_the_relay_is_500_without_details_too(
    world: World, logged: io.StringIO, kind: str
) -> None:
    async def bug(request: Request, receive: Receive, send: Send) -> int:
        if kind == "group":  # as a TaskGroup hands it on
            raise ExceptionGroup("unhandled", [RuntimeError(SECRET)])
        raise RuntimeError(SECRET)

    world.relay.work = bug
    async with world.client.call("POST", "/v1/chat/completions", b"{}") as call:
        body = b"".join([block async for block in call.blocks()])
    assert call.error is None
    assert call.status == 500
    assert set(json.loads(body)) == {"error", "hint"}
    assert SECRET not in f"{body!r}{logged.getvalue()}"


async def test_an_answer_that_breaks_off_is_cut(world: World) -> None:
    async with world.client.call("GET", "/breaks") as call:
        assert b"".join([block async for block in call.blocks()]) == b"some"
    assert call.broken
    assert isinstance(call.error, RuntimeError)


async def test_a_provider_that_breaks_off_is_cut_and_counted(world: World) -> None:
    async def broken(request: Request, receive: Receive, send: Send) -> int:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise errors.UpstreamError("cut")

    world.relay.work = broken
    async with world.client.call("POST", "/v1/messages", b"{}") as call:
        assert await call.head() == 200
    assert call.error is None
    assert call.broken


async def test_a_client_that_left_is_counted_as_such(world: World) -> None:
    async with world.client.call("GET", "/leaves") as call:
        assert await call.head() == 0
    assert call.error is None
    assert world.counted == {"v1 own 499": 1}


async def test_requests_under_way_are_counted(world: World) -> None:
    async def look(request: Request, receive: Receive, send: Send) -> int:
        seen.append(running())
        return 200

    def running() -> float:
        [sample] = next(iter(world.metrics.running.collect())).samples
        return sample.value

    seen: list[float] = []
    world.relay.work = look
    await world.client.post("/v1/messages", b"{}")
    assert seen == [1]
    assert running() == 0


async def test_the_log_line_of_a_request_holds_no_path(world: World, logged: io.StringIO) -> None:
    await world.client.get(f"/{SECRET}?key={SECRET}", **{"x-a": SECRET})
    [line] = (json.loads(line) for line in logged.getvalue().splitlines())
    assert line["event"] == "request"
    assert (line["method"], line["format"], line["status"]) == ("GET", "own", 404)
    assert SECRET not in logged.getvalue()


async def test_a_method_that_nobody_knows_is_an_error(world: World) -> None:
    answer = await world.client.send("BREW", "/health")
    assert answer.status == 405


async def test_paths_that_are_absurd_are_answered(world: World) -> None:
    for path in ("/" + "a" * 100_000, "/%00", "/..%2f..%2fetc/passwd", "/v1/memory/%ff"):
        answer = await world.client.get(path)
        assert answer.status in (200, 404)
