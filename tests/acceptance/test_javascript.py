"""The JavaScript SDKs, through the router, streamed and not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from memrouter.testing.script import NOT_KNOWN, NOTED

from . import npm
from .conftest import ServedProvider
from .stack import Router

SDKS = [
    "openai_chat",
    "openai_responses",
    "anthropic",
    "genai",
    "vercel_chat",
    "vercel_responses",
]


def ask(sdk: str, url: str, key: str, *questions: tuple[str, bool]) -> list[str]:
    """Run one SDK in a process of its own."""
    node = npm.node()
    folder = npm.installed("js")
    shutil.copy(npm.HERE / "js" / "ask.mjs", folder / "ask.mjs")
    request: dict[str, Any] = {
        "url": url,
        "key": key,
        "ask": [{"text": text, "stream": stream} for text, stream in questions],
    }
    done = subprocess.run(
        [node, "ask.mjs", sdk, json.dumps(request)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "AI_SDK_LOG_WARNINGS": "false"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers: list[str] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize("sdk", SDKS)
def test_javascript_sdks_remember(
    router: Router, provider: ServedProvider, key: str, sdk: str
) -> None:
    question = "What is my dog called?"
    answers = ask(
        sdk,
        router.url,
        key,
        (question, False),
        ("My dog is called Rex.", True),
        (question, False),
        (question, True),
    )
    fact = "My dog is called Rex."
    assert answers == [NOT_KNOWN, NOTED, fact, fact]
    assert router.ask(key, question) == fact  # one vault, whatever the format
    assert all(fact not in p.memory for p in provider.prompts[:1])
