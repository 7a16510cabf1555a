"""LongMemEval (Wu et al., ICLR 2025) from its file, oracle or S: a history of chats a question."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .data import History, Question, Role, Turn

_DATE = re.compile(r"(\d{4})/(\d\d)/(\d\d)\D*?(\d\d):(\d\d)|(\d{4})-(\d\d)-(\d\d)")


def load(path: Path, limit: int | None = None) -> list[History]:
    """One history a question; abstention questions (…_abs) come without evidence.

    Every session keeps its name, so that figures can be had by session; evidence is the turns
    marked `has_answer`, or where none is marked all turns of the answer sessions.
    """
    return [_history(item) for item in json.loads(path.read_text("utf-8"))[:limit]]


def _history(item: dict[str, Any]) -> History:
    sessions = list(_sessions(item))
    sessions.sort(key=lambda session: session[1])  # the oracle file is not in order of time
    answers = set(item.get("answer_session_ids", ()))
    turns: list[Turn] = []
    marked: list[int] = []
    in_answers: list[int] = []
    for name, start, said in sessions:
        for place, turn in enumerate(said):
            text = str(turn["content"])
            if not text.strip():
                continue
            if turn.get("has_answer"):
                marked.append(len(turns))
            if name in answers:
                in_answers.append(len(turns))
            role: Role = "assistant" if turn["role"] == "assistant" else "user"
            created = start + timedelta(seconds=20 * place)
            turns.append(Turn(role=role, text=text, created=created, session=name))
    absent = str(item["question_id"]).endswith("_abs")
    question = Question(
        text=str(item["question"]),
        category="abstention" if absent else str(item["question_type"]),
        evidence=() if absent else tuple(marked or in_answers),
        asked=_time(item.get("question_date")),
    )
    return History(name=str(item["question_id"]), turns=tuple(turns), questions=(question,))


def _sessions(item: dict[str, Any]) -> list[tuple[str, datetime, list[dict[str, Any]]]]:
    start = datetime(2023, 1, 1, tzinfo=UTC)
    dates = item.get("haystack_dates") or []
    names = item.get("haystack_session_ids") or []
    found = []
    for n, session in enumerate(item["haystack_sessions"]):
        turns = session["turns"] if isinstance(session, dict) else session
        name = str(names[n]) if n < len(names) else f"session {n}"
        when = _time(dates[n]) if n < len(dates) else None
        found.append((name, when or start + timedelta(days=n), turns))
    return found


def _time(written: str | None) -> datetime | None:
    match = _DATE.search(written or "")
    if match is None:
        return None
    year, month, day, hour, minute = (int(g) for g in match.groups()[:5] if g) if match[1] else (
        int(match[6]), int(match[7]), int(match[8]), 0, 0
    )  # fmt: skip
    return datetime(year, month, day, hour, minute, tzinfo=UTC)
