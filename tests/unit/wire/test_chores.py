"""Clients' housekeeping, and users' words that look like it."""

from __future__ import annotations

import pytest

from memrouter.wire.chores import ASKED, TOLD, is_chore


@pytest.mark.parametrize("beginning", ASKED)
def test_asked(beginning: str) -> None:
    assert is_chore([], f"\n{beginning} and more")
    assert not is_chore([], f"Why did it say: {beginning}")


@pytest.mark.parametrize("beginning", TOLD)
def test_told(beginning: str) -> None:
    assert is_chore(["Some preamble", f"{beginning} and more"], "My cat is called Tom")
    assert not is_chore([], beginning)


@pytest.mark.parametrize(
    "asked",
    [
        "### Task:\nWrite a title for my novel about a cat.",
        "What is a <chat_history> tag?",
        "Summarise our conversation.",
        "Give this chat a title.",
        "",
    ],
)
def test_a_users_own_words(asked: str) -> None:
    assert not is_chore(["You are a helpful assistant."], asked)


def test_open_webui() -> None:
    task = "### Task:\nSuggest 3-5 relevant follow-up questions\n<chat_history>\nx\n</chat_history>"
    assert is_chore([], task)
