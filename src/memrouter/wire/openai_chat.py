"""OpenAI chat completions, and every provider that speaks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from memrouter.domain import Json, Role, Turn, Usage
from memrouter.wire import chores, messages, raw
from memrouter.wire.format import RawBody, ReplyReader
from memrouter.wire.reading import (
    count_in,
    list_in,
    object_in,
    objects_in,
    require_objects,
    text_in,
    thread_in,
)
from memrouter.wire.replies import Draft, StreamReader, WholeReader
from memrouter.wire.turns import Found, Medium, reader
from memrouter.wire.written import user_text

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_SYSTEM = ("system", "developer")
_MEDIA = {
    "image_url": Medium.IMAGE,
    "input_audio": Medium.AUDIO,
    "video_url": Medium.VIDEO,
    "file": Medium.FILE,
    "document_url": Medium.FILE,  # Mistral
}


class OpenAIChat:
    """`POST /v1/chat/completions`. See WireFormat for what each function promises."""

    name = "openai_chat"
    messages_field = "messages"

    def check(self, body: Json) -> None:
        hint = 'Send "messages": [{"role": "user", "content": "…"}]'
        require_objects(body, "messages", hint)

    def model(self, body: Json, path: str) -> str | None:
        return text_in(body, "model") or None

    def with_model(self, body: RawBody, path: str, model: str) -> tuple[RawBody, str]:
        return {**body, "model": raw.encode(model)}, path

    def streams(self, body: Json, path: str) -> bool:
        return body.get("stream") is True

    def stateful(self, body: Json) -> bool:
        return False

    def conversation(self, body: Json) -> str | None:
        return thread_in(body)

    def chore(self, body: Json) -> bool:
        told: list[str] = []
        last: Any = None
        for message in objects_in(body, "messages"):
            role = message.get("role")
            if role == "user":
                last = message
            elif role in _SYSTEM:
                told += _texts(message)[:1]
        return chores.is_chore(told, next(reversed(_texts(last)), ""))

    def system_text(self, body: Json) -> str:
        return ""

    def turns(self, body: Json) -> tuple[Turn, ...]:
        return _turns(list_in(body, "messages"))

    def strip(self, body: RawBody, fields: frozenset[str]) -> RawBody:
        return messages.strip(body, "messages", fields)

    def inject(self, body: RawBody, blocks: Mapping[int, str], model: str | None) -> RawBody:
        return messages.inject(body, "messages", blocks, _put_in_front)

    def keep(self, body: RawBody, indexes: Sequence[int]) -> RawBody:
        return messages.keep(body, "messages", indexes)

    def lead(self, body: RawBody, turns: Sequence[Turn]) -> RawBody:
        new = [raw.encode({"role": t.role, "content": t.text}) for t in turns]
        return messages.lead(body, "messages", _is_system, new)

    def reader(self, *, streamed: bool) -> ReplyReader:
        if streamed:
            return StreamReader(_read_event, _read_usual)
        return WholeReader(_read_body, _read_usual_body)

    def error(self, status: int, message: str, hint: str) -> Json:
        return {"error": message, "hint": hint}


def _is_system(message: Json) -> bool:
    return _ROLES.get(text_in(message, "role")) == "system"


def _texts(message: Any) -> list[str]:
    if content := text_in(message, "content"):
        return [content]
    return [t for part in objects_in(message, "content") if (t := _text_of(part))]


def _text_of(part: Json) -> str:
    return text_in(part, "text") if part.get("type") == "text" else ""


def _found(message: Any) -> Found:
    name = text_in(message, "role")
    found = Found(_ROLES.get(name, "tool"), message)
    if not isinstance(message, dict):
        return found
    content = message.get("content")
    if isinstance(content, str):
        found.pieces.append(content)
    elif isinstance(content, list):
        _find_parts(found, objects_in(message, "content"))
    if found.role == "assistant":
        _find_calls(found, message)
    elif found.role == "tool":
        found.answer(text_in(message, "tool_call_id"))
        if name == "function":
            found.answer(f"function {text_in(message, 'name')}")
    return found


_TELLING = ("memory", "tool_calls", "function_call", "reasoning_content", "reasoning")
_turns = reader(_found, _ROLES, _TELLING)


def _find_calls(found: Found, message: Json) -> None:
    if thinking := text_in(message, "reasoning_content") or text_in(message, "reasoning"):
        found.extra.append(thinking)
    for call in objects_in(message, "tool_calls"):
        _find_call(found, text_in(call, "id"), object_in(call, "function"))
    if legacy := object_in(message, "function_call"):
        _find_call(found, f"function {text_in(legacy, 'name')}", legacy)


def _find_parts(found: Found, parts: list[Json]) -> None:
    for part in parts:
        kind = text_in(part, "type")
        if kind == "text":
            found.pieces.append(text_in(part, "text"))
        elif kind in _MEDIA:
            found.show(_MEDIA[kind])


def _find_call(found: Found, id: str, function: Json) -> None:
    found.call(id, text_in(function, "name"), text_in(function, "arguments"))


def _put_in_front(message: dict[str, Raw], context: str) -> bool:
    content = message.get("content")
    if content is None:
        return False
    kind = raw.first_byte(content)
    if kind == '"':
        message["content"] = raw.splice(context, content)
    elif kind == "[":
        part = raw.encode({"type": "text", "text": context})
        message["content"] = messages.put_first(content, part, _is_written, lambda _: False)
    return kind in ('"', "[")


def _is_written(part: Json) -> bool:
    return bool(user_text(_text_of(part)).strip())


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    """An event that only goes on with the text; whatever else it may hold is refused."""

    choices: list[_Choice] = []
    id: str | None = None
    error: None = None
    usage: None = None
    x_groq: None = None


_usual = msgspec.json.Decoder(_Event)


def _read_usual(draft: Draft, data: bytes) -> bool:
    """`_read_event` for most events of a stream, at a tenth of its cost."""
    try:
        event = _usual.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    for choice in event.choices:
        if choice.index <= 0:
            if choice.delta is not None and choice.delta.content is not None:
                draft.add(choice.delta.content)
            if choice.finish_reason:
                _end(draft, choice.finish_reason)
    draft.id = draft.id or event.id or None
    return True


class _Message(msgspec.Struct):
    content: str | None = None


class _Answer(msgspec.Struct):
    index: int = 0
    message: _Message | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int = 0


class _Body(msgspec.Struct):
    """A body that holds texts and usage; whatever else it may hold is refused."""

    choices: list[_Answer] = []
    usage: _Usage | None = None
    id: str | None = None
    error: None = None
    x_groq: None = None


_usual_body = msgspec.json.Decoder(_Body)


def _read_usual_body(draft: Draft, data: bytes) -> bool:
    """`_read_body` for most bodies."""
    try:
        body = _usual_body.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    for choice in body.choices:
        if choice.index <= 0:
            if choice.message is not None and choice.message.content is not None:
                draft.add(choice.message.content)
            if choice.finish_reason:
                _end(draft, choice.finish_reason)
    draft.id = body.id or None
    if (usage := body.usage) is not None:
        draft.usage = _counted(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    return True


def _read_event(draft: Draft, event: Json) -> bool:
    for choice in objects_in(event, "choices"):
        if count_in(choice, "index") == 0:
            _read_choice(draft, choice, object_in(choice, "delta"))
    _read_rest(draft, event)
    return False  # `[DONE]` is the end; usage may come after the finish reason


def _read_body(draft: Draft, body: Json) -> bool:
    for choice in objects_in(body, "choices"):
        if count_in(choice, "index") == 0:
            _read_choice(draft, choice, object_in(choice, "message"))
    _read_rest(draft, body)
    return True


def _read_choice(draft: Draft, choice: Json, message: Json) -> None:
    content = message.get("content")
    if isinstance(content, str):
        draft.add(content)
    elif isinstance(content, list):  # Mistral: text between pieces of thinking
        for part in objects_in(message, "content"):
            draft.add(_text_of(part))
    reason = choice.get("finish_reason")
    if reason:
        _end(draft, reason)


def _end(draft: Draft, reason: object) -> None:
    draft.ended = True
    draft.failed = draft.failed or reason == "error"
    draft.withheld = reason == "content_filter"


def _read_rest(draft: Draft, event: Json) -> None:
    if event.get("error"):
        draft.failed = True
    if draft.id is None:
        draft.id = text_in(event, "id") or None
    usage = object_in(event, "usage") or object_in(object_in(event, "x_groq"), "usage")
    if usage:
        draft.usage = _usage(usage)


def _usage(usage: Json) -> Usage:
    return _counted(*(count_in(usage, name) for name in _Usage.__struct_fields__))


def _counted(asked: int, answered: int, total: int) -> Usage:
    asked = max(asked, 0)
    # xAI and Gemini leave thinking out of the second figure, but not out of the total.
    return Usage(input_tokens=asked, output_tokens=max(answered, total - asked, 0))
