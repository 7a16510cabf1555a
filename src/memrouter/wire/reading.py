"""Reading JSON that others wrote: a field of another type than expected reads as absent."""

from __future__ import annotations

import re
from typing import Any

import orjson

from memrouter.domain import Json
from memrouter.errors import BadRequest


def object_in(value: Any, field: str) -> Json:
    """The object at `field` of an object; {} where there is none."""
    found = value.get(field) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def list_in(value: Any, field: str) -> list[Any]:
    """The array at `field` of an object; [] where there is none."""
    found = value.get(field) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def objects_in(value: Any, field: str) -> list[Json]:
    """The objects in the array at `field` of an object."""
    return [item for item in list_in(value, field) if isinstance(item, dict)]


def text_in(value: Any, field: str) -> str:
    """The string at `field` of an object; "" where there is none."""
    found = value.get(field) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def count_in(value: Any, field: str) -> int:
    """The integer at `field` of an object, not below 0; 0 where there is none."""
    found = value.get(field) if isinstance(value, dict) else None
    return max(found, 0) if isinstance(found, int) and not isinstance(found, bool) else 0


_THREAD = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[a-z]{2,12}_[0-9A-Za-z]{16,64}"
)


def thread_in(body: Json) -> str | None:
    """The id in `prompt_cache_key`, if it looks made for one conversation and not for an app."""
    key = text_in(body, "prompt_cache_key")
    return key if _THREAD.fullmatch(key) else None


def decoded(text: str | bytes) -> Json | None:
    """The JSON object written in `text`; None if it is none."""
    try:
        value = orjson.loads(text)
    except (orjson.JSONDecodeError, TypeError):
        return None
    return value if isinstance(value, dict) else None


def require_objects(body: Json, field: str, hint: str) -> None:
    """Raise BadRequest unless `field` is an array of objects."""
    if field not in body:
        raise BadRequest(f"{field} is missing", hint)
    value = body[field]
    if not isinstance(value, list):
        raise BadRequest(f"{field} is not an array", hint)
    for i, item in enumerate(value):
        if not isinstance(item, dict):
            raise BadRequest(f"{field}[{i}] is not an object", hint)
