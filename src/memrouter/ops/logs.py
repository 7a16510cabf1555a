"""Structured logs: ids, counts and durations; never a text that a user wrote, never a key."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def set_up(level: str, form: str) -> None:
    """Send structured lines to stderr: one JSON object each ("json"), or readable ("text").

    Exceptions are logged by type and place only: their messages may quote what a user wrote.
    """
    global _lines  # noqa: PLW0603 - like structlog's own set-up, once a process
    _lines = sys.stderr if form == "json" and LEVELS[level] <= logging.INFO else None
    render: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if form == "text"
        else structlog.processors.JSONRenderer(serializer=_dumps)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _place_of_exception,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(max(LEVELS[level], logging.WARNING))


def logger(name: str) -> Any:
    """A logger whose calls are `log.info("event", key=value, …)`."""
    return structlog.get_logger(module=name)  # `logger` is taken by structlog itself


_lines: TextIO | None = None
"""Where lines of level info go as JSON; None where structlog must see to them."""


def line(module: str, event: str, told: dict[str, Any]) -> None:
    """`logger(module).info(event, **told)` for what every request says, at a fifth of its cost."""
    if _lines is None:
        logger(module).info(event, **told)
        return
    said = {
        "module": module,
        **told,
        "event": event,
        "level": "info",
        "timestamp": datetime.now(UTC),
    }
    _lines.write(orjson.dumps(said, option=_LINE).decode())
    _lines.flush()


_LINE = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE


def _dumps(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a lone surrogate, or a number of more than 64 bits
        return json.dumps(event, default=str, skipkeys=True)


def _place_of_exception(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None:
            code = trace.tb_frame.f_code
            event["at"] = f"{code.co_filename.rpartition('memrouter/')[2]}:{trace.tb_lineno}"
    return event


class _Bridge(logging.Handler):
    """Hands on warnings of libraries by name and level; their texts may quote a request."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        logger(record.name).log(
            record.levelno, "library", source=f"{record.module}:{record.lineno}", exc_info=error
        )
