"""The wire formats, by name."""

from __future__ import annotations

from memrouter.wire.format import WireFormat
from memrouter.wire.openai_chat import OpenAIChat

FORMATS: dict[str, WireFormat] = {f.name: f for f in (OpenAIChat(),)}
