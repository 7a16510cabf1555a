"""What an answer's headers say of what the router did; `/v1` and `/v3` say it differently."""

from __future__ import annotations

from dataclasses import dataclass

from memrouter.domain import Recall
from memrouter.edge.asgi import Surface
from memrouter.edge.respond import header_value

Header = tuple[bytes, bytes]
_NOTHING = Recall()


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What is known of a request when its answer starts."""

    surface: Surface
    request_id: str
    session: str = ""
    conversation: str = ""
    recall: Recall | None = None
    """None where memory was off."""
    context_modified: bool = False
    prompt_tokens: int = 0
    """Tokens of the messages as the client sent them."""
    chunks_created: int = 0
    error: str = ""
    """What failed in memory; "" if nothing did."""
    started_s: float = 0.0
    """perf_counter readings: when the request came, when it left, when the provider answered."""
    sent_s: float = 0.0
    answered_s: float = 0.0

    @property
    def provider_ms(self) -> float:
        return (self.answered_s - self.sent_s) * 1000

    def own_ms(self, now_s: float) -> float:
        """Time spent in the router until `now_s`."""
        return (now_s - self.started_s) * 1000 - self.provider_ms

    def headers(self, now_s: float) -> list[Header]:
        """Headers to add to the answer."""
        said = [(b"x-request-id", self.request_id.encode())]
        return said + (self._v1(now_s) if self.surface == "v1" else self._v3())

    def _v1(self, now_s: float) -> list[Header]:
        recall = self.recall or _NOTHING
        said = [
            (b"x-mr-processing-ms", _ms(self.own_ms(now_s))),
            (b"x-provider-response-ms", _ms(self.provider_ms)),
            (b"x-total-ms", _ms((now_s - self.started_s) * 1000)),
            (b"x-memory-tokens-retrieved", str(recall.retrieved_tokens).encode()),
            (b"x-memory-tokens-injected", str(recall.tokens).encode()),
        ]
        if self.session:
            said.append((b"x-session-id", header_value(self.session)))
        if self.error:
            said.append((b"x-memory-error", header_value(self.error)))
        return said

    def _v3(self) -> list[Header]:
        recall = self.recall or _NOTHING
        said = [
            (b"x-supermemory-conversation-id", header_value(self.conversation)),
            (b"x-supermemory-context-modified", b"true" if self.context_modified else b"false"),
            (b"x-supermemory-tokens-processed", str(self.prompt_tokens).encode()),
            (b"x-supermemory-chunks-created", str(self.chunks_created).encode()),
            (b"x-supermemory-chunks-deleted", b"0"),
            (b"x-supermemory-docs-deleted", b"0"),
            (b"x-supermemory-chunks-retrieved", str(len(recall.hits)).encode()),
        ]
        if self.error:
            said.append((b"x-supermemory-error", header_value(self.error)))
        return said


def _ms(value: float) -> bytes:
    return b"%.2f" % (value if value > 0 else 0.0)
