"""Synthetic text of a realistic shape: chat bodies, memories, questions. Pure, seeded."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

_NAMES = "Alice Bruno Chiara Daniel Emma Farid Greta Hugo Ines Jonas Karla Luis Mina Noah".split()
_CITIES = "Lisbon Oslo Kyoto Porto Lyon Austin Turin Ghent Malmo Seville Bergen Leeds".split()
_THINGS = (
    "the launch checklist|the garden fence|a training plan|the tax return|the kitchen renovation|"
    "an espresso machine|the quarterly report|a used bicycle|the school play|piano lessons|"
    "the hiking trip|a job interview|the data migration|a birthday cake|the allergy test|"
    "an old laptop|the rental contract|the night train|a sourdough starter|the team offsite"
).split("|")
_MOODS = "worried|excited|undecided|curious|tired|confident|late|prepared".split("|")
_VERBS = "planning|fixing|postponing|reviewing|ordering|cancelling|explaining|comparing".split("|")
_WORDS = (
    "about after again against almost already always another answer around because before between "
    "budget calendar careful change clear common compare consider coffee current decide deliver "
    "detail different direct double early either engine enough evening example expect family "
    "figure follow forward garden gentle happen history however improve inside instead journey "
    "kitchen language later letter listen little market matter measure message middle minute "
    "moment morning mountain nearly network number office option order outside package paper "
    "perhaps person picture planet please point possible prepare problem process promise quarter "
    "question quick quiet rather reason recent record remain remember result return river second "
    "several short simple since single steady summer surface system table through together "
    "tomorrow training travel under useful value version village weather weekend window winter "
    "without wonder worker writing yellow yesterday"
).split()

DAY_MS = 86_400_000


def _sentence(rng: random.Random) -> str:
    words = rng.choices(_WORDS, k=rng.randint(6, 18))
    return " ".join(words).capitalize() + rng.choice(".....?!")


def _prose(rng: random.Random, length: int) -> str:
    """Sentences, here and there a list or a piece of code, about `length` characters."""
    parts: list[str] = []
    size = 0
    while size < length:
        kind = rng.random()
        if kind < 0.04:
            part = "\n\n- " + "\n- ".join(_sentence(rng) for _ in range(3)) + "\n\n"
        elif kind < 0.06:
            name = rng.choice(_WORDS)
            part = f'\n```python\ndef {name}(x: int) -> str:\n    return f"{{x}} {name}"\n```\n'
        else:
            part = _sentence(rng) + " "
        parts.append(part)
        size += len(part)
    return "".join(parts)[:length].strip()


def memory(rng: random.Random) -> str:
    """One fact a user may have told: 60 to 200 characters."""
    name, city, thing = rng.choice(_NAMES), rng.choice(_CITIES), rng.choice(_THINGS)
    verb, mood, number = rng.choice(_VERBS), rng.choice(_MOODS), rng.randint(2, 400)
    forms = (
        f"My friend {name} from {city} is {verb} {thing} and feels {mood} about it.",
        f"I paid {number} euros for {thing} in {city}; {name} said that was too much.",
        f"We are {verb} {thing} on day {number}, and I am {mood} because {name} cannot come.",
        f"{name} and I moved to {city} {number} days ago, before {verb} {thing}.",
    )
    return f"{rng.choice(forms)} {_sentence(rng)}"


def memories(count: int, seed: int, now_ms: int) -> Iterator[bytes]:
    """JSONL lines for an upload, oldest first, spread over the 200 days before `now_ms`."""
    rng = random.Random(seed)
    for i in range(count):
        age_ms = 200 * DAY_MS * (count - i) // (count + 1)
        role = "user" if rng.random() < 0.6 else "assistant"
        line = {"content": memory(rng), "role": role, "timestamp": now_ms - age_ms}
        yield json.dumps(line).encode() + b"\n"


def questions(count: int, seed: int = 7) -> list[str]:
    """User turns that have something to find among `memories`; all different."""
    rng = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        name, city, thing = rng.choice(_NAMES), rng.choice(_CITIES), rng.choice(_THINGS)
        ask = rng.choice(
            (
                f"What did {name} say about {thing} in {city}?",
                f"How much did I pay for {thing} when {name} was in {city}, and was it worth it?",
                f"I am {rng.choice(_VERBS)} {thing} again. Does {name} still feel "
                f"{rng.choice(_MOODS)} about {city}?",
                f"Remind me why we were {rng.choice(_VERBS)} {thing} with {name} in {city}.",
            )
        )
        found[f"{ask} {_sentence(rng)}"] = None
    return list(found)


def reply() -> str:
    """What the mock provider answers: one plain line of about 300 characters, 60 words."""
    rng = random.Random(11)
    words = rng.choices([w for w in _WORDS if len(w) < 7], k=60)
    return "Here is what I know: " + " ".join(words) + ". That is all of it."


def escaped(text: str) -> str:
    """`text` as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def chat_head(size: int, *, exchange: int, seed: int = 3) -> bytes:
    """The start of a chat request, up to and with the history, its list of messages still open.

    size      bytes the whole request is to have on average
    exchange  bytes that the load generator and the tail add on average
    """
    rng = random.Random(seed)
    system = "You are a helpful assistant. " + _prose(rng, min(max(size // 12, 40), 3000))
    turns: list[dict[str, str]] = [{"role": "system", "content": system}]

    def body() -> bytes:
        whole = {"model": "openai/gpt-5.5", "messages": turns}
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()

    left = size - exchange - len(body())
    while left > 150:
        user = _prose(rng, min(rng.randint(60, 500 if size < 100_000 else 2500), left // 2))
        assistant = _prose(rng, min(rng.randint(200, 1500 if size < 100_000 else 6000), left // 2))
        turns += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
        left = left - len(user) - len(assistant) - 70
    return body()[:-2]  # less the closing ]}


def chat_tail(*, stream: bool, gap_ms: int = 0) -> bytes:
    """The end of the request that `chat_head` starts; the mock pauses `gap_ms` between events."""
    rest: dict[str, object] = {"max_completion_tokens": 800, "seed": gap_ms, "stream": stream}
    if stream:
        rest["stream_options"] = {"include_usage": True}
    return b"]," + json.dumps(rest, separators=(",", ":")).encode()[1:]
