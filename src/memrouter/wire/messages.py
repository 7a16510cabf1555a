"""Changing the list of messages of a body, each message the client's own bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Raw

from memrouter.domain import Json
from memrouter.wire import raw
from memrouter.wire.format import RawBody


def messages_of(body: RawBody, field: str) -> list[Raw] | None:
    """The messages in the array at `field`; None if there is no array."""
    value = body.get(field)
    if value is None or raw.first_byte(value) != "[":
        return None
    return raw.split_array(value)


def with_messages(body: RawBody, field: str, messages: Sequence[Raw]) -> RawBody:
    """The body with these messages in the place of its own."""
    return {**body, field: Raw(raw.join_array(messages))}


def strip(body: RawBody, field: str, fields: frozenset[str]) -> RawBody:
    """Without these top-level fields, and without `memory` on single messages."""
    body = {name: value for name, value in body.items() if name not in fields}
    value = bytes(body.get(field, b""))
    # An escaped name would hide from the first look.
    if b'"memory"' not in value and b"\\u00" not in value:
        return body
    messages = messages_of(body, field)
    if messages is None:
        return body
    stripped = [_without_memory(message) for message in messages]
    if all(new is old for new, old in zip(stripped, messages, strict=True)):
        return body
    return with_messages(body, field, stripped)


def _without_memory(message: Raw) -> Raw:
    text = bytes(message)
    if text[:1] != b"{" or (b'"memory"' not in text and b"\\u00" not in text):
        return message
    fields = raw.split_object(message)
    if fields.pop("memory", None) is None:
        return message
    return Raw(raw.join_object(fields))


def keep(body: RawBody, field: str, indexes: Sequence[int]) -> RawBody:
    """With only the messages at `indexes`."""
    messages = messages_of(body, field)
    if messages is None:
        return body
    kept = [messages[i] for i in indexes if 0 <= i < len(messages)]
    return with_messages(body, field, kept)


def in_front_of_parts(
    parts: Raw,
    part: Raw,
    written: Callable[[Json], bool],
    leading: Callable[[Json], bool] = lambda _: False,
) -> Raw:
    """An array of parts with `part` in front of the first that its author wrote.

    written  whether a part holds text that the author of the message wrote
    leading  whether a part must stay ahead where no part is written, as tool results
    """
    items = raw.split_array(parts)
    decoded = [raw.parse(bytes(i)) if raw.first_byte(i) == "{" else {} for i in items]
    at = next((i for i, item in enumerate(decoded) if written(item)), None)
    if at is None:
        at = next((i for i, item in enumerate(decoded) if not leading(item)), len(items))
    items.insert(at, part)
    return Raw(raw.join_array(items))
