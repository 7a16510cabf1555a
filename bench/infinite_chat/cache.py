"""A provider's prompt cache, as its documentation describes it: what of each request is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from memrouter.tokens import MESSAGE_TOKENS, estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: its messages, role and content of each as one text, and when it is sent."""

    messages: tuple[str, ...]
    at: float

    @property
    def tokens(self) -> int:
        """Of all messages."""
        return sum(map(count, self.messages))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a provider reads from its cache, and at what price."""

    name: str
    minimum: int
    """Shorter prefixes are not cached."""
    step: int
    """What is read is a multiple of this; 0 for whole messages up to a marked one."""
    lookback: int
    """How many messages before a mark a cached prefix may end; with step 0."""
    read: float
    """Price of a token read, in tokens at full price."""
    write: float
    """Price of a token that is not read."""
    ttl_s: float
    """A prefix is forgotten if it is not used for so long."""


OPENAI = Rules(name="OpenAI", minimum=1_024, step=128, lookback=0, read=0.1, write=1.0, ttl_s=300)
ANTHROPIC = Rules(
    name="Anthropic", minimum=1_024, step=0, lookback=20, read=0.1, write=1.25, ttl_s=300
)
ALL = (OPENAI, ANTHROPIC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Tokens of a conversation's requests."""

    full: int = 0
    """Not read from the cache: at full price, or written at the price of that."""
    read: int = 0
    cost: float = 0.0
    """All of it, in tokens at full price."""

    def __add__(self, other: Bill) -> Bill:
        return Bill(
            full=self.full + other.full, read=self.read + other.read, cost=self.cost + other.cost
        )


def count(message: str) -> int:
    """Tokens of a message."""
    return estimate(message) + MESSAGE_TOKENS


def bill(rules: Rules, requests: Sequence[Request]) -> Bill:
    """What the requests of one conversation cost together."""
    read = _by_length(rules, requests) if rules.step else _by_mark(rules, requests)
    total = Bill()
    for request, cached in zip(requests, read, strict=True):
        full = request.tokens - cached
        cost = full * rules.write + cached * rules.read
        total += Bill(full=full, read=cached, cost=cost)
    return total


def common_tokens(one: Request, other: Request) -> int:
    """Tokens of the longest prefix that two requests have in common."""
    tokens = 0
    for a, b in zip(one.messages, other.messages, strict=False):
        if a != b:
            same = (x == y for x, y in zip(a, b, strict=False))
            return tokens + estimate(a[: sum(takewhile(bool, same))])
        tokens += count(a)
    return tokens


def _by_length(rules: Rules, requests: Sequence[Request]) -> list[int]:
    """Automatic: the longest prefix of a request of the last minutes, in steps."""
    read = []
    for n, request in enumerate(requests):
        alive = [r for r in requests[:n] if request.at - r.at <= rules.ttl_s]
        longest = max((common_tokens(request, r) for r in alive), default=0)
        read.append(longest // rules.step * rules.step if longest >= rules.minimum else 0)
    return read


def _by_mark(rules: Rules, requests: Sequence[Request]) -> list[int]:
    """By marks of the client: the end of the system prompt, and of the last message."""
    used: dict[int, float] = {}
    read = []
    for request in requests:
        prefixes, sizes = _prefixes(request)
        marks = [1, len(request.messages)]
        cached = 0
        for mark in marks:
            for end in range(mark, max(0, mark - rules.lookback), -1):
                last = used.get(prefixes[end - 1])
                if last is not None and request.at - last <= rules.ttl_s:
                    cached = max(cached, sizes[end - 1])
                    used[prefixes[end - 1]] = request.at
                    break
        for mark in marks:
            if sizes[mark - 1] >= rules.minimum:
                used[prefixes[mark - 1]] = request.at
        read.append(cached)
    return read


def _prefixes(request: Request) -> tuple[list[int], list[int]]:
    """Of each prefix of whole messages: what tells it from others, and its tokens."""
    running, tokens = 0, 0
    keys, sizes = [], []
    for message in request.messages:
        running = hash((running, message))
        tokens += count(message)
        keys.append(running)
        sizes.append(tokens)
    return keys, sizes
