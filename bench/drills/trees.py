"""Changes JSON as the tree that it is, so that what comes out is JSON still (pure)."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 10**30, 1.5, 1e308, "", [], {}, [[]], [None], "x", "user"),
    *("assistant", "system", "tool", "model", "developer", "text", "image", "\ud800", "\0", "é"),
    *("</memory_context>", "[MEMORY - x] y", "<system-reminder>a</system-reminder>", "off"),
    *("message", "function_call_output", "tool_result", "thinking", "input_text", {"text": "x"}),
    *({"type": "text", "text": "hello"}, [{"type": "text"}], {"role": "user", "content": "hi"}),
)
_NAMES = (
    *("role", "content", "type", "text", "parts", "memory", "messages", "input", "contents"),
    *("model", "stream", "system", "tools", "tool_calls", "id", "name", "cache_control", "thought"),
    *("session_id", "memory_mode", "density", "previous_response_id", "metadata", "user", ""),
    *("instructions", "functionCall", "functionResponse", "call_id", "tool_use_id", "é", "\ud800"),
)


def changed(tree: Any, dice: random.Random) -> Any:
    """The tree with one thing in it otherwise; it may be changed in place."""
    places = list(_places(tree))
    if not places:
        return copy.deepcopy(dice.choice(_VALUES))
    holder, name = dice.choice(places)
    match dice.randrange(6):
        case 0:
            holder[name] = copy.deepcopy(dice.choice(_VALUES))
        case 1:
            del holder[name]
        case 2:
            other, there = dice.choice(places)
            holder[name] = copy.deepcopy(other[there])
        case 3 if isinstance(holder, list):
            holder.insert(dice.randint(0, len(holder)), holder[name])
        case 4 if isinstance(holder, list):
            dice.shuffle(holder)
        case _ if isinstance(holder, dict):
            holder[dice.choice(_NAMES)] = copy.deepcopy(dice.choice((*_VALUES, holder[name])))
        case _:
            holder[name] = [holder[name]]
    return tree


def written(tree: Any, dice: random.Random) -> bytes:
    """The tree as JSON, with any escapes and white space."""
    text = json.dumps(
        tree,
        ensure_ascii=dice.random() < 0.7,
        indent=dice.choice((None, None, 1, "\t")),
        separators=dice.choice((None, (",", ":"), (" ,\n", " :\r\n"))),
    )
    return text.encode("utf-8", "surrogatepass")


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    waiting = [tree]
    seen = 0
    while waiting and seen < 400:
        at = waiting.pop()
        if isinstance(at, dict):
            items: Any = list(at.items())
        elif isinstance(at, list):
            items = list(enumerate(at))
        else:
            continue
        for name, value in items:
            seen += 1
            yield at, name
            waiting.append(value)
