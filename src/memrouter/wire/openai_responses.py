"""OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw

from memrouter.domain import Json, Role, Turn, Usage
from memrouter.errors import BadRequest
from memrouter.wire import chores, messages, raw
from memrouter.wire.format import RawBody, ReplyReader
from memrouter.wire.reading import (
    count_in,
    decoded,
    list_in,
    object_in,
    objects_in,
    text_in,
    thread_in,
)
from memrouter.wire.replies import Draft, StreamReader, WholeReader
from memrouter.wire.turns import Found, Medium, runs_joined, turns_of
from memrouter.wire.written import user_text

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_TEXTS = ("input_text", "output_text", "text")
_MEDIA = {
    "input_image": Medium.IMAGE,
    "input_audio": Medium.AUDIO,
    "input_file": Medium.FILE,
}
_HELD_ELSEWHERE = ("item_reference", "compaction", "context_compaction")
"""Items that stand for turns which only the provider can read."""
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_HOUSEKEEPING = ("compaction", "memory", "prewarm")


class OpenAIResponses:
    """`POST /v1/responses`. See WireFormat for what each function promises."""

    name = "openai_responses"
    messages_field = "input"

    def check(self, body: Json) -> None:
        hint = 'Send "input": "…", or a list of items'
        given = body.get("input")
        if given is None:
            if body.get("prompt") or self.stateful(body):
                return  # a stored prompt, or a response to go on from, may do without
            raise BadRequest("input is missing", hint)
        if not isinstance(given, str | list):
            raise BadRequest("input is neither a string nor an array", hint)
        for i, item in enumerate(given if isinstance(given, list) else []):
            if not isinstance(item, dict):
                raise BadRequest(f"input[{i}] is not an object", hint)

    def model(self, body: Json, path: str) -> str | None:
        return text_in(body, "model") or None

    def with_model(self, body: RawBody, path: str, model: str) -> tuple[RawBody, str]:
        return {**body, "model": raw.encode(model)}, path

    def streams(self, body: Json, path: str) -> bool:
        return body.get("stream") is True

    def stateful(self, body: Json) -> bool:
        if body.get("previous_response_id") or body.get("conversation"):
            return True
        return any(text_in(item, "type") in _HELD_ELSEWHERE for item in list_in(body, "input"))

    def conversation(self, body: Json) -> str | None:
        """The provider's conversation, Codex's thread, or a cache key made for one conversation."""
        held = text_in(body, "conversation") or text_in(object_in(body, "conversation"), "id")
        codex = _codex(body)
        thread = text_in(codex, "thread_id") or text_in(codex, "session_id")
        return held or thread or thread_in(body)

    def chore(self, body: Json) -> bool:
        if text_in(_codex(body), "request_kind") in _HOUSEKEEPING or body.get("generate") is False:
            return True
        told = [text_in(body, "instructions")]
        asked = text_in(body, "input")
        for item in list_in(body, "input"):
            role = _role(item)
            if role == "system":
                told += _texts(item)[:1]
            elif role == "user":
                asked = next(reversed(_texts(item)), asked)
        return chores.is_chore(told, asked)

    def system_text(self, body: Json) -> str:
        return text_in(body, "instructions")

    def turns(self, body: Json) -> tuple[Turn, ...]:
        given = body.get("input")
        if isinstance(given, str):
            return turns_of([_found({"role": "user", "content": given})])
        # One answer comes back as several items: thinking, texts, calls.
        return runs_joined(turns_of(list(map(_found, list_in(body, "input")))), "\n")

    def strip(self, body: RawBody, fields: frozenset[str]) -> RawBody:
        return messages.strip(body, "input", fields)

    def inject(self, body: RawBody, blocks: Mapping[int, str], model: str | None) -> RawBody:
        given = body.get("input")
        if given is None or raw.first_byte(given) != '"':
            return messages.inject(body, "input", blocks, _put_in_front)
        if 0 not in blocks:
            return body
        return {**body, "input": raw.splice(f"{blocks[0]}\n\n", given)}

    def keep(self, body: RawBody, indexes: Sequence[int]) -> RawBody:
        if 0 in indexes and messages.messages_of(body, "input") is None:
            return body
        return messages.keep(_with_list(body), "input", indexes)

    def lead(self, body: RawBody, turns: Sequence[Turn]) -> RawBody:
        if not turns:
            return body
        new = [raw.encode({"role": t.role, "content": t.text}) for t in turns]
        return messages.lead(_with_list(body), "input", _is_system, new)

    def reader(self, *, streamed: bool) -> ReplyReader:
        return StreamReader(_read_event, _read_usual) if streamed else WholeReader(_read_response)

    def error(self, status: int, message: str, hint: str) -> Json:
        return {"error": message, "hint": hint}


def _codex(body: Json) -> Json:
    """What Codex says of a request."""
    said = object_in(body, "client_metadata")
    return decoded(text_in(said, "x-codex-turn-metadata")) or said


def _role(item: Any) -> Role:
    """The author of an item; the model where it is neither a message nor a result."""
    kind = text_in(item, "type")
    if kind in ("", "message"):
        return _ROLES.get(text_in(item, "role"), "tool")
    return "tool" if _is_output(kind) else "assistant"


def _is_output(kind: str) -> bool:
    return kind.endswith("_output") or kind == "mcp_approval_response"


def _is_system(item: Json) -> bool:
    return _role(item) == "system"


def _texts(item: Any) -> list[str]:
    if content := text_in(item, "content"):
        return [content]
    return [text for part in objects_in(item, "content") if (text := _text_of(part))]


def _text_of(part: Json) -> str:
    return text_in(part, "text") if part.get("type") in _TEXTS else ""


def _found(item: Any) -> Found:
    found = Found(_role(item), item)
    kind = text_in(item, "type")
    if kind in ("", "message"):
        _find_message(found, item)
    elif kind == "reasoning":
        found.glued = True
        found.extra += [text_in(part, "text") for part in objects_in(item, "summary")]
    elif found.role == "tool":
        _find_output(found, item)
    else:
        _find_call(found, item)
    return found


def _find_message(found: Found, item: Any) -> None:
    if content := text_in(item, "content"):
        found.pieces.append(content)
    for part in objects_in(item, "content"):
        kind = text_in(part, "type")
        if kind in _TEXTS:
            found.pieces.append(text_in(part, "text"))
        elif kind in _MEDIA:
            found.show(_MEDIA[kind])


def _find_call(found: Found, item: Json) -> None:
    """A call that the client answers has an id that its output names; others have none."""
    id = text_in(item, "call_id")
    if not id and item.get("type") in ("local_shell_call", "mcp_approval_request"):
        id = text_in(item, "id")
    found.call(id, text_in(item, "name"), text_in(item, "arguments"), text_in(item, "input"))
    if "action" in item:
        found.extra.append(raw.written(item["action"]))


def _find_output(found: Found, item: Json) -> None:
    found.answer(
        text_in(item, "call_id") or text_in(item, "approval_request_id") or text_in(item, "id")
    )
    output = item.get("output")
    if isinstance(output, str):
        found.extra.append(output)
        return
    for part in objects_in(item, "output"):
        found.extra.append(text_in(part, "text"))
        if (kind := text_in(part, "type")) in _MEDIA:
            found.flat += _MEDIA[kind].tokens


def _with_list(body: RawBody) -> RawBody:
    given = body.get("input")
    if given is None or raw.first_byte(given) != '"':
        return body
    item = {"role": raw.encode("user"), "content": given}
    return messages.with_messages(body, "input", [Raw(raw.join_object(item))])


def _put_in_front(item: dict[str, Raw], context: str) -> bool:
    content = item.get("content")
    if content is None:
        return False
    kind = raw.first_byte(content)
    if kind == '"':
        item["content"] = raw.splice(context, content)
    elif kind == "[":
        part = raw.encode({"type": "input_text", "text": context})
        item["content"] = messages.put_first(content, part, _is_written, lambda _: False)
    return kind in ('"', "[")


def _is_written(part: Json) -> bool:
    return bool(user_text(_text_of(part)).strip())


class _Event(msgspec.Struct):
    """An event that goes on with the text; any other is refused."""

    type: Literal["response.output_text.delta"]
    delta: str


_usual = msgspec.json.Decoder(_Event)


def _read_usual(draft: Draft, data: bytes) -> bool:
    """`_read_event` for most events of a stream, at a tenth of its cost."""
    try:
        draft.add(_usual.decode(data).delta)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _read_event(draft: Draft, event: Json) -> bool:
    kind = text_in(event, "type")
    if kind == "response.output_text.delta":
        draft.add(text_in(event, "delta"))
    elif kind == "response.content_part.added":
        draft.begin_piece()
    elif kind in _ENDS:
        status = kind.removeprefix("response.")
        return _read_response(draft, {"status": status} | object_in(event, "response"))
    elif kind == "error":
        draft.failed = True
        return True
    elif kind == "response.created":
        draft.id = text_in(object_in(event, "response"), "id") or None
    return False


def _read_response(draft: Draft, response: Json) -> bool:
    """Read a whole response; its output, where it is given, is the truth."""
    draft.id = text_in(response, "id") or draft.id
    if usage := object_in(response, "usage"):
        draft.usage = Usage(
            input_tokens=count_in(usage, "input_tokens"),
            output_tokens=count_in(usage, "output_tokens"),
        )
    pieces = [
        text_in(part, "text")
        for item in objects_in(response, "output")
        if item.get("type") == "message"
        for part in objects_in(item, "content")
        if part.get("type") == "output_text"
    ]
    if any(pieces):
        draft.restart(pieces)
    status = text_in(response, "status")
    draft.ended = status in ("completed", "incomplete")
    draft.failed = draft.failed or status in ("failed", "cancelled") or bool(response.get("error"))
    reason = text_in(object_in(response, "incomplete_details"), "reason")
    draft.withheld = reason == "content_filter"
    return True
