"""Gemini's generateContent and streamGenerateContent.

Google's servers read JSON as protocol buffers do: names in camelCase or snake_case, and a single
object where a list of one is meant. So do we.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from msgspec import Raw

from memrouter.domain import Json, Role, Turn, Usage
from memrouter.errors import BadRequest
from memrouter.wire import chores, messages, raw
from memrouter.wire.format import RawBody, ReplyReader
from memrouter.wire.reading import count_in, object_in, objects_in, text_in
from memrouter.wire.replies import Draft, StreamReader, WholeReader
from memrouter.wire.turns import Found, medium_of, runs_joined, turns_of
from memrouter.wire.written import user_text

_ROLES: dict[str, Role] = {
    "": "user",
    "user": "user",
    "model": "assistant",
    "system": "system",
    "function": "tool",
}
_MODEL = re.compile(r"(?P<before>.*/models/)(?P<model>[^:]+)(?P<after>:[A-Za-z]+)?\Z")
_WITHHELD = frozenset(
    (
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    )
)
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class GeminiGenerate:
    """`POST …/models/{model}:generateContent`. See WireFormat for what each function promises."""

    name = "gemini_generate"
    messages_field = "contents"

    def check(self, body: Json) -> None:
        hint = 'Send "contents": [{"role": "user", "parts": [{"text": "…"}]}]'
        if "contents" not in body:
            raise BadRequest("contents is missing", hint)
        contents = body["contents"]
        if not isinstance(contents, list | dict):
            raise BadRequest("contents is not an array", hint)
        for i, item in enumerate(contents if isinstance(contents, list) else []):
            if not isinstance(item, dict):
                raise BadRequest(f"contents[{i}] is not an object", hint)

    def model(self, body: Json, path: str) -> str | None:
        found = _MODEL.match(path)
        return unquote(found["model"]) if found else None

    def with_model(self, body: RawBody, path: str, model: str) -> tuple[RawBody, str]:
        found = _MODEL.match(path)
        if not found:
            return body, path
        return body, f"{found['before']}{quote(model, safe='/')}{found['after'] or ''}"

    def streams(self, body: Json, path: str) -> bool:
        return path.endswith(":streamGenerateContent")

    def stateful(self, body: Json) -> bool:
        return bool(_either(body, "cachedContent", "cached_content"))

    def conversation(self, body: Json) -> str | None:
        return None

    def chore(self, body: Json) -> bool:
        asked = ""
        for content in _several(body.get("contents")):
            if _ROLES.get(text_in(content, "role")) == "user":
                asked = next(reversed(_texts(content)), asked)
        return chores.is_chore(_texts(_system(body)), asked)

    def system_text(self, body: Json) -> str:
        return "\n".join(_texts(_system(body)))

    def turns(self, body: Json) -> tuple[Turn, ...]:
        # The SDKs' chats keep each piece of a streamed answer as a message of its own.
        return runs_joined(turns_of(list(map(_found, _several(body.get("contents"))))), "")

    def strip(self, body: RawBody, fields: frozenset[str]) -> RawBody:
        return messages.strip(_with_list(body), "contents", fields)

    def inject(self, body: RawBody, blocks: Mapping[int, str], model: str | None) -> RawBody:
        return messages.inject(_with_list(body), "contents", blocks, _put_in_front)

    def keep(self, body: RawBody, indexes: Sequence[int]) -> RawBody:
        return messages.keep(_with_list(body), "contents", indexes)

    def lead(self, body: RawBody, turns: Sequence[Turn]) -> RawBody:
        new = [
            raw.encode(
                {
                    "role": "model" if t.role == "assistant" else "user",
                    "parts": [{"text": t.text}],
                }
            )
            for t in turns
        ]
        return messages.lead(_with_list(body), "contents", _is_system, new)

    def reader(self, *, streamed: bool) -> ReplyReader:
        return StreamReader(_read) if streamed else WholeReader(_read)

    def error(self, status: int, message: str, hint: str) -> Json:
        name = _STATUS.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
        return {"error": {"code": status, "message": message, "status": name}, "hint": hint}


def _either(value: Any, *names: str) -> Any:
    """The value at the first of these names that is there."""
    if not isinstance(value, dict):
        return None
    return next((value[name] for name in names if name in value), None)


def _several(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else []


def _parts(content: Any) -> list[Json]:
    parts = _several(content.get("parts")) if isinstance(content, dict) else []
    return [part for part in parts if isinstance(part, dict)]


def _system(body: Json) -> Any:
    system = _either(body, "systemInstruction", "system_instruction")
    return {"parts": [{"text": system}]} if isinstance(system, str) else system


def _texts(content: Any) -> list[str]:
    return [text for part in _parts(content) if (text := _text_of(part))]


def _text_of(part: Json) -> str:
    return "" if part.get("thought") is True else text_in(part, "text")


def _is_system(content: Json) -> bool:
    return text_in(content, "role") == "system"


def _found(content: Any) -> Found:
    found = Found(_ROLES.get(text_in(content, "role"), "tool"), content)
    for part in _parts(content):
        text = text_in(part, "text")
        if part.get("thought") is True:
            found.extra.append(text)
        elif text and found.role == "assistant" and found.pieces:
            found.pieces[-1] = f"{found.pieces[-1]}{text}"  # as the pieces of a stream
        elif text:
            found.pieces.append(text)
        else:
            _find_data(found, part)
    return found


def _find_data(found: Found, part: Json) -> None:
    data = _either(part, "inlineData", "inline_data", "fileData", "file_data")
    if data is not None:
        mime_type = _either(data, "mimeType", "mime_type")
        medium = medium_of(mime_type if isinstance(mime_type, str) else "")
        if found.role == "user":
            found.show(medium)
        else:
            found.flat += medium.tokens
    call = _either(part, "functionCall", "function_call")
    if call is not None:
        name = text_in(call, "name")
        found.call(
            text_in(call, "id") or f"function {name}", name, raw.written(_either(call, "args"))
        )
    answer = _either(part, "functionResponse", "function_response")
    if answer is not None:
        found.answer(text_in(answer, "id") or f"function {text_in(answer, 'name')}")
        found.extra.append(raw.written(_either(answer, "response")))
    for name in ("executableCode", "executable_code", "codeExecutionResult"):
        if name in part:
            found.extra.append(raw.written(part[name]))


def _with_list(body: RawBody) -> RawBody:
    contents = body.get("contents")
    if contents is None or raw.first_byte(contents) != "{":
        return body
    return messages.with_messages(body, "contents", [contents])


def _put_in_front(content: dict[str, Raw], context: str) -> bool:
    parts = content.get("parts")
    if parts is None:
        return False
    kind = raw.first_byte(parts)
    if kind == "{":
        parts = Raw(raw.join_array([parts]))
    if kind in ("{", "["):
        part = raw.encode({"text": context})
        content["parts"] = messages.put_first(parts, part, _is_written, _is_response)
    return kind in ("{", "[")


def _is_written(part: Json) -> bool:
    return bool(user_text(_text_of(part)).strip())


def _is_response(part: Json) -> bool:
    return _either(part, "functionResponse", "function_response") is not None


def _read(draft: Draft, event: Json) -> bool:
    """Read an answer, or a piece of a streamed one: they have one form."""
    draft.id = draft.id or text_in(event, "responseId") or None
    if usage := object_in(event, "usageMetadata"):
        draft.usage = _usage(usage)
    if event.get("error"):
        draft.failed = True
        return True
    if object_in(event, "promptFeedback").get("blockReason"):
        draft.ended = draft.withheld = True
        return True
    ends = False
    for candidate in objects_in(event, "candidates"):
        if count_in(candidate, "index") == 0:
            ends = _read_candidate(draft, candidate)
    return ends


def _read_candidate(draft: Draft, candidate: Json) -> bool:
    for part in _parts(object_in(candidate, "content")):
        if text := _text_of(part):
            draft.add(text)
    reason = text_in(candidate, "finishReason")
    if not reason:
        return False
    draft.ended = True
    draft.withheld = reason in _WITHHELD
    draft.failed = draft.failed or reason.startswith(("MALFORMED", "UNEXPECTED"))
    return True


def _usage(usage: Json) -> Usage:
    return Usage(
        input_tokens=count_in(usage, "promptTokenCount")
        + count_in(usage, "toolUsePromptTokenCount"),
        output_tokens=count_in(usage, "candidatesTokenCount")
        + count_in(usage, "thoughtsTokenCount"),
    )
