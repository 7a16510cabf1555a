"""How each wire format asks and is answered, as the providers' own servers do it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from memrouter.testing.script import Answer, DialectName, Prompt


class Dialect(Protocol):
    """One wire format, from the provider's side. Pure."""

    name: DialectName

    def read(self, path: str, query: str, body: dict[str, Any], serial: int) -> Prompt:
        """The prompt in a request; raises ValueError where the provider would answer 400."""
        ...

    def whole(self, prompt: Prompt, answer: Answer) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        ...

    def events(self, prompt: Prompt, answer: Answer) -> Iterator[bytes]:
        """The blocks of a streamed answer, one event each."""
        ...

    def error(self, status: int, message: str) -> dict[str, Any]:
        """The body of an error."""
        ...

    def error_event(self, prompt: Prompt, message: str) -> bytes:
        """An error inside a stream that began well."""
        ...

    def content_type(self, prompt: Prompt) -> str:
        """Of a streamed answer."""
        ...
