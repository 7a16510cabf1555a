"""Anthropic messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from memrouter.testing.dialects.chat import halves
from memrouter.testing.dialects.parts import (
    EVENT_STREAM,
    event,
    messages_of,
    model_of,
    text_of,
    tools_of,
)
from memrouter.testing.script import Answer, DialectName, Message, Prompt

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Messages:
    """See Dialect."""

    name: DialectName = "messages"

    def read(self, path: str, query: str, body: dict[str, Any], serial: int) -> Prompt:
        if "max_tokens" not in body and not path.endswith("/count_tokens"):
            raise ValueError("max_tokens: Field required")
        given = messages_of(body, "messages")
        system = text_of(body.get("system"))
        head = (Message(role="system", text=system),) if system else ()
        return Prompt(
            dialect=self.name,
            model=model_of(body),
            serial=serial,
            messages=head + tuple(m for g in given for m in _read(g)),
            tools=tools_of(body),
            streams=body.get("stream") is True,
            body=body,
        )

    def whole(self, prompt: Prompt, answer: Answer) -> dict[str, Any]:
        return _head(prompt, answer) | {
            "content": list(_content(prompt, answer)),
            "stop_reason": _stop(answer),
            "usage": _usage(prompt, answer),
        }

    def events(self, prompt: Prompt, answer: Answer) -> Iterator[bytes]:
        def named(kind: str, **fields: Any) -> bytes:
            return event({"type": kind, **fields}, kind)

        yield named("message_start", message=_head(prompt, answer))
        for index, block in enumerate(_content(prompt, answer)):
            start, deltas = _pieces(block, answer)
            yield named("content_block_start", index=index, content_block=start)
            if index == 0:
                yield named("ping")
            for delta in deltas:
                yield named("content_block_delta", index=index, delta=delta)
            yield named("content_block_stop", index=index)
        usage = (
            {"usage": _usage(prompt, answer)} if answer.usage else {"usage": {"output_tokens": 0}}
        )
        delta = {"stop_reason": _stop(answer), "stop_sequence": None}
        yield named("message_delta", delta=delta, **usage)
        yield named("message_stop")

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = _ERRORS.get(status, "api_error")
        return {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": "req_scripted",
        }

    def error_event(self, prompt: Prompt, message: str) -> bytes:
        error = {"type": "error", "error": {"type": "overloaded_error", "message": message}}
        return event(error, "error")

    def content_type(self, prompt: Prompt) -> str:
        return EVENT_STREAM


def _read(given: dict[str, Any]) -> Iterator[Message]:
    """Tool results stand in user messages beside the user's words: they are told apart."""
    role = str(given.get("role", ""))
    content = given.get("content")
    if not isinstance(content, list):
        yield Message(role=role, text=text_of(content))
        return
    results = [p for p in content if isinstance(p, dict) and p.get("type") == "tool_result"]
    for result in results:
        yield Message(role=role, text=text_of(result.get("content")), is_tool_result=True)
    rest = [p for p in content if p not in results]
    if rest or not results:
        yield Message(role=role, text=text_of(rest))


def _head(prompt: Prompt, answer: Answer) -> dict[str, Any]:
    return {
        "id": f"msg_{prompt.serial}",
        "type": "message",
        "role": "assistant",
        "model": prompt.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(prompt, answer) | {"output_tokens": 1 if answer.usage else 0},
    }


def _content(prompt: Prompt, answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.thinking:
        yield {"type": "thinking", "thinking": answer.thinking, "signature": "c2lnbmF0dXJl"}
    if answer.text:
        yield {"type": "text", "text": answer.text}
    for i, call in enumerate(answer.tool_calls):
        yield {
            "type": "tool_use",
            "id": call.id or f"toolu_{prompt.serial}_{i}",
            "name": call.name,
            "input": dict(call.arguments),
        }


def _pieces(block: dict[str, Any], answer: Answer) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "thinking":
            return block | {"thinking": "", "signature": ""}, [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        case "tool_use":
            parts = ("", *halves(json.dumps(block["input"])))
            return block | {"input": {}}, [
                {"type": "input_json_delta", "partial_json": part} for part in parts
            ]
        case _:
            return block | {"text": ""}, [{"type": "text_delta", "text": w} for w in answer.words]


def _stop(answer: Answer) -> str:
    if answer.tool_calls:
        return "tool_use"
    return {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal"}[answer.stop]


def _usage(prompt: Prompt, answer: Answer) -> dict[str, Any]:
    if not answer.usage:
        return {"input_tokens": 0, "output_tokens": 0}
    return {
        "input_tokens": prompt.tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": answer.tokens,
        "service_tier": "standard",
    }
