"""OpenAI chat completions, which most providers speak."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from memrouter.testing.dialects.parts import (
    EVENT_STREAM,
    event,
    messages_of,
    model_of,
    openai_error,
    text_of,
    tools_of,
)
from memrouter.testing.script import Answer, DialectName, Message, Prompt, ToolCall

DONE = b"data: [DONE]\n\n"


class Chat:
    """See Dialect."""

    name: DialectName = "chat"

    def read(self, path: str, query: str, body: dict[str, Any], serial: int) -> Prompt:
        messages = tuple(
            Message(
                role=str(m.get("role", "")),
                text=text_of(m.get("content")),
                is_tool_result=m.get("role") in ("tool", "function"),
            )
            for m in messages_of(body, "messages")
        )
        return Prompt(
            dialect=self.name,
            model=model_of(body),
            serial=serial,
            messages=messages,
            tools=tools_of(body),
            streams=body.get("stream") is True,
            body=body,
        )

    def whole(self, prompt: Prompt, answer: Answer) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": answer.text or None,
            "refusal": None,
            "annotations": [],
        }
        if answer.stop == "refusal":
            message |= {"content": None, "refusal": answer.text}
        if answer.thinking:
            message["reasoning_content"] = answer.thinking
        if answer.tool_calls:
            message["tool_calls"] = [_call(prompt, i, c) for i, c in enumerate(answer.tool_calls)]
        body = _head(prompt, "chat.completion") | {
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
            ],
        }
        if answer.usage:
            body["usage"] = _usage(prompt, answer)
        return body

    def events(self, prompt: Prompt, answer: Answer) -> Iterator[bytes]:
        options = prompt.body.get("stream_options") or {}
        counts = answer.usage and options.get("include_usage") is True

        def chunk(delta: dict[str, Any] | None, finish: str | None = None) -> bytes:
            choices = (
                []
                if delta is None
                else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
            )
            body = _head(prompt, "chat.completion.chunk") | {"choices": choices}
            if counts:
                body["usage"] = None
            return event(body)

        yield chunk({"role": "assistant", "content": "", "refusal": None})
        if answer.thinking:
            yield chunk({"reasoning_content": answer.thinking})
        field = "refusal" if answer.stop == "refusal" else "content"
        for word in answer.words:
            yield chunk({field: word})
        for i, call in enumerate(answer.tool_calls):
            whole = _call(prompt, i, call)
            arguments = whole["function"]["arguments"]
            start = whole | {"index": i, "function": whole["function"] | {"arguments": ""}}
            yield chunk({"tool_calls": [start]})
            for part in halves(arguments):
                yield chunk({"tool_calls": [{"index": i, "function": {"arguments": part}}]})
        yield chunk({}, _finish(answer))
        if counts:
            last = _head(prompt, "chat.completion.chunk") | {"choices": []}
            yield event(last | {"usage": _usage(prompt, answer)})
        yield DONE

    def error(self, status: int, message: str) -> dict[str, Any]:
        return openai_error(status, message)

    def error_event(self, prompt: Prompt, message: str) -> bytes:
        return event(openai_error(500, message))

    def content_type(self, prompt: Prompt) -> str:
        return EVENT_STREAM


def halves(text: str) -> Iterator[str]:
    """A text in two parts, so that readers must put them together."""
    yield text[: len(text) // 2]
    yield text[len(text) // 2 :]


def _head(prompt: Prompt, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{prompt.serial}",
        "object": kind,
        "created": int(time.time()),
        "model": prompt.model,
        "service_tier": "default",
        "system_fingerprint": "fp_scripted",
    }


def _call(prompt: Prompt, index: int, call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id or f"call_{prompt.serial}_{index}",
        "type": "function",
        "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
    }


def _finish(answer: Answer) -> str:
    if answer.tool_calls:
        return "tool_calls"
    return "length" if answer.stop == "length" else "stop"


def _usage(prompt: Prompt, answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt.tokens,
        "completion_tokens": answer.tokens,
        "total_tokens": prompt.tokens + answer.tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
