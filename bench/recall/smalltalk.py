"""What must not bring up memories."""

from __future__ import annotations

import tomllib
from pathlib import Path

MATERIAL = Path(__file__).parent / "material" / "smalltalk.toml"
KINDS = {
    "small_talk": "small talk",
    "chores": "chores",
    "never_said": "never said",
}


def sayings() -> dict[str, list[str]]:
    """Kind → what a user might say."""
    return dict(tomllib.loads(MATERIAL.read_text("utf-8")))
