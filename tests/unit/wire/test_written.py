"""What of a message its author wrote."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.wire.written import CLOSING, TAGS, assistant_text, user_text

BLOCK = f"<memory_context>\n[MEMORY - today] x\n</memory_context>\n\n{CLOSING}"

USER: dict[str, tuple[str, str]] = {
    "nothing added": ("  What is\n\n a tag?  \n", "  What is\n\n a tag?  \n"),
    "a reminder alone": ("<system-reminder>\nBe good.\n</system-reminder>\n", ""),
    "a reminder on one line": ("<system-reminder>Be good.</system-reminder>", ""),
    "a reminder before": (
        "<system-reminder>\nBe good.\n</system-reminder>\n\n  Fix it.",
        "  Fix it.",
    ),
    "a reminder after": ("Fix it.\n\n<system-reminder>\nx\n</system-reminder>\n", "Fix it."),
    "a reminder between": (
        "Fix it.\n<system-reminder>x</system-reminder>\nThen rest.",
        "Fix it.\nThen rest.",
    ),
    "two in a row": (
        "<system-reminder>a</system-reminder>\n<system-reminder>b</system-reminder>\nHi",
        "Hi",
    ),
    "tags without line breaks": (
        "<bash-stdout>x</bash-stdout><bash-stderr></bash-stderr>\nHi",
        "Hi",
    ),
    "indented tags of a command": (
        "<command-name>/c</command-name>\n      <command-message>c</command-message>\n"
        "      <command-args></command-args>",
        "",
    ),
    "attributes": ('<skill name="a" path="/b">\nx\n</skill>\nHi', "Hi"),
    "a tag with a space": ("<permissions instructions>x</permissions instructions>", ""),
    "carriage returns": ("<system-reminder>\r\nx\r\n</system-reminder>\r\nHi", "Hi"),
    "context of Codex": ("<environment_context>\n  <cwd>/x</cwd>\n</environment_context>", ""),
    "AGENTS.md of Codex": (
        "# AGENTS.md instructions for /x\n\n<INSTRUCTIONS>\nBe nice.\n</INSTRUCTIONS>",
        "",
    ),
    "AGENTS.md of a user": ("# AGENTS.md instructions\nHow do I write them?",) * 2,
    "open files of Codex": (
        "# Context from my IDE setup:\n\n## Open tabs:\n- a\n\n## My request for Codex:\nFix it.\n",
        "Fix it.",
    ),
    "continued after compaction": (
        "This session is being continued from a previous conversation that ran out of context. "
        "The summary below covers the earlier portion of the conversation.\n\nThe cat.",
        "",
    ),
    "an interrupt": ("[Request interrupted by user for tool use]", ""),
    "documents of Open WebUI": (
        "### Task:\nRespond to the user query using the provided context, with citations.\n\n"
        "<context>\n<source id='1'>a </context> b</source>\n</context>\n\nWhat is it?",
        "What is it?",
    ),
    "documents of Open WebUI, older": (
        "### Task:\nRespond to the user query using the provided context.\n<context>\na\n"
        "</context>\n\n<user_query>\nWhat is it?\n</user_query>\n",
        "What is it?",
    ),
    "a prompt that begins alike": ("### Task:\nWrite a poem.",) * 2,
    "Cursor": (
        "<user_info>\nlinux\n</user_info>\n<user_query>\nFix it.\n</user_query>",
        "Fix it.",
    ),
    "Copilot": (
        "<context>\nThe date is today.\n</context>\n<userRequest>\nFix it.\n</userRequest>\n",
        "Fix it.",
    ),
    "Cline": ("Fix it.\n\n<environment_details>\n# Files\n</environment_details>", "Fix it."),
    "our own block": (f"{BLOCK}\n\nHello", "Hello"),
    "our own block alone": (BLOCK, ""),
    "our own block without its sentence": (
        "<memory_context>\nx\n</memory_context>\n\nHello",
        "\nHello".strip("\n"),
    ),
    "talks about a tag": ("Why does <system-reminder>x</system-reminder> show up?",) * 2,
    "a tag in mid-sentence that ends a line": ("I see <system-reminder>x</system-reminder>",) * 2,
    "an opening tag at the start of a line": ("<system-reminder> is a tag, what for?",) * 2,
    "never closed": ("<system-reminder>\nx\nHi",) * 2,
    "closed within a line": ("<system-reminder>x</system-reminder> is what I see",) * 2,
    "other tags": ("<div>\nHi\n</div>\n<b>x</b>",) * 2,
    "a longer name": ("<skillset>\nx\n</skillset>",) * 2,
    "our sentence alone": (f"{CLOSING}\nWhat is that?",) * 2,
    "empty": ("", ""),
}


@pytest.mark.parametrize(("text", "words"), USER.values(), ids=USER)
def test_user(text: str, words: str) -> None:
    assert user_text(text) == words


@pytest.mark.parametrize("tag", TAGS)
def test_every_tag_is_cut(tag: str) -> None:
    assert user_text(f"Before.\n<{tag}>\nx\n</{tag}>\nAfter.") == "Before.\nAfter."
    assert user_text(f"Before <{tag}> after.") == f"Before <{tag}> after."


ASSISTANT: dict[str, tuple[str, str]] = {
    "plain": (" Hi.\n", " Hi.\n"),
    "thinking first": ("<think>\nhm\n</think>\n\nHi.", "Hi."),
    "thinking, longer name": ("<thinking>hm</thinking>Hi.", "Hi."),
    "thinking that never ends": ("<think>\nhm", ""),
    "thinking as Open WebUI shows it": (
        '<details type="reasoning" done="true">\n<summary>x</summary>\n</details>\nHi.',
        "Hi.",
    ),
    "speaks of the tag": ("Write <think>x</think> to think.",) * 2,
    "other details": ("<details>\n<summary>a</summary>\n</details>",) * 2,
}


@pytest.mark.parametrize(("text", "words"), ASSISTANT.values(), ids=ASSISTANT)
def test_assistant(text: str, words: str) -> None:
    assert assistant_text(text) == words


PIECES = (
    f"<{TAGS[0]}>",
    f"</{TAGS[0]}>",
    "<memory_context>",
    "</memory_context>",
    CLOSING,
    "<user_query>",
    "</user_query>",
    "<think>",
    "</think>",
    *("\n", " ", "word", "<", ">"),
)


@given(st.lists(st.sampled_from(PIECES)))
def test_never_more_than_was_written(pieces: list[str]) -> None:
    text = "".join(pieces)
    for read in (user_text, assistant_text):
        words = read(text)
        assert len(words) <= len(text)


def test_hostile_texts_take_linear_time() -> None:
    opened = "".join(f"<{tag}>\n" for tag in TAGS) * 20_000
    closed = "<system-reminder>\n</system-reminder> x\n" * 100_000
    wrapped = "<user_query>" * 200_000 + "</user_query>"
    thought = "<think>" * 300_000
    start = time.perf_counter()
    for text in (opened, closed, wrapped, thought, "\n" * 2_000_000, " <" * 1_000_000):
        user_text(text)
        assistant_text(text)
    assert time.perf_counter() - start < 10
