"""LoCoMo (Maharana et al., ACL 2024) from its file: ten long conversations of two people."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from .data import History, Question, Role, Turn

Form = Literal["named", "dated", "roles", "plain", "notes"]
"""How turns are written: "Ann: text", "Ann (8 May 2023): text", text with a role per speaker, text
alone, or instead of the turns the notes that the data has about them."""
FORMS: dict[Form, str] = {
    "named": "“Name: text”",
    "dated": "“Name (date): text”",
    "roles": "text, a role per speaker",
    "plain": "text alone",
    "notes": "the data's own notes instead of turns",
}
CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
_EVIDENCE = re.compile(r"D:?(\d+):(\d+)")


def load(path: Path, form: Form = "named") -> list[History]:
    """The conversations; questions of categories 1 to 4 whose evidence is known (1,536)."""
    return [_history(item, form) for item in json.loads(path.read_text("utf-8"))]


def _history(item: dict[str, Any], form: Form) -> History:
    turns: list[Turn] = []
    places: dict[str, list[int]] = {}
    if form == "notes":
        _add_notes(item, turns, places)
    else:
        _add_turns(item["conversation"], form, turns, places)
    questions = tuple(q for entry in item["qa"] if (q := _question(entry, places)) is not None)
    return History(name=str(item["sample_id"]), turns=tuple(turns), questions=questions)


def _add_turns(
    body: dict[str, Any], form: Form, turns: list[Turn], places: dict[str, list[int]]
) -> None:
    speakers: list[str] = []
    for number in _sessions(body):
        for turn in body[f"session_{number}"]:
            if (who := turn["speaker"]) not in speakers:
                speakers.append(who)
            caption = turn.get("blip_caption")
            text = turn["text"] + (f" [shared photo: {caption}]" if caption else "")
            when = _time(body, number)
            said = {"named": f"{who}: {text}", "dated": f"{who} ({when:%-d %B %Y}): {text}"}
            role: Role = "assistant" if form == "roles" and speakers.index(who) else "user"
            places[turn["dia_id"]] = [len(turns)]
            turns.append(
                Turn(role=role, text=said.get(form, text), created=when, session=str(number))
            )


def _add_notes(item: dict[str, Any], turns: list[Turn], places: dict[str, list[int]]) -> None:
    for number in _sessions(item["conversation"]):
        when = _time(item["conversation"], number)
        observed = item["observation"].get(f"session_{number}_observation", {})
        for note, source in (pair for notes in observed.values() for pair in notes):
            for name in source if isinstance(source, list) else [source]:
                places.setdefault(str(name), []).append(len(turns))
            turns.append(Turn(role="user", text=note, created=when, session=str(number)))


def _sessions(body: dict[str, Any]) -> list[int]:
    return sorted(int(k.removeprefix("session_")) for k in body if re.fullmatch(r"session_\d+", k))


def _time(body: dict[str, Any], number: int) -> datetime:
    written = body[f"session_{number}_date_time"]
    return datetime.strptime(written, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)


def _question(entry: dict[str, Any], places: dict[str, list[int]]) -> Question | None:
    ids = [f"D{int(s)}:{int(t)}" for e in entry["evidence"] for s, t in _EVIDENCE.findall(e)]
    known = sorted({place for id in ids for place in places.get(id, ())})
    if entry["category"] not in CATEGORIES or not known:
        return None
    return Question(
        text=str(entry["question"]), category=CATEGORIES[entry["category"]], evidence=tuple(known)
    )
