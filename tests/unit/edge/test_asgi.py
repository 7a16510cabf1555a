from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from memrouter.edge import asgi
from memrouter.edge.asgi import ClientGone, Message, Receive
from memrouter.errors import BadRequest, TooLarge


def scope(**changed: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "headers": [],
        **changed,
    }


def receiving(*messages: Message) -> Receive:
    """A client that sends these messages and then stays, silent."""
    waiting = iter(messages)

    async def receive() -> Message:
        for message in waiting:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def body(*blocks: bytes) -> list[Message]:
    last = len(blocks) - 1
    return [
        {"type": "http.request", "body": block, "more_body": i < last}
        for i, block in enumerate(blocks)
    ]


GONE: Message = {"type": "http.disconnect"}


async def read(messages: Iterable[Message], limit: int = 10, **headers: str) -> bytes:
    named = [(n.replace("_", "-").encode(), v.encode("latin-1")) for n, v in headers.items()]
    request = asgi.read_head(scope(headers=named))
    return await asgi.read_body(request, receiving(*messages), limit)


# --- the head ---


def test_the_head_is_read_as_it_came() -> None:
    request = asgi.read_head(
        scope(
            method="PUT",
            path="/v1/a b",
            raw_path=b"/v1/a%20b",
            query_string=b"x=%C3%A9&y=1+2&x=3",
            headers=[(b"x-a", b"1"), (b"x-a", b"2"), (b"x-b", b"\xc3\xa9")],
        )
    )
    assert request.method == "PUT"
    assert request.path == "/v1/a%20b"
    assert request.query == "x=%C3%A9&y=1+2&x=3"
    assert request.parameters == {"x": "é", "y": "1 2"}
    assert list(request.headers) == [("x-a", "1"), ("x-a", "2"), ("x-b", "Ã©")]
    assert request.named == {"x-a": "1", "x-b": "Ã©"}
    assert request.started_s > 0


def test_a_server_that_gives_no_raw_path_will_do() -> None:
    assert asgi.read_head(scope(raw_path=None)).path == "/v1/chat/completions"
    without = scope()
    del without["raw_path"]
    assert asgi.read_head(without).path == "/v1/chat/completions"


def test_a_raw_path_that_holds_the_query_loses_it() -> None:
    assert asgi.read_head(scope(raw_path=b"/v1/x?key=secret")).path == "/v1/x"


def test_every_request_has_an_id_of_its_own() -> None:
    ids = {asgi.read_head(scope()).id for _ in range(100)}
    assert len(ids) == 100
    assert all(id.startswith("req_") and id.isascii() and len(id) > 20 for id in ids)


@pytest.mark.parametrize("query", [b"\xff=\xfe", b"%ff=%00", b"&&=&=x&%", b"a" * 100_000])
def test_absurd_queries_are_read(query: bytes) -> None:
    asgi.read_head(scope(query_string=query))


# --- the body ---

BODIES = {
    "whole": [b"hello"],
    "in blocks": [b"he", b"l", b"lo"],
    "empty blocks between": [b"", b"he", b"", b"llo", b""],
}


@pytest.mark.parametrize("blocks", BODIES.values(), ids=BODIES)
async def test_a_body_is_read_whole(blocks: list[bytes]) -> None:
    assert await read(body(*blocks)) == b"hello"


@pytest.mark.parametrize("blocks", [[b""], [b"", b""]])
async def test_a_body_may_be_empty(blocks: list[bytes]) -> None:
    assert await read(body(*blocks)) == b""


async def test_a_message_without_fields_is_the_end() -> None:
    assert await read([{"type": "http.request"}]) == b""


@pytest.mark.parametrize("size", [0, 9, 10])
async def test_up_to_the_limit_a_body_is_read(size: int) -> None:
    assert await read(body(b"x" * size), content_length=str(size)) == b"x" * size


OVER = {"by one": [b"x" * 11], "in blocks": [b"x" * 6, b"x" * 5], "by far": [b"x" * 1000]}


@pytest.mark.parametrize("blocks", OVER.values(), ids=OVER)
async def test_beyond_the_limit_it_is_refused(blocks: list[bytes]) -> None:
    with pytest.raises(TooLarge, match="larger than 10 bytes") as refused:
        await read(body(*blocks))
    assert "MEMROUTER_MAX_BODY_BYTES" in refused.value.hint


async def test_a_body_that_says_it_is_too_large_is_not_waited_for() -> None:
    with pytest.raises(TooLarge):
        await asyncio.wait_for(read([], content_length="11"), 5)


async def test_an_endless_body_is_read_no_further_than_the_limit() -> None:
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"xxx", "more_body": True}

    with pytest.raises(TooLarge):
        await asgi.read_body(asgi.read_head(scope()), receive, 10)
    assert taken == 4


@pytest.mark.parametrize("length", ["", "abc", "-1", "1.5", "1e3", "0x10", "1,1", "9" * 4000])
async def test_an_absurd_length_is_a_clear_error(length: str) -> None:
    with pytest.raises((BadRequest, TooLarge)):
        await read(body(b"x"), content_length=length)


@pytest.mark.parametrize("length", ["²", "9" * 5000], ids=["superscript", "5000 digits"])
async def test_a_length_that_int_cannot_read_is_a_clear_error(length: str) -> None:
    with pytest.raises((BadRequest, TooLarge)):
        await read(body(b"x"), content_length=length)


@pytest.mark.parametrize("before", [[], body(b"he", b"l")[:1]], ids=["at once", "half way"])
async def test_a_client_that_leaves_is_noticed(before: list[Message]) -> None:
    with pytest.raises(ClientGone):
        await read([*before, GONE])


async def test_gone_waits_for_the_client_to_leave() -> None:
    with pytest.raises(ClientGone):
        await asgi.gone(receiving(*body(b"late"), GONE))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asgi.gone(receiving()), 0.01)
