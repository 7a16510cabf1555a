"""How many LLM tokens a text has, estimated at the speed of a copy."""

from __future__ import annotations

IMAGE_TOKENS = 1_000
AUDIO_TOKENS = 500
FILE_TOKENS = 3_000
MESSAGE_TOKENS = 4
CALL_TOKENS = 8


def estimate(text: str) -> int:
    """Estimated tokens of a text; 0 for ""."""
    return (len(text) + 3) // 4
