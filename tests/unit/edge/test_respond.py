from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from memrouter import errors
from memrouter.edge import respond
from memrouter.edge.asgi import Message, Send
from memrouter.wire.openai_chat import OpenAIChat

CHAT = OpenAIChat()


async def sent(work: Callable[[Send], Awaitable[None]]) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what was sent; checks that it is one whole answer."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    await work(send)
    start, *bodies = messages
    assert start["type"] == "http.response.start"
    assert all(m["type"] == "http.response.body" for m in bodies)
    assert not bodies[-1].get("more_body", False)
    headers = {n.decode(): v.decode() for n, v in start["headers"]}
    assert len(headers) == len(start["headers"])
    return start["status"], headers, b"".join(m.get("body", b"") for m in bodies)


async def test_json_comes_with_type_and_length() -> None:
    status, headers, body = await sent(lambda send: respond.send_json(send, 201, {"a": "é"}))
    assert status == 201
    assert orjson.loads(body) == {"a": "é"}
    assert headers == {"content-type": "application/json", "content-length": str(len(body))}


async def test_a_head_request_gets_the_length_but_no_body() -> None:
    _, headers, body = await sent(lambda send: respond.send_json(send, 200, [1, 2], head=True))
    assert (headers["content-length"], body) == ("5", b"")


async def test_bytes_bring_their_own_type() -> None:
    kind = (b"content-type", b"text/plain")
    status, headers, body = await sent(lambda send: respond.send_bytes(send, 200, b"hi", [kind]))
    assert (status, body) == (200, b"hi")
    assert headers == {"content-type": "text/plain", "content-length": "2"}


ERRORS: dict[str, tuple[errors.MemrouterError, int, dict[str, str]]] = {
    "bad request": (errors.BadRequest("no", "do"), 400, {}),
    "provider key": (errors.ProviderKeyMissing("anthropic"), 400, {}),
    "unauthorized": (
        errors.Unauthorized("Invalid Memory Key"),
        401,
        {"www-authenticate": 'Bearer realm="memrouter"'},
    ),
    "quota": (errors.QuotaExhausted("used up"), 402, {}),
    "forbidden": (errors.Forbidden("no"), 403, {}),
    "not found": (errors.NotFound("no"), 404, {}),
    "too large": (errors.TooLarge("no"), 413, {}),
    "rate": (errors.RateLimited("slow", retry_after_s=1.2), 429, {"retry-after": "2"}),
    "rate, at once": (errors.RateLimited("slow", retry_after_s=0), 429, {"retry-after": "1"}),
    "overloaded": (errors.Overloaded("stopping", retry_after_s=5), 503, {"retry-after": "5"}),
    "unreachable": (errors.UpstreamError("no"), 502, {}),
    "too slow": (errors.UpstreamTimeout("no"), 504, {}),
    "store": (errors.VaultCorrupted("damaged"), 500, {}),
    "the base": (errors.MemrouterError("wrong"), 500, {}),
}


@pytest.mark.parametrize(("error", "status", "named"), ERRORS.values(), ids=ERRORS)
async def test_an_error_is_its_status_headers_and_two_texts(
    error: errors.MemrouterError, status: int, named: dict[str, str]
) -> None:
    got, headers, body = await sent(lambda send: respond.send_error(send, error))
    assert got == status
    assert orjson.loads(body) == {"error": str(error), "hint": error.hint}
    del headers["content-length"]
    assert headers == {"content-type": "application/json", **named}


async def test_on_chat_completions_an_error_has_a_shape_the_sdk_understands() -> None:
    error = errors.ProviderKeyMissing("anthropic")
    status, _, body = await sent(lambda send: respond.send_error(send, error, CHAT))
    assert status == 400
    assert orjson.loads(body) == CHAT.error(400, str(error), error.hint)


async def test_the_outcomes_headers_come_along() -> None:
    more = [(b"x-request-id", b"req_1")]
    error = errors.BadRequest("no")
    _, headers, _ = await sent(lambda send: respond.send_error(send, error, CHAT, more))
    assert headers["x-request-id"] == "req_1"


TEXTS = {"surrogate": "a\ud800b", "NUL": "a\0b", "emoji": "😀", "lines": "a\r\nb", "empty": ""}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("wire", [None, CHAT], ids=["ours", "chat"])
async def test_whatever_an_error_quotes_it_can_be_sent(text: str, wire: Any) -> None:
    error = errors.BadRequest(text, text)
    status, _, body = await sent(lambda send: respond.send_error(send, error, wire))
    assert status == 400
    assert orjson.loads(body) == respond.error_body(error, wire)
    assert text.replace("\ud800", "?") in respond.error_body(error)["hint"]


VALUES = {
    "plain": ("recall took long", b"recall took long"),
    "lines": ("a\r\n b\u2028c", b"a b c"),
    "controls": ("a\x00\x1b\x7f\x9fb", b"ab"),
    "not ASCII": ("Größe", "Größe".encode()),
    "surrogate": ("a\ud800b", b"ab"),
    "long": ("x" * 1000, b"x" * 500),
    "empty": ("", b""),
}


@pytest.mark.parametrize(("text", "value"), VALUES.values(), ids=VALUES)
def test_a_text_as_a_header(text: str, value: bytes) -> None:
    assert respond.header_value(text) == value
