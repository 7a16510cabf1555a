"""What of a message its author wrote, and what an agent put there by itself."""

from __future__ import annotations

import re

AGENT_TAGS = (
    # Claude Code: reminders, slash commands, `!` commands and their output, background tasks
    "system-reminder",
    "command-name",
    "command-message",
    "command-args",
    "command-contents",
    "local-command-caveat",
    "local-command-stdout",
    "local-command-stderr",
    "bash-input",
    "bash-stdout",
    "bash-stderr",
    "task-notification",
    # Codex: context and instructions that it sends as user messages
    "environment_context",
    "user_instructions",
    "permissions instructions",
    "skills_instructions",
    "turn_aborted",
    "user_shell_command",
    # memrouter: a context block that a client sends back
    "memory_context",
)


def user_text(text: str) -> str:
    """What the user wrote of a user message; verbatim if no agent added to it."""
    return text


def assistant_text(text: str) -> str:
    """What the model said of an assistant message, without thinking it wrote into its text."""
    if "</think>" not in text:
        return text
    return _THINKING.sub("", text, count=1)


_THINKING = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)
