"""A provider that plays all of them on one port, for tests and the demo.

`ScriptedProvider` is a plain ASGI app that speaks OpenAI chat completions, OpenAI Responses,
Anthropic messages and Gemini, streamed and not. It answers only from the prompt it gets (see
`from_facts`), unless it is scripted: by a callable, by queued `Answer`s, or from another process
by `POST /_script`. It records what it was sent: `requests`, or `GET /_requests`.

`python -m memrouter.testing.provider --port 9000` runs it on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from memrouter.testing.dialects import Dialect
from memrouter.testing.dialects.chat import Chat
from memrouter.testing.dialects.gemini import METHOD, Gemini
from memrouter.testing.dialects.messages import Messages
from memrouter.testing.dialects.parts import dumps, openai_error
from memrouter.testing.dialects.responses import Responses
from memrouter.testing.endpoints import serve
from memrouter.testing.exchange import (
    Receive,
    Recorded,
    Scope,
    Send,
    Sender,
    read_body,
    watch_client,
)
from memrouter.testing.script import Answer, Prompt, ToolCall, from_facts

Script = Callable[[Prompt], Answer | None]
"""Decides on a request; None leaves it to the queue and the facts."""


class ScriptedProvider:
    """The ASGI app. Its methods may be called from any thread.

    script   asked first about each request for a model's answer
    keys     credentials to accept; None accepts any, and none
    """

    def __init__(self, script: Script | None = None, *, keys: frozenset[str] | None = None) -> None:
        self.script = script
        self.keys = keys
        self.requests: list[Recorded] = []
        self._queue: list[Answer] = []
        self._serial = 0
        self._held: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()
        self._chat, self._responses = Chat(), Responses()
        self._messages, self._gemini = Messages(), Gemini()

    # --- for scripts and assertions ---

    def queue(self, *answers: Answer) -> None:
        """Answer the next requests with these, each once."""
        with self._lock:
            self._queue.extend(answers)

    def release(self) -> None:
        """Let every answer go on that is held by `hold_after`."""
        with self._lock:
            held, self._held = self._held, []
        for loop, event in held:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                loop.call_soon_threadsafe(event.set)

    def clear(self) -> None:
        """Forget requests and queued answers."""
        with self._lock:
            self.requests.clear()
            self._queue.clear()

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts of the requests so far, oldest first."""
        return [r.prompt for r in self.requests if r.prompt is not None]

    # --- the app ---

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        body = await read_body(receive)
        if body is None:
            return
        path: str = scope["path"]
        if path.startswith("/_"):
            await self._control(scope["method"], path, body, send)
            return
        record = self._record(scope, body)
        gone = asyncio.Event()
        watch = asyncio.create_task(watch_client(receive, record, gone))
        try:
            await self._serve(record, Sender(send, record, gone))
        finally:
            watch.cancel()

    def _record(self, scope: Scope, body: bytes) -> Recorded:
        with self._lock:
            self._serial += 1
            record = Recorded(
                serial=self._serial,
                method=scope["method"],
                path=scope["path"],
                query=scope["query_string"].decode("latin-1"),
                headers=tuple(
                    (n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"]
                ),
                body=body,
                received=time.time(),
            )
            self.requests.append(record)
        return record

    async def _serve(self, record: Recorded, sender: Sender) -> None:
        dialect = self._dialect(record)
        if not self._admits(record):
            error = (dialect or self._chat).error(401, "Incorrect API key provided.")
            await sender.whole(401, dumps(error), "application/json")
            return
        if dialect is None:
            await self._serve_plain(record, sender)
            return
        try:
            body = json.loads(record.body)
            prompt = dialect.read(record.path, record.query, body, record.serial)
        except (ValueError, TypeError, AttributeError, RecursionError) as e:
            await sender.whole(400, dumps(dialect.error(400, str(e))), "application/json")
            return
        record.prompt = prompt
        if counted := self._counted(record, prompt):
            await sender.whole(200, dumps(counted), "application/json")
            return
        await self._answer(record, prompt, dialect, sender)

    async def _serve_plain(self, record: Recorded, sender: Sender) -> None:
        answer = self._queued(record)
        if answer is not None and (answer.body is not None or answer.status >= 400):
            await asyncio.sleep(answer.delay_s)
            await self._send_body(
                answer, dumps(openai_error(answer.status, answer.message)), sender
            )
            return
        plain = None
        with contextlib.suppress(ValueError, KeyError, TypeError):
            plain = serve(record.method, record.path, dict(record.headers), record.body)
        if plain is None:
            error = openai_error(404, f"Invalid URL ({record.method} {record.path})")
            await sender.whole(404, dumps(error), "application/json")
            return
        await sender.whole(plain.status, plain.body, plain.content_type)

    def _dialect(self, record: Recorded) -> Dialect | None:
        if record.method != "POST":
            return None
        path = record.path
        if path.endswith("/chat/completions"):
            return self._chat
        if path.endswith(("/responses", "/responses/compact")):
            return self._responses
        if path.endswith(("/messages", "/messages/count_tokens")):
            return self._messages
        found = METHOD.search(path)
        if found and found["method"] in ("generateContent", "streamGenerateContent", "countTokens"):
            return self._gemini
        return None

    def _admits(self, record: Recorded) -> bool:
        if self.keys is None:
            return True
        bearer = (record.header("authorization") or "").removeprefix("Bearer ")
        given = {bearer, record.header("x-api-key"), record.header("x-goog-api-key")}
        return bool(self.keys & (given | set(parse_qs(record.query).get("key", []))))

    def _counted(self, record: Recorded, prompt: Prompt) -> dict[str, Any] | None:
        if record.path.endswith("/count_tokens"):
            return {"input_tokens": prompt.tokens}
        if record.path.endswith(":countTokens"):
            return {"totalTokens": prompt.tokens}
        if record.path.endswith("/responses/compact"):
            return self._responses.compacted(prompt)
        return None

    def _queued(self, record: Recorded) -> Answer | None:
        with self._lock:
            for i, answer in enumerate(self._queue):
                wanted = answer.when
                if wanted in record.path or wanted.encode() in record.body:
                    return self._queue.pop(i)
        return None

    async def _answer(
        self, record: Recorded, prompt: Prompt, dialect: Dialect, sender: Sender
    ) -> None:
        answer = (self.script and self.script(prompt)) or self._queued(record) or from_facts(prompt)
        await sender.pause(answer.delay_s)
        if answer.blocks is None and (answer.body is not None or answer.status >= 400):
            error = dialect.error(answer.status, answer.message)
            await self._send_body(answer, dumps(error), sender)
        elif answer.blocks is not None or prompt.streams:
            given = answer.blocks
            blocks = dialect.events(prompt, answer) if given is None else iter(given)
            kind = answer.content_type or dialect.content_type(prompt)
            await self._send_stream(answer, prompt, dialect, blocks, kind, sender)
        else:
            await self._send_body(answer, dumps(dialect.whole(prompt, answer)), sender)

    async def _send_body(self, answer: Answer, otherwise: bytes, sender: Sender) -> None:
        body, kind = otherwise, "application/json"
        match answer.body:
            case bytes():
                body = answer.body
            case str():
                body, kind = answer.body.encode(), "text/html; charset=utf-8"
            case dict() | list():
                body = dumps(answer.body)
        await sender.whole(answer.status, body, answer.content_type or kind, answer)

    async def _send_stream(
        self,
        answer: Answer,
        prompt: Prompt,
        dialect: Dialect,
        blocks: Iterator[bytes],
        kind: str,
        sender: Sender,
    ) -> None:
        await sender.start(answer.status, kind, answer)
        for n, block in enumerate(blocks):
            if n == answer.error_after:
                await sender.block(dialect.error_event(prompt, answer.message))
                break
            if n == answer.cut_after:
                return  # the server closes the connection of an app that leaves early
            if n == answer.hold_after:
                await self._hold(sender)
            elif n:
                await sender.pause(answer.pause_s)
            if not await sender.block(block):
                return
        await sender.end()

    async def _hold(self, sender: Sender) -> None:
        event = asyncio.Event()
        with self._lock:
            self._held.append((asyncio.get_running_loop(), event))
        await sender.until(event)

    async def _control(self, method: str, path: str, body: bytes, send: Send) -> None:
        answer: Any = {"ok": True}
        status = 200
        match method, path:
            case "POST", "/_script":
                given = json.loads(body)
                answers = given if isinstance(given, list) else [given]
                try:
                    self.queue(*(answer_from_json(a) for a in answers))
                except TypeError as e:
                    answer, status = {"error": str(e)}, 400
            case "GET", "/_requests":
                answer = [r.summary() for r in list(self.requests)]
            case "DELETE", "/_requests":
                self.clear()
            case "POST", "/_release":
                self.release()
            case "GET", "/_health":
                pass
            case _:
                answer, status = {"error": f"no {method} {path}"}, 404
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def answer_from_json(given: dict[str, Any]) -> Answer:
    """An `Answer` from its fields; `body_base64` and `blocks_base64` hold bytes."""
    fields = dict(given)
    if "body_base64" in fields:
        fields["body"] = base64.b64decode(fields.pop("body_base64"))
    if "blocks_base64" in fields:
        fields["blocks"] = tuple(base64.b64decode(b) for b in fields.pop("blocks_base64"))
    fields["tool_calls"] = tuple(ToolCall(**call) for call in fields.get("tool_calls", ()))
    return Answer(**fields)


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """The reverse, for tests that script a provider in another process."""
    fields = asdict(answer)
    if isinstance(answer.body, bytes):
        fields["body_base64"] = base64.b64encode(fields.pop("body")).decode()
    if fields.pop("blocks") is not None:
        fields["blocks_base64"] = [base64.b64encode(b).decode() for b in answer.blocks or ()]
    return fields


@contextlib.contextmanager
def serving(provider: ScriptedProvider, *, port: int = 0) -> Iterator[int]:
    """Serve on loopback from a thread of this process; the value is the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        config = uvicorn.Config(
            provider,
            log_level="critical",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=75,  # as long as real providers keep idle connections
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.005)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            provider.release()
            thread.join(timeout=10)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m memrouter.testing.provider",
        description="A scripted LLM provider on 127.0.0.1. POST /_script, GET /_requests.",
    )
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--key", action="append", help="accept only this credential (repeatable)")
    args = parser.parse_args()
    provider = ScriptedProvider(keys=frozenset(args.key) if args.key else None)
    with serving(provider, port=args.port) as port:
        print(f"scripted provider on http://127.0.0.1:{port}", flush=True)  # noqa: T201
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
