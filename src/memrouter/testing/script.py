"""What a scripted provider is asked and what it answers, free of any wire format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

DialectName = Literal["chat", "responses", "messages", "gemini"]

MEMORY_BLOCK = re.compile(
    r"<memory_context>.*?</memory_context>\s*(?:The above are retrieved memories[^\n]*\s*)?",
    re.DOTALL,
)
_AGENT_BLOCK = re.compile(
    r"<(system-reminder|environment_context|user_instructions)>.*?</\1>\s*", re.DOTALL
)
_MEMORY_LABEL = re.compile(r"^\[MEMORY - [^\]]*\]\s*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_ASKS = re.compile(
    r"\?|^\s*(?:what|who|whose|where|when|which|why|how|do|does|did|is|are|can|tell|remind)\b",
    re.IGNORECASE,
)
_COMMON = frozenset(
    """
    a about am an and are as at be been but by can could did do does for from had has have
    he her him his how i if in is it its me my of on or our please remind she so tell than
    that the their them there they this to us was we were what when where which who whose
    why will with would you your s d ll m re t ve know
    """.split()
)

NOT_KNOWN = "I don't know."
NOTED = "Noted."


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a prompt, reduced to its text."""

    role: str
    text: str
    is_tool_result: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A request for a model's answer, the same in every wire format."""

    dialect: DialectName
    model: str
    serial: int = 0
    """Counts the requests of one provider; ids in answers are made from it."""
    messages: tuple[Message, ...] = ()
    """System prompts included, in the order in which the model reads them."""
    tools: tuple[str, ...] = ()
    streams: bool = False
    body: Mapping[str, Any] = field(default_factory=dict)
    """The decoded request, for scripts that look further."""

    @property
    def text(self) -> str:
        """Everything the model gets to read."""
        return "\n".join(m.text for m in self.messages if m.text)

    @property
    def question(self) -> str:
        """The last words of the user, without what agents and routers put around them."""
        for message in reversed(self.messages):
            if message.role == "user" and not message.is_tool_result:
                words = _words_of_user(message.text)
                if words:
                    return words
        return ""

    @property
    def memory(self) -> str:
        """The memory blocks in the prompt, in order, one after the other."""
        return "\n".join(m.group(0).rstrip() for m in MEMORY_BLOCK.finditer(self.text))

    @property
    def after_tool(self) -> bool:
        """Whether the prompt ends with the result of a tool."""
        said = [m for m in self.messages if m.role not in ("system", "developer")]
        return bool(said) and said[-1].is_tool_result

    @property
    def tokens(self) -> int:
        """A rough count, as providers report one in their usage."""
        return max(1, len(self.text) // 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of a client's tool; `custom` calls take free text, `arguments["input"]`."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    """Made up from the request's serial where it is empty."""
    custom: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to answer to one request, and how to go about it."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    stop: Literal["stop", "length", "refusal"] = "stop"
    usage: bool = True
    """False leaves the token counts out."""

    status: int = 200
    """From 400 on, the error body of the request's format is sent, or `body` where given."""
    message: str = "scripted failure"
    """Text of that error."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | dict[str, Any] | list[Any] | None = None
    """Sent in place of the format's own answer, `b""` included."""
    blocks: tuple[bytes, ...] | None = None
    """Sent one by one in place of the format's own stream."""
    content_type: str | None = None

    delay_s: float = 0
    """Before the headers."""
    pause_s: float = 0
    """Between events."""
    hold_after: int | None = None
    """Wait after so many events until the provider is told to `release`."""
    cut_after: int | None = None
    """Cut the connection after so many events."""
    cut_after_bytes: int | None = None
    """Cut the connection after so many bytes of the body, streamed or not."""
    error_after: int | None = None
    """After so many events, send the format's error event and end the stream."""
    gzip: bool = False

    when: str = ""
    """Only for a request with this text in its path or body; the queue is searched in order."""

    @property
    def tokens(self) -> int:
        return max(1, len(self.text) // 4)

    @property
    def words(self) -> list[str]:
        """The text in the pieces in which it is streamed."""
        return re.findall(r"\S+\s*|\s+", self.text)


def from_facts(prompt: Prompt) -> Answer:
    """Answer from nothing but the prompt.

    A question is answered with the sentences of the prompt that share the most words with it, or
    with `NOT_KNOWN`; anything else the user says is `NOTED`.
    """
    asking = [s for s in _sentences(prompt.question) if _ASKS.search(s)]
    if not asking:
        return Answer(text=NOTED)
    asked = _content_words(" ".join(asking))
    found: dict[str, int] = {}
    for sentence in _sentences(prompt.text):
        shared = len(asked & _content_words(sentence))
        if shared and _is_fact(sentence) and sentence not in asking:
            found.setdefault(sentence, shared)
    if not found:
        return Answer(text=NOT_KNOWN)
    best = max(found.values())
    return Answer(text=" ".join([s for s, shared in found.items() if shared == best][:3]))


def _words_of_user(text: str) -> str:
    return _AGENT_BLOCK.sub("", MEMORY_BLOCK.sub("", text)).strip()


def _sentences(text: str) -> list[str]:
    return [_MEMORY_LABEL.sub("", s.strip()) for s in _SENTENCE_END.split(text)]


def _is_fact(sentence: str) -> bool:
    return (
        not sentence.endswith("?")
        and sentence not in (NOT_KNOWN, NOTED)
        and not sentence.startswith("The above are retrieved memories")
    )


def _content_words(text: str) -> frozenset[str]:
    words = (w.removesuffix("'s") for w in re.findall(r"[^\W_]+(?:'s)?", text.casefold()))
    return frozenset(
        w[:-1] if len(w) > 3 and w.endswith("s") else w for w in words if w not in _COMMON
    )
