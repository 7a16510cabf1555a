"""The wire formats, by name."""

from __future__ import annotations

from memrouter.wire.anthropic_messages import AnthropicMessages
from memrouter.wire.format import WireFormat
from memrouter.wire.gemini_generate import GeminiGenerate
from memrouter.wire.openai_chat import OpenAIChat
from memrouter.wire.openai_responses import OpenAIResponses

_ALL: tuple[WireFormat, ...] = (
    OpenAIChat(),
    OpenAIResponses(),
    AnthropicMessages(),
    GeminiGenerate(),
)
FORMATS: dict[str, WireFormat] = {wire.name: wire for wire in _ALL}
