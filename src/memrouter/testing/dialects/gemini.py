"""Gemini generateContent; it streams a JSON array unless asked for `alt=sse`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote

from memrouter.testing.dialects.parts import dumps, event, messages_of, text_of, tools_of
from memrouter.testing.script import Answer, DialectName, Message, Prompt

METHOD = re.compile(r"/(?:models|tunedModels)/(?P<model>[^/]+):(?P<method>[A-Za-z]+)$")

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


class Gemini:
    """See Dialect."""

    name: DialectName = "gemini"

    def read(self, path: str, query: str, body: dict[str, Any], serial: int) -> Prompt:
        found = METHOD.search(path)
        if found is None:
            raise ValueError("no model in the path")
        given = messages_of(body, "contents")
        system = body.get("systemInstruction") or body.get("system_instruction") or {}
        text = text_of(system.get("parts"))
        head = (Message(role="system", text=text),) if text else ()
        options = parse_qs(query)
        return Prompt(
            dialect=self.name,
            model=unquote(found["model"]),
            serial=serial,
            messages=head + tuple(m for g in given for m in _read(g)),
            tools=tools_of(body),
            streams=found["method"] == "streamGenerateContent",
            body={**body, "_alt": options.get("alt", [""])[-1]},
        )

    def whole(self, prompt: Prompt, answer: Answer) -> dict[str, Any]:
        if answer.stop == "refusal" and not answer.text:
            return _answer(prompt, answer, None)
        return _answer(prompt, answer, _parts(prompt, answer, [answer.text]), _finish(answer))

    def events(self, prompt: Prompt, answer: Answer) -> Iterator[bytes]:
        bodies = _streamed(prompt, answer)
        if prompt.body["_alt"] == "sse":
            for body in bodies:
                yield event(body, newline="\r\n")
            return
        for i, body in enumerate(bodies):
            yield (b",\r\n" if i else b"[") + dumps(body)
        yield b"]"

    def error(self, status: int, message: str) -> dict[str, Any]:
        name = _STATUSES.get(status, "INTERNAL")
        return {"error": {"code": status, "message": message, "status": name}}

    def error_event(self, prompt: Prompt, message: str) -> bytes:
        error = self.error(503, message)
        if prompt.body["_alt"] == "sse":
            return event(error, newline="\r\n")
        return b",\r\n" + dumps(error) + b"]"

    def content_type(self, prompt: Prompt) -> str:
        sse = prompt.body["_alt"] == "sse"
        return "text/event-stream" if sse else "application/json; charset=UTF-8"


def _read(given: dict[str, Any]) -> Iterator[Message]:
    role = {"model": "assistant"}.get(given.get("role") or "user", given.get("role") or "user")
    parts = given.get("parts")
    if not isinstance(parts, list) or not all(isinstance(p, dict) for p in parts):
        raise ValueError("contents.parts must be an array of objects")
    results = [p for p in parts if "functionResponse" in p or "function_response" in p]
    for result in results:
        response = result.get("functionResponse") or result.get("function_response")
        yield Message(role=role, text=dumps(response).decode(), is_tool_result=True)
    rest = [p for p in parts if p not in results]
    if rest or not results:
        yield Message(role=role, text=text_of(rest))


def _streamed(prompt: Prompt, answer: Answer) -> Iterator[dict[str, Any]]:
    words = answer.words
    if answer.stop == "refusal" and not words:
        yield _answer(prompt, answer, None)
        return
    if answer.thinking:
        yield _answer(prompt, answer, [{"text": answer.thinking, "thought": True}])
    for word in words:
        yield _answer(prompt, answer, [{"text": word}])
    calls = _parts(prompt, Answer(tool_calls=answer.tool_calls), [])
    yield _answer(prompt, answer, calls or [{"text": ""}], _finish(answer))


def _answer(
    prompt: Prompt, answer: Answer, parts: list[dict[str, Any]] | None, finish: str | None = None
) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if parts is None:
        body["promptFeedback"] = {"blockReason": "SAFETY", "safetyRatings": []}
    else:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        body["candidates"] = [candidate]
    if answer.usage:
        body["usageMetadata"] = {
            "promptTokenCount": prompt.tokens,
            "candidatesTokenCount": answer.tokens,
            "totalTokenCount": prompt.tokens + answer.tokens,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt.tokens}],
        }
    return body | {"modelVersion": prompt.model, "responseId": f"gemini-{prompt.serial}"}


def _parts(prompt: Prompt, answer: Answer, texts: list[str]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if answer.thinking:
        parts.append({"text": answer.thinking, "thought": True})
    parts += [{"text": text} for text in texts if text]
    for i, call in enumerate(answer.tool_calls):
        part: dict[str, Any] = {"functionCall": {"name": call.name, "args": dict(call.arguments)}}
        if call.id:
            part["functionCall"]["id"] = call.id
        if i == 0:
            part["thoughtSignature"] = "c2lnbmF0dXJl"
        parts.append(part)
    return parts


def _finish(answer: Answer) -> str:
    return {"stop": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}[answer.stop]
