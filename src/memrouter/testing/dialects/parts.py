"""What the dialects share: reading of untrusted JSON, writing of events."""

from __future__ import annotations

import json
from typing import Any

EVENT_STREAM = "text/event-stream; charset=utf-8"


def dumps(value: Any) -> bytes:
    """JSON as providers write it: compact, not escaped, unless it could not be encoded so."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def event(data: Any, name: str | None = None, *, newline: str = "\n") -> bytes:
    """One server-sent event."""
    head = f"event: {name}{newline}".encode() if name else b""
    return head + b"data: " + dumps(data) + newline.encode() * 2


def text_of(content: Any) -> str:
    """The text in a message's content, which is a string or a list of typed parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (part if isinstance(part, str) else text_of_part(part) for part in content)
        return "\n".join(text for text in texts if text)
    return ""


def text_of_part(part: Any) -> str:
    if not isinstance(part, dict):
        raise ValueError("a part of a message's content must be an object")  # noqa: TRY004
    text = part.get("text")
    if isinstance(text, str):
        return text
    if "content" in part:  # a tool result
        return text_of(part["content"])
    return ""


def messages_of(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The list of messages, or ValueError."""
    messages = body.get(name)
    if messages is None:
        raise ValueError(f"Missing required parameter: '{name}'.")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise ValueError(f"Invalid type for '{name}': expected an array of objects.")
    if not messages:
        raise ValueError(f"Invalid '{name}': empty array.")
    return messages


def model_of(body: dict[str, Any]) -> str:
    """The model asked for, or ValueError."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise ValueError("you must provide a model parameter")
    return model


def tools_of(body: dict[str, Any]) -> tuple[str, ...]:
    """Names of the tools on offer, in any format."""
    tools = body.get("tools") or ()
    names = []
    for tool in tools:
        if "function_declarations" in tool or "functionDeclarations" in tool:
            declared = tool.get("functionDeclarations") or tool.get("function_declarations")
            names += [f.get("name", "") for f in declared]
        else:
            names.append(
                tool.get("name") or tool.get("function", {}).get("name") or tool.get("type", "")
            )
    return tuple(names)


def openai_error(status: int, message: str) -> dict[str, Any]:
    """The body of an OpenAI error."""
    kind, code = {
        400: ("invalid_request_error", None),
        401: ("invalid_request_error", "invalid_api_key"),
        403: ("invalid_request_error", "forbidden"),
        404: ("invalid_request_error", "model_not_found"),
        429: ("requests", "rate_limit_exceeded"),
    }.get(status, ("server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
