"""OpenAI Responses, stored responses included: `previous_response_id` brings them back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from memrouter.testing.dialects.chat import halves
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


class Responses:
    """See Dialect. Remembers what it was sent and answered by the id of the response."""

    name: DialectName = "responses"

    def __init__(self) -> None:
        self._stored: dict[str, tuple[Message, ...]] = {}

    def read(self, path: str, query: str, body: dict[str, Any], serial: int) -> Prompt:
        before: tuple[Message, ...] = ()
        previous = body.get("previous_response_id")
        if previous is not None:
            if previous not in self._stored:
                raise ValueError(f"Previous response with id '{previous}' not found.")
            before = self._stored[previous]
        given = body.get("input")
        items = (
            [{"role": "user", "content": given}]
            if isinstance(given, str)
            else messages_of(body, "input")
        )
        turns = before + tuple(_message(item) for item in items)
        system = body.get("instructions")
        instructions = (Message(role="system", text=system),) if isinstance(system, str) else ()
        prompt = Prompt(
            dialect=self.name,
            model=model_of(body),
            serial=serial,
            messages=instructions + turns,
            tools=tools_of(body),
            streams=body.get("stream") is True,
            body=body,
        )
        self._stored[_id(prompt)] = turns
        return prompt

    def whole(self, prompt: Prompt, answer: Answer) -> dict[str, Any]:
        said = (Message(role="assistant", text=answer.text),)
        self._stored[_id(prompt)] = self._stored.get(_id(prompt), ()) + said
        return _response(prompt, answer, _status(answer), _output(prompt, answer))

    def events(self, prompt: Prompt, answer: Answer) -> Iterator[bytes]:
        whole = self.whole(prompt, answer)
        sequence = iter(range(1_000_000_000))

        def named(kind: str, **fields: Any) -> bytes:
            return event({"type": kind, "sequence_number": next(sequence), **fields}, kind)

        started = _response(prompt, answer, "in_progress", [])
        yield named("response.created", response=started)
        yield named("response.in_progress", response=started)
        for index, item in enumerate(whole["output"]):
            for kind, fields in _item_events(item, answer):
                yield named(kind, output_index=index, **fields)
        end = "response.incomplete" if answer.stop == "length" else "response.completed"
        yield named(end, response=whole)

    def error(self, status: int, message: str) -> dict[str, Any]:
        return openai_error(status, message)

    def error_event(self, prompt: Prompt, message: str) -> bytes:
        error = {"type": "error", "code": "server_error", "message": message, "param": None}
        return event({**error, "sequence_number": 99}, "error")

    def content_type(self, prompt: Prompt) -> str:
        return EVENT_STREAM

    def compacted(self, prompt: Prompt) -> dict[str, Any]:
        """The answer of `/responses/compact`: the users' messages and one opaque item."""
        given = prompt.body.get("input")
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
        kept = [
            {
                "type": "message",
                "id": f"msg_{prompt.serial}_{i}",
                "status": "completed",
                "role": "user",
                "content": [{"type": "input_text", "text": text_of(item.get("content"))}],
            }
            for i, item in enumerate(items)
            if item.get("role") == "user"
        ]
        opaque = {
            "type": "compaction",
            "id": f"cmp_{prompt.serial}",
            "encrypted_content": "gAAAAABscripted",
        }
        return {
            "id": _id(prompt),
            "object": "response.compaction",
            "created_at": int(time.time()),
            "output": [*kept, opaque],
            "usage": _usage(prompt, Answer()),
        }


def _message(item: dict[str, Any]) -> Message:
    kind = item.get("type", "message")
    if kind in ("function_call_output", "custom_tool_call_output", "local_shell_call_output"):
        return Message(role="user", text=text_of(item.get("output")), is_tool_result=True)
    if kind == "message":
        return Message(role=str(item.get("role", "")), text=text_of(item.get("content")))
    return Message(role="assistant", text="")


def _id(prompt: Prompt) -> str:
    return f"resp_{prompt.serial}"


def _status(answer: Answer) -> str:
    return "incomplete" if answer.stop == "length" else "completed"


def _response(
    prompt: Prompt, answer: Answer, status: str, output: list[dict[str, Any]]
) -> dict[str, Any]:
    body = prompt.body
    cut = status == "incomplete"
    response = {
        "id": _id(prompt),
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "model": prompt.model,
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": body.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }
    if answer.usage and output:
        response["usage"] = _usage(prompt, answer)
    return response


def _output(prompt: Prompt, answer: Answer) -> list[dict[str, Any]]:
    n = prompt.serial
    items: list[dict[str, Any]] = []
    if answer.thinking:
        items.append(
            {
                "id": f"rs_{n}",
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": answer.thinking}],
                "encrypted_content": "gAAAAABscripted",
            }
        )
    if answer.text or not answer.tool_calls:
        part: dict[str, Any] = (
            {"type": "refusal", "refusal": answer.text}
            if answer.stop == "refusal"
            else {"type": "output_text", "annotations": [], "logprobs": [], "text": answer.text}
        )
        items.append(
            {
                "id": f"msg_{n}",
                "type": "message",
                "status": _status(answer),
                "role": "assistant",
                "content": [part],
            }
        )
    return items + [_call(prompt, i, call) for i, call in enumerate(answer.tool_calls)]


def _call(prompt: Prompt, index: int, call: ToolCall) -> dict[str, Any]:
    same = {
        "status": "completed",
        "call_id": call.id or f"call_{prompt.serial}_{index}",
        "name": call.name,
    }
    if call.custom:
        text = str(call.arguments.get("input", ""))
        return {
            "id": f"ctc_{prompt.serial}_{index}",
            "type": "custom_tool_call",
            **same,
            "input": text,
        }
    arguments = json.dumps(dict(call.arguments))
    return {
        "id": f"fc_{prompt.serial}_{index}",
        "type": "function_call",
        **same,
        "arguments": arguments,
    }


def _item_events(item: dict[str, Any], answer: Answer) -> Iterator[tuple[str, dict[str, Any]]]:
    nothing = {"content": [], "summary": [], "arguments": "", "input": ""}
    begun = item | {field: nothing[field] for field in nothing.keys() & item.keys()}
    if item["type"] != "reasoning":
        begun["status"] = "in_progress"
    yield "response.output_item.added", {"item": begun}
    yield from _inner_events(item, answer)
    yield "response.output_item.done", {"item": item}


def _inner_events(item: dict[str, Any], answer: Answer) -> Iterator[tuple[str, dict[str, Any]]]:
    at = {"item_id": item["id"]}
    match item["type"]:
        case "message":
            part = item["content"][0]
            where = at | {"content_index": 0}
            if part["type"] == "refusal":
                kind, last, opened = "response.refusal", "refusal", part | {"refusal": ""}
                extra: dict[str, Any] = {}
            else:
                kind, last, opened = "response.output_text", "text", part | {"text": ""}
                extra = {"logprobs": []}
            yield "response.content_part.added", where | {"part": opened}
            for word in answer.words:
                yield f"{kind}.delta", where | {"delta": word} | extra
            yield f"{kind}.done", where | {last: part[last]} | extra
            yield "response.content_part.done", where | {"part": part}
        case "reasoning":
            part = item["summary"][0]
            where = at | {"summary_index": 0}
            kind = "response.reasoning_summary"
            yield f"{kind}_part.added", where | {"part": part | {"text": ""}}
            yield f"{kind}_text.delta", where | {"delta": part["text"]}
            yield f"{kind}_text.done", where | {"text": part["text"]}
            yield f"{kind}_part.done", where | {"part": part}
        case "function_call":
            kind = "response.function_call_arguments"
            for half in halves(item["arguments"]):
                yield f"{kind}.delta", at | {"delta": half}
            yield f"{kind}.done", at | {"name": item["name"], "arguments": item["arguments"]}
        case "custom_tool_call":
            kind = "response.custom_tool_call_input"
            for half in halves(item["input"]):
                yield f"{kind}.delta", at | {"delta": half}
            yield f"{kind}.done", at | {"input": item["input"]}


def _usage(prompt: Prompt, answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": prompt.tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": answer.tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt.tokens + answer.tokens,
    }
