"""Requests that a client makes for its own housekeeping: neither recalled for nor stored.

Few and certain rows: a row that matches a user's own words costs him his memory for that request.
"""

from __future__ import annotations

ASKED = (
    # Claude Code 2.1, side calls on the main conversation (program text; compaction and recap seen)
    "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.",  # compaction
    "Your task is to create a detailed summary of the conversation so far",  # compaction
    "Your task is to create a detailed summary of this conversation",
    "Your task is to create a detailed summary of the RECENT portion of the conversation",
    "[SUGGESTION MODE: Suggest what the user might naturally type next",
    "The user stepped away and is coming back. Recap in under 40 words",
    "Describe your most recent action in 3-5 words using present tense",
    "You are now acting as the memory extraction subagent.",
    "Please write a 5-10 word title for the following conversation",  # before 2.1
    # Codex: local compaction, memories of earlier sessions
    "You are performing a CONTEXT CHECKPOINT COMPACTION.",
    "Analyze this rollout and produce JSON with",
    # LibreChat: titles, by each of its three methods
    "Provide a concise, 5-word-or-less title for the conversation",
    "Analyze this conversation and provide:\n1. The detected language of the conversation",
    "Please generate a concise title (max 40 characters) for a conversation that starts with",
    # Open WebUI: emoji of a call, merged answers of several models, tools by prompt
    "Your task is to reflect the speaker's likely facial expression through a fitting emoji.",
    "You have been provided with a set of responses from various models to the latest user query",
    "Query: History:\n",
    # opencode: titles
    "Generate a title for this conversation:",
    # Gemini CLI: who speaks next
    "Analyze *only* the content and structure of your immediately preceding response",
)
"""How the last text of the last user message begins."""

TOLD = (
    # Claude Code 2.1 (title and name seen), and before 2.1
    "Generate a concise, sentence-case title (3-7 words) that captures the main topic",
    "You are naming a coding session so the user can pick it out",
    "Generate a short kebab-case name (2-4 words) that captures the main topic",
    "Write a short summary label describing what these tool calls accomplished.",
    "Analyze if this message indicates a new conversation topic.",
    "Summarize this coding conversation in under 50 characters.",
    "Your task is to process Bash commands that an AI coding agent wants to run.",
    # opencode: titles
    "You are a title generator. You output ONLY a thread title.",
    # Gemini CLI: compaction
    "You are the component that summarizes internal chat history into a given structure.",
)
"""What stands in the system prompt, at the beginning of one of its texts or messages."""

# Open WebUI: title, tags, follow-ups, queries, completions. Each is one user message that begins
# like this and holds the conversation in that tag; a user may well begin a prompt like this.
_TASK = "### Task:\n"
_TASK_HISTORY = "<chat_history>"


def is_chore(told: list[str], asked: str) -> bool:
    """Whether a request is a client's housekeeping.

    told   texts of the system prompt and of system messages
    asked  the last text of the last user message, as it was sent
    """
    asked = asked.lstrip()
    if asked.startswith(ASKED):
        return True
    if asked.startswith(_TASK) and _TASK_HISTORY in asked:
        return True
    return any(text.lstrip().startswith(TOLD) for text in told)
