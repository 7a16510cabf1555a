"""Chats of users with an assistant, made from material/assistant.toml: the same every time.

Unlike LoCoMo there are no names, only roles; answers are long, hold lists and code, and repeat what
the user said; each fact is said once in passing, and its question uses other words.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from .data import History, Question, Role, Turn

MATERIAL = Path(__file__).parent / "material" / "assistant.toml"
START = datetime(2024, 1, 3, 8, 0, tzinfo=UTC)
DAYS = 360
ABSENT = 8
"""Facts a history leaves out; questions for them have no evidence."""
FILLERS = 30
"""Sessions that say nothing of the user."""

_SWAPS = {
    "i": "you",
    "i'm": "you're",
    "i've": "you've",
    "my": "your",
    "mine": "yours",
    "me": "you",
    "myself": "yourself",
    "am": "are",
    "we": "you",
    "we're": "you're",
    "we've": "you've",
    "our": "your",
    "us": "you",
}
_OPENINGS = ("Happy to help.", "Sure!", "Good question.", "Here is what I would do.", "Of course.")
_CLOSINGS = (
    "Let me know if you want more detail on any of these.",
    "Would you like me to turn this into a checklist?",
    "Tell me how it goes!",
    "I can adapt this if you tell me more about your situation.",
)
_FOLLOW = (
    "Thanks, that helps. Can you make it shorter?",
    "And what is the most common mistake?",
    "Could you give me an example?",
    "Which of these would you do first?",
    "Good. What else should I keep in mind?",
)


@dataclass(slots=True, kw_only=True)
class _Session:
    """A session under construction; `marks` says which questions a turn is evidence for."""

    domain: dict[str, Any]
    start: datetime
    turns: list[tuple[Role, str]] = field(default_factory=list)
    marks: dict[int, list[int]] = field(default_factory=dict)


def histories(users: int = 4, seed: int = 7) -> list[History]:
    """Histories of several users; 4 give some 390 questions over some 2,000 turns."""
    domains = tomllib.loads(MATERIAL.read_text("utf-8"))["domain"]
    return [_History(domains, user, Random(f"{seed}/{user}")).built() for user in range(users)]


class _History:
    def __init__(self, domains: Sequence[dict[str, Any]], user: int, random: Random) -> None:
        self._domains = domains
        self._user = user
        self._random = random
        self._questions: list[tuple[str, str]] = []
        self._sessions: list[_Session] = []

    def built(self) -> History:
        facts = [(d, f) for d in self._domains for f in d.get("fact", ())]
        absent = self._random.sample(range(len(facts)), ABSENT)
        for n, (domain, fact) in enumerate(facts):
            self._single("absent" if n in absent else "fact", domain, fact)
        for domain in self._domains:
            for pick in domain.get("pick", ()):
                self._pick(domain, pick)
            for taste in domain.get("taste", ()):
                self._single("preference", domain, taste)
            for change in domain.get("change", ()):
                self._several("changed fact", domain, change)
            for listed in domain.get("list", ()):
                self._several("several sessions", domain, listed)
        for _ in range(FILLERS):
            self._filler(self._random.choice(self._domains))
        return self._assembled()

    def _single(self, category: str, domain: dict[str, Any], item: dict[str, Any]) -> None:
        values = self._values(item)
        numbers = [self._ask(category, ask.format(**values)) for ask in item["ask"]]
        if "direct" in item:
            worded = category if category == "absent" else f"{category}, same words"
            numbers += [self._ask(worded, ask.format(**values)) for ask in item["direct"]]
        if category == "absent":
            return
        session = self._session(domain, self._day())
        if self._random.random() < 0.4:
            self._exchange(session, self._random.choice(domain["task"]))
        self._exchange(session, item["say"].format(**values), numbers, echo=0.6)
        self._continued(session)

    def _pick(self, domain: dict[str, Any], item: dict[str, Any]) -> None:
        values = self._values(item)
        numbers = [self._ask("assistant said", ask.format(**values)) for ask in item["ask"]]
        session = self._session(domain, self._day())
        session.turns.append(("user", item["user"]))
        session.marks[len(session.turns)] = numbers
        sentences = self._random.sample(domain["advice"], 5)
        sentences.insert(self._random.randrange(1, 5), item["say"].format(**values))
        session.turns.append(("assistant", " ".join(sentences)))
        self._continued(session)

    def _several(self, category: str, domain: dict[str, Any], item: dict[str, Any]) -> None:
        values = self._values(item)
        numbers = [self._ask(category, ask.format(**values)) for ask in item["ask"]]
        days = sorted(self._random.sample(range(DAYS), len(item["say"])))
        for day, say in zip(days, item["say"], strict=True):
            session = self._session(domain, day)
            self._exchange(session, say.format(**values), numbers, echo=0.6)
            self._continued(session)

    def _filler(self, domain: dict[str, Any]) -> None:
        session = self._session(domain, self._day())
        for task in self._random.sample(domain["task"], 2):
            self._exchange(session, task)

    def _continued(self, session: _Session) -> None:
        for _ in range(self._random.randrange(3)):
            asked = (*_FOLLOW, *session.domain["task"])
            self._exchange(session, self._random.choice(asked))

    def _exchange(
        self, session: _Session, said: str, numbers: Sequence[int] = (), echo: float = 0.2
    ) -> None:
        if numbers:
            session.marks[len(session.turns)] = list(numbers)
        session.turns.append(("user", said))
        parts = [self._random.choice(_OPENINGS)]
        if self._random.random() < echo:
            parts.append(f"So {_swapped(_first_sentence(said))}.")
        advice = self._random.sample(session.domain["advice"], self._random.randrange(6, 12))
        if self._random.random() < 0.4:
            listed = "\n".join(f"{n}. {line}" for n, line in enumerate(advice, start=1))
            parts.append(f"\n\n{listed}\n\n")
        else:
            parts += advice
        parts.append(self._random.choice(_CLOSINGS))
        session.turns.append(("assistant", " ".join(parts)))

    def _session(self, domain: dict[str, Any], day: int) -> _Session:
        start = START + timedelta(days=day, minutes=self._random.randrange(14 * 60))
        self._sessions.append(_Session(domain=domain, start=start))
        return self._sessions[-1]

    def _assembled(self) -> History:
        self._sessions.sort(key=lambda session: session.start)
        turns: list[Turn] = []
        evidence: dict[int, list[int]] = {}
        for number, session in enumerate(self._sessions):
            for place, (role, text) in enumerate(session.turns):
                for question in session.marks.get(place, ()):
                    evidence.setdefault(question, []).append(len(turns))
                created = session.start + timedelta(minutes=2 * place)
                turns.append(Turn(role=role, text=text, created=created, session=f"s{number}"))
        asked = START + timedelta(days=DAYS + 7)
        questions = tuple(self._asked(evidence, asked))
        return History(name=f"user {self._user}", turns=tuple(turns), questions=questions)

    def _asked(self, evidence: dict[int, list[int]], asked: datetime) -> Iterator[Question]:
        for number, (category, text) in enumerate(self._questions):
            found = evidence.get(number, [])
            if category == "changed fact":
                found = found[-1:]
            yield Question(text=text, category=category, evidence=tuple(found), asked=asked)

    def _ask(self, category: str, text: str) -> int:
        self._questions.append((category, text))
        return len(self._questions) - 1

    def _values(self, item: dict[str, Any]) -> dict[str, str]:
        lists = {k: v for k, v in item.items() if len(k) == 1}
        return {k: v[self._user % len(v)] for k, v in lists.items()}

    def _day(self) -> int:
        return self._random.randrange(DAYS)


def _first_sentence(text: str) -> str:
    return re.split(r"[.?!;:]\s|[.?!]$|, (?:can|could|what|how|is|any|which|will|where)\b", text)[0]


def _swapped(text: str) -> str:
    words = [_SWAPS.get(word.lower(), word) for word in text.split()]
    return " ".join(words)
