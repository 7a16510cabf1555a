"""OpenAI chat completions, and every provider that speaks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Raw

from memrouter import tokens
from memrouter.domain import Json, Role, Turn, Usage
from memrouter.wire import chores, messages, raw
from memrouter.wire.format import RawBody, ReplyReader
from memrouter.wire.media import Medium, joined
from memrouter.wire.reading import (
    count_in,
    list_in,
    object_in,
    objects_in,
    require_objects,
    text_in,
)
from memrouter.wire.replies import Draft, StreamReader, WholeReader
from memrouter.wire.written import assistant_text, user_text

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_AUTHORS = {"user": user_text, "assistant": assistant_text}
_MEDIA = {
    "image_url": (Medium.IMAGE, tokens.IMAGE_TOKENS),
    "input_audio": (Medium.AUDIO, tokens.AUDIO_TOKENS),
    "video_url": (Medium.VIDEO, tokens.FILE_TOKENS),
    "file": (Medium.FILE, tokens.FILE_TOKENS),
    "document_url": (Medium.FILE, tokens.FILE_TOKENS),  # Mistral
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
        return None

    def chore(self, body: Json) -> bool:
        return chores.is_chore(self.turns(body), "")

    def system_text(self, body: Json) -> str:
        return ""

    def turns(self, body: Json) -> tuple[Turn, ...]:
        return tuple(map(_turn, list_in(body, "messages")))

    def strip(self, body: RawBody, fields: frozenset[str]) -> RawBody:
        return messages.strip(body, "messages", fields)

    def inject(self, body: RawBody, blocks: Mapping[int, str], model: str | None) -> RawBody:
        items = messages.messages_of(body, "messages")
        if not items or not blocks:
            return body
        for i, context in blocks.items():
            if 0 <= i < len(items) and raw.first_byte(items[i]) == "{":
                items[i] = _with_context(items[i], f"{context}\n\n")
        return messages.with_messages(body, "messages", items)

    def keep(self, body: RawBody, indexes: Sequence[int]) -> RawBody:
        return messages.keep(body, "messages", indexes)

    def lead(self, body: RawBody, turns: Sequence[Turn]) -> RawBody:
        items = messages.messages_of(body, "messages")
        if items is None or not turns:
            return body
        roles = (text_in(raw.parse(bytes(i)), "role") for i in items if raw.first_byte(i) == "{")
        at = next((i for i, role in enumerate(roles) if _ROLES.get(role) != "system"), len(items))
        items[at:at] = [raw.encode({"role": t.role, "content": t.text}) for t in turns]
        return messages.with_messages(body, "messages", items)

    def reader(self, *, streamed: bool) -> ReplyReader:
        return StreamReader(_read_event) if streamed else WholeReader(_read_body)

    def error(self, status: int, message: str, hint: str) -> Json:
        return {"error": message, "hint": hint}


def _turn(message: Any) -> Turn:
    role = _ROLES.get(text_in(message, "role"), "tool")
    author = _AUTHORS.get(role)
    pieces = list(_pieces(message))
    read = author or str
    text = (
        "" if role == "tool" else joined(p if isinstance(p, Medium) else read(p) for p, _ in pieces)
    )
    calls = dict(_calls(message))
    return Turn(
        role=role,
        text=text,
        written=author is not None and bool(text.strip()),
        memory=not isinstance(message, dict) or message.get("memory") is not False,
        tokens=tokens.MESSAGE_TOKENS
        + sum(count for _, count in pieces)
        + sum(calls.values())
        + tokens.estimate(text_in(message, "reasoning_content")),
        calls=tuple(calls),
        answers=tuple(_answers(message)),
    )


def _calls(message: Any) -> Iterator[tuple[str, int]]:
    """Ids of the tool calls of a message, each with its tokens."""
    for call in objects_in(message, "tool_calls"):
        yield text_in(call, "id"), _call_tokens(object_in(call, "function"))
    if legacy := object_in(message, "function_call"):
        yield f"function {text_in(legacy, 'name')}", _call_tokens(legacy)


def _call_tokens(function: Json) -> int:
    written = text_in(function, "name"), text_in(function, "arguments")
    return tokens.CALL_TOKENS + sum(map(tokens.estimate, written))


def _answers(message: Any) -> Iterator[str]:
    if answered := text_in(message, "tool_call_id"):
        yield answered
    if text_in(message, "role") == "function":
        yield f"function {text_in(message, 'name')}"


def _pieces(message: Any) -> Iterator[tuple[str | Medium, int]]:
    """Texts and media of a message, each with its tokens."""
    if content := text_in(message, "content"):
        yield content, tokens.estimate(content)
        return
    for part in objects_in(message, "content"):
        kind = text_in(part, "type")
        if kind == "text":
            text = text_in(part, "text")
            yield text, tokens.estimate(text)
        elif kind in _MEDIA:
            yield _MEDIA[kind]


def _with_context(message: Raw, context: str) -> Raw:
    """A message with the context in front of what its author wrote."""
    fields = raw.split_object(message)
    content = fields.get("content")
    first = raw.first_byte(content) if content is not None else ""
    if content is not None and first == '"':
        fields["content"] = raw.splice(context, content)
    elif content is not None and first == "[":
        part = raw.encode({"type": "text", "text": context})
        fields["content"] = messages.in_front_of_parts(content, part, _is_written)
    else:
        return message
    return Raw(raw.join_object(fields))


def _is_written(part: Json) -> bool:
    return text_in(part, "type") == "text" and bool(user_text(text_in(part, "text")).strip())


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
            if text_in(part, "type") == "text":
                draft.add(text_in(part, "text"))
    reason = choice.get("finish_reason")
    if reason:
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
    asked = count_in(usage, "prompt_tokens")
    answered = count_in(usage, "completion_tokens")
    # xAI and Gemini leave thinking out of the second figure, but not out of the total.
    return Usage(
        input_tokens=asked,
        output_tokens=max(answered, count_in(usage, "total_tokens") - asked),
    )
