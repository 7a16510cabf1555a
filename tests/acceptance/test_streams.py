"""Streams arrive piece by piece, end well when the server stops, and stop when clients leave."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable

import httpx2
import pytest

from memrouter.testing.script import Answer

from .conftest import ServedProvider
from .stack import CLEAN_ENDS, Router, until

BODY = {
    "model": "openai/gpt-5.5",
    "messages": [{"role": "user", "content": "Tell me a story about the marmot."}],
    "stream": True,
}
STORY = "Once upon a time there was a marmot named Hubert."


def test_the_first_words_come_before_the_last_are_sent(
    router: Router, provider: ServedProvider, key: str
) -> None:
    provider.queue(Answer(text=STORY, hold_after=3))
    with router.openai(key) as client:
        stream = client.chat.completions.create(**BODY)  # type: ignore[call-overload]
        words = [c.choices[0].delta.content for c in itertools.islice(stream, 3)]
        assert words == ["", "Once ", "upon "]
        assert not provider.requests[-1].finished
        provider.release()
        rest = "".join(c.choices[0].delta.content or "" for c in stream)
    assert "".join(words) + rest == STORY


def test_the_stream_is_the_providers_byte_for_byte(
    router: Router, provider: ServedProvider, key: str
) -> None:
    stream = (
        b": comment\n\n"
        b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
        b'[{"index":0,"delta":{"role":"assistant","content":"caf\xc3',
        b'\xa9 \xe2\x80\xa8 \\ud83d\\ude00"}}],"x":12345678901234567890123}\r\n\r\n',
        b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
        b'[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DO',
        b"NE]\n\n",
    )
    provider.queue(Answer(blocks=stream, headers={"x-ratelimit-remaining": "7"}))
    with router.http(key) as http:
        answer = http.post("/v1/chat/completions", json=BODY)
    assert answer.content == b"".join(stream)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-ratelimit-remaining"] == "7"
    assert any("café" in text for text in router.texts(key, "café"))


def test_a_compressed_stream_passes_and_is_stored(
    router: Router, provider: ServedProvider, key: str
) -> None:
    provider.queue(Answer(text="The wombat is asleep.", gzip=True))
    provider.queue(Answer(text="The wombat is awake.", gzip=True))
    assert router.ask(key, "How is the wombat?", stream=True) == "The wombat is asleep."
    assert router.ask(key, "And now, the wombat?") == "The wombat is awake."
    stored = router.texts(key, "wombat")
    assert "The wombat is asleep." in stored
    assert "The wombat is awake." in stored


def test_headers_of_ours_on_whole_and_streamed_answers(
    router: Router, provider: ServedProvider, key: str
) -> None:
    router.ask(key, "My dog is called Rex.")
    messages = [{"role": "user", "content": "What is my dog called?"}]
    for stream in (False, True):
        body = {"model": "gpt-5.5", "messages": messages, "stream": stream}
        with router.http(key) as http:
            answer = http.post("/v1/chat/completions", json=body, headers={"X-Session-ID": "s1"})
        assert answer.status_code == 200
        assert int(answer.headers["x-memory-tokens-retrieved"]) > 0
        assert int(answer.headers["x-memory-tokens-injected"]) > 0
        assert float(answer.headers["x-mr-processing-ms"]) >= 0
        assert answer.headers["x-session-id"] == "s1"
        assert answer.headers["x-request-id"]
        assert "x-memory-error" not in answer.headers
        assert float(answer.headers["x-provider-response-ms"]) >= 0
        assert stream or float(answer.headers["x-total-ms"]) >= 0


def test_a_client_that_leaves_cancels_the_request_upstream(
    router: Router, provider: ServedProvider, key: str
) -> None:
    provider.queue(Answer(text=STORY, hold_after=3))
    with router.http(key) as http, http.stream("POST", "/v1/chat/completions", json=BODY) as answer:
        next(answer.iter_raw())
    until(lambda: provider.requests[-1].disconnected, what="the provider sees the client leave")
    assert not [text for text in router.texts(key, "marmot") if text.startswith("Once")]


def test_a_client_that_leaves_before_the_headers_cancels_too(
    router: Router, provider: ServedProvider, key: str
) -> None:
    provider.queue(Answer(text=STORY, delay_s=30))
    with router.http(key) as http, pytest.raises(httpx2.ReadTimeout):
        http.post("/v1/chat/completions", json=BODY, timeout=0.5)
    until(lambda: provider.requests[-1].disconnected, what="the provider sees the client leave")


def test_sigterm_lets_a_running_stream_finish_and_stores_it(
    new_router: Callable[..., Router], provider: ServedProvider
) -> None:
    router = new_router()
    key = router.mint()
    provider.queue(Answer(text=STORY, hold_after=3))
    with router.openai(key) as client:
        stream = client.chat.completions.create(**BODY)  # type: ignore[call-overload]
        words = [c.choices[0].delta.content or "" for c in itertools.islice(stream, 3)]
        assert router.process
        router.process.send_signal(signal.SIGTERM)
        until(lambda: not _accepts(router), what="no new connections after SIGTERM")
        provider.release()
        words += [c.choices[0].delta.content or "" for c in stream]
    assert "".join(words) == STORY
    assert router.process.wait(20) in CLEAN_ENDS
    router.start()
    assert "Hubert" in router.ask(key, "What was the marmot's name?")


def test_sigterm_without_anything_running_ends_at_once(new_router: Callable[..., Router]) -> None:
    router = new_router()
    key = router.mint()
    with router.http(key) as idle:  # an open, idle connection holds nothing up
        idle.get("/health")
        router.stop(seconds=5)


def _accepts(router: Router) -> bool:
    try:
        with router.http() as http:
            return http.get("/health").status_code == 200
    except httpx2.TransportError:
        return False
