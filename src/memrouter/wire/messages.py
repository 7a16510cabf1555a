"""Changing the list of messages of a body, each message the client's own bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Raw

from memrouter.domain import Json
from memrouter.wire import raw
from memrouter.wire.format import RawBody

Edit = Callable[[dict[str, Raw], str], bool]
"""Puts a text in front of the text of a message, given as its fields; False if it has no place."""


def messages_of(body: RawBody, field: str) -> list[Raw] | None:
    """The messages in the array at `field`; None if there is no array."""
    value = body.get(field)
    if value is None or raw.first_byte(value) != "[":
        return None
    return raw.split_array(value)


def with_messages(body: RawBody, field: str, messages: Iterable[Raw]) -> RawBody:
    """The body with these messages in the place of its own."""
    return {**body, field: Raw(raw.join_array(messages))}


def strip(body: RawBody, field: str, fields: frozenset[str]) -> RawBody:
    """Without these top-level fields, and without `memory` on single messages."""
    body = {name: value for name, value in body.items() if name not in fields}
    value = body.get(field)
    if value is None or not _may_say_memory(bytes(value)):
        return body
    messages = messages_of(body, field)
    if messages is None:
        return body
    stripped = [_without_memory(message) for message in messages]
    if all(new is old for new, old in zip(stripped, messages, strict=True)):
        return body
    return with_messages(body, field, stripped)


def _without_memory(message: Raw) -> Raw:
    if raw.first_byte(message) != "{" or not _may_say_memory(bytes(message)):
        return message
    fields = raw.split_object(message)
    if fields.pop("memory", None) is None:
        return message
    return Raw(raw.join_object(fields))


def _may_say_memory(text: bytes) -> bool:
    return b'"memory"' in text or b"\\u00" in text  # an escaped name hides from the first look


def keep(body: RawBody, field: str, indexes: Sequence[int]) -> RawBody:
    """With only the messages at `indexes`."""
    messages = messages_of(body, field)
    if messages is None:
        return body
    kept = [messages[i] for i in indexes if 0 <= i < len(messages)]
    return with_messages(body, field, kept)


def inject(body: RawBody, field: str, blocks: Mapping[int, str], edit: Edit) -> RawBody:
    """With each text in front of the text of the message at its index, and a blank line between."""
    messages = messages_of(body, field)
    if not messages or not blocks:
        return body
    for i, context in blocks.items():
        if 0 <= i < len(messages) and raw.first_byte(messages[i]) == "{":
            fields = raw.split_object(messages[i])
            if edit(fields, f"{context}\n\n"):
                messages[i] = Raw(raw.join_object(fields))
    return with_messages(body, field, messages)


def lead(body: RawBody, field: str, leading: Callable[[Json], bool], new: list[Raw]) -> RawBody:
    """With `new` in front of the first message that is not `leading`."""
    messages = messages_of(body, field)
    if messages is None or not new:
        return body
    at = next((i for i, m in enumerate(messages) if not leading(read(m))), len(messages))
    return with_messages(body, field, [*messages[:at], *new, *messages[at:]])


def read(message: Raw) -> Json:
    """A message decoded; {} if it is no object."""
    return raw.parse(bytes(message)) if raw.first_byte(message) == "{" else {}


def put_first(
    parts: Raw, part: Raw, written: Callable[[Json], bool], fixed: Callable[[Json], bool]
) -> Raw:
    """An array of parts with `part` in front of the first that its author wrote.

    written  whether a part holds text that the author of the message wrote
    fixed    whether a part must stay ahead where none is written, as tool results
    """
    items = raw.split_array(parts)
    decoded = list(map(read, items))
    at = next((i for i, item in enumerate(decoded) if written(item)), None)
    if at is None:
        at = next((i for i, item in enumerate(decoded) if not fixed(item)), len(items))
    items.insert(at, part)
    return Raw(raw.join_array(items))
