"""Anthropic's Messages API."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw

from memrouter.domain import Json, Role, Turn, Usage
from memrouter.wire import chores, messages, raw
from memrouter.wire.format import RawBody, ReplyReader
from memrouter.wire.reading import (
    count_in,
    decoded,
    list_in,
    object_in,
    objects_in,
    require_objects,
    text_in,
)
from memrouter.wire.replies import Draft, StreamReader, WholeReader
from memrouter.wire.turns import Found, Medium, reader
from memrouter.wire.written import user_text

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_MEDIA = {
    "image": Medium.IMAGE,
    "document": Medium.FILE,
    "container_upload": Medium.FILE,
}
_CLAUDE_CODE = "You are Claude Code, Anthropic's official CLI for Claude."

# Models that take `role: "system"` after a user turn, by the provider's page on such messages:
# Opus 4.8 and the fifth generation; of Sonnet and Haiku only 5.5. Unknown ones are not assumed to.
_TAKES_SYSTEM = re.compile(
    r"claude-(?:opus-4[.-]8|(?:opus|fable|mythos)-5|(?:sonnet|haiku)-5[.-]5)(?![0-9])"
)

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class AnthropicMessages:
    """`POST /v1/messages`. See WireFormat for what each function promises."""

    name = "anthropic_messages"
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
        """Claude Code's session, which stands in `metadata.user_id`."""
        user = text_in(object_in(body, "metadata"), "user_id")
        if user.startswith("{"):
            return text_in(decoded(user), "session_id") or None
        _, found, session = user.rpartition("_session_")  # before 2.1
        return session if found and session else None

    def chore(self, body: Json) -> bool:
        told = _texts(body.get("system"))
        sent = list_in(body, "messages")
        tools = list_in(body, "tools")
        if body.get("max_tokens") == 1 and len(sent) == 1 and not tools:
            return (
                True  # Claude Code asks for one token to see its quota, or whether a model is there
            )
        if not tools and any(text.startswith(_CLAUDE_CODE) for text in told):
            return True  # its main loop always has tools; titles, names, labels and pages have none
        asked: list[str] = []
        for message in sent:
            if text_in(message, "role") == "user":
                asked = _texts(message.get("content")) or asked
        return chores.is_chore(told, asked[-1] if asked else "")

    def system_text(self, body: Json) -> str:
        return "\n".join(_texts(body.get("system")))

    def turns(self, body: Json) -> tuple[Turn, ...]:
        return _turns(list_in(body, "messages"))

    def strip(self, body: RawBody, fields: frozenset[str]) -> RawBody:
        return messages.strip(body, "messages", fields)

    def inject(self, body: RawBody, blocks: Mapping[int, str], model: str | None) -> RawBody:
        """See WireFormat.inject; a system message follows the turn that the text is meant for.

        Its place must be before an assistant turn or at the end, with other system messages between
        at most, and never first; where it has no such place, the text goes into the turn.
        """
        items = messages.messages_of(body, "messages")
        if not items or not blocks or not model or not _TAKES_SYSTEM.match(model):
            return messages.inject(body, "messages", blocks, _put_in_front)
        apart = {i: text for i, text in blocks.items() if _system_may_follow(items, i)}
        within = {i: text for i, text in blocks.items() if i not in apart}
        body = messages.inject(body, "messages", within, _put_in_front)
        items = messages.messages_of(body, "messages") or []
        for i in sorted(apart, reverse=True):
            items.insert(i + 1, raw.encode({"role": "system", "content": apart[i]}))
        return messages.with_messages(body, "messages", items)

    def keep(self, body: RawBody, indexes: Sequence[int]) -> RawBody:
        return messages.keep(body, "messages", indexes)

    def lead(self, body: RawBody, turns: Sequence[Turn]) -> RawBody:
        """See WireFormat.lead; turns before the user's first are left out, he must speak first."""
        start = next((i for i, t in enumerate(turns) if t.role == "user"), len(turns))
        new = [raw.encode({"role": t.role, "content": t.text}) for t in turns[start:]]
        return messages.lead(body, "messages", lambda _: False, new)

    def reader(self, *, streamed: bool) -> ReplyReader:
        return StreamReader(_read_event, _read_usual) if streamed else WholeReader(_read_body)

    def error(self, status: int, message: str, hint: str) -> Json:
        kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "hint": hint}


def _texts(content: Any) -> list[str]:
    """The texts of a content, which may be a string or blocks."""
    if isinstance(content, str):
        return [content]
    return [t for part in objects_in({"": content}, "") if (t := _text_of(part))]


def _text_of(part: Json) -> str:
    return text_in(part, "text") if part.get("type") == "text" else ""


def _found(message: Any) -> Found:
    found = Found(_ROLES.get(text_in(message, "role"), "tool"), message)
    if not isinstance(message, dict):
        return found
    content = message.get("content")
    if isinstance(content, str):
        found.pieces.append(content)
        return found
    before = ""
    for part in objects_in(message, "content"):
        kind = text_in(part, "type")
        if kind == "text" and before == "text" and found.role == "assistant":
            # Citations cut a text into blocks in the middle of a sentence.
            found.pieces[-1] = f"{found.pieces[-1]}{text_in(part, 'text')}"
        elif kind == "text":
            found.pieces.append(text_in(part, "text"))
        elif kind in _MEDIA:
            found.show(_MEDIA[kind])
        else:
            _find_other(found, kind, part)
        before = kind
    return found


_turns = reader(_found, _ROLES, ("memory",))


def _find_other(found: Found, kind: str, part: Json) -> None:
    if kind.endswith("tool_use"):  # also `server_tool_use` and `mcp_tool_use`
        found.call(text_in(part, "id"), text_in(part, "name"), raw.written(part.get("input")))
    elif kind.endswith("tool_result"):
        found.answer(text_in(part, "tool_use_id"))
        _find_result(found, part.get("content"))
    elif kind == "thinking":
        found.signed = True
        found.extra.append(text_in(part, "thinking"))
    elif kind == "redacted_thinking":
        found.signed = True
    elif kind == "search_result":
        found.extra += _texts(part.get("content"))
    elif kind == "compaction":
        found.extra.append(text_in(part, "content"))


def _find_result(found: Found, content: Any) -> None:
    found.extra += _texts(content)
    for part in objects_in({"": content}, ""):
        kind = text_in(part, "type")
        if kind in _MEDIA:
            found.flat += _MEDIA[kind].tokens
        elif kind != "text":
            found.extra.append(raw.written(part.get("content")))


def _system_may_follow(items: Sequence[Raw], at: int) -> bool:
    if not 0 <= at < len(items) or _role(items[at]) != "user":
        return False
    following = map(_role, itertools.islice(items, at + 1, None))
    return next((role for role in following if role != "system"), "assistant") == "assistant"


def _role(item: Raw) -> str:
    return text_in(messages.read(item), "role")


def _put_in_front(message: dict[str, Raw], context: str) -> bool:
    content = message.get("content")
    if content is None:
        return False
    kind = raw.first_byte(content)
    if kind == '"':
        message["content"] = raw.splice(context, content)
    elif kind == "[":
        part = raw.encode({"type": "text", "text": context})
        message["content"] = messages.put_first(content, part, _is_written, _is_result)
    return kind in ('"', "[")


def _is_written(part: Json) -> bool:
    return bool(user_text(_text_of(part)).strip())


def _is_result(part: Json) -> bool:
    """Results of tools must come first in a message."""
    return text_in(part, "type").endswith("tool_result")


class _Delta(msgspec.Struct):
    type: Literal["text_delta"]
    text: str


class _Event(msgspec.Struct):
    """An event that goes on with the text; any other is refused."""

    type: Literal["content_block_delta"]
    delta: _Delta


_usual = msgspec.json.Decoder(_Event)


def _read_usual(draft: Draft, data: bytes) -> bool:
    """`_read_event` for most events of a stream, at a tenth of its cost."""
    try:
        draft.add(_usual.decode(data).delta.text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _read_event(draft: Draft, event: Json) -> bool:
    kind = text_in(event, "type")
    if kind == "content_block_delta":
        delta = object_in(event, "delta")
        if delta.get("type") == "text_delta":
            draft.add(text_in(delta, "text"))
    elif kind == "content_block_start":
        _read_block(draft, object_in(event, "content_block"))
    elif kind == "message_start":
        message = object_in(event, "message")
        draft.id = text_in(message, "id") or None
        draft.usage = _usage(message, None)
    elif kind == "message_delta":
        draft.withheld = object_in(event, "delta").get("stop_reason") == "refusal"
        draft.usage = _usage(event, draft.usage)
    elif kind == "message_stop":
        draft.ended = True
        return True
    elif kind == "error":
        draft.failed = True
        return True
    return False


def _read_block(draft: Draft, block: Json) -> None:
    if block.get("type") == "text":
        draft.add(text_in(block, "text"))
    else:
        draft.begin_piece()


def _read_body(draft: Draft, body: Json) -> bool:
    draft.id = text_in(body, "id") or None
    for block in objects_in(body, "content"):
        _read_block(draft, block)
    reason = body.get("stop_reason")
    draft.ended = body.get("type") == "message" and isinstance(reason, str)
    draft.withheld = reason == "refusal"
    draft.usage = _usage(body, None)
    return True


def _usage(message: Json, before: Usage | None) -> Usage | None:
    """What is counted so far; cached tokens are part of the input."""
    usage = object_in(message, "usage")
    if not usage:
        return before
    asked = sum(
        count_in(usage, field)
        for field in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    )
    answered = count_in(usage, "output_tokens")
    if before is not None:
        asked = max(asked, before.input_tokens)
        answered = max(answered, before.output_tokens)
    return Usage(input_tokens=asked, output_tokens=answered)
