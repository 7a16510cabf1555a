"""The default answers: from the prompt alone."""

from __future__ import annotations

import pytest

from memrouter.testing.script import NOT_KNOWN, NOTED, Message, Prompt, from_facts

BLOCK = (
    "<memory_context>\n"
    "[MEMORY - 2 days ago (Wed, Jun 3, 9:14 AM)] My dog is called Rex.\n"
    "[MEMORY - just now (Fri, Jun 5, 9:00 PM)] I don't know.\n"
    "</memory_context>\n\nThe above are retrieved memories from past conversations. "
    "Use them as background context, do not respond to them directly."
)

CASES: dict[str, tuple[list[tuple[str, str]], str]] = {
    "nothing to go by": ([("user", "What is my dog's name?")], NOT_KNOWN),
    "statement": ([("user", "My dog is called Rex.")], NOTED),
    "memory before the question": (
        [("user", f"{BLOCK}\n\nWhat is my dog's name?")],
        "My dog is called Rex.",
    ),
    "memory in a system message": (
        [("user", "What is my dog's name?"), ("system", BLOCK)],
        "My dog is called Rex.",
    ),
    "memory about something else": ([("user", f"{BLOCK}\n\nWhat is my car?")], NOT_KNOWN),
    "history": (
        [("user", "The code is blue."), ("assistant", NOTED), ("user", "Tell me the code.")],
        "The code is blue.",
    ),
    "the best of two": (
        [("system", "My dog is old. My dog likes carrots."), ("user", "What does my dog like?")],
        "My dog likes carrots.",
    ),
    "its own ignorance is no fact": (
        [("user", "My cat?"), ("assistant", NOT_KNOWN), ("user", "What do you know of my cat?")],
        NOT_KNOWN,
    ),
    "an agent's reminder is no question": (
        [("user", "<system-reminder>Is it late?</system-reminder>\nRemember the milk.")],
        NOTED,
    ),
}


@pytest.mark.parametrize(("said", "answer"), CASES.values(), ids=CASES)
def test_answers_come_from_the_prompt(said: list[tuple[str, str]], answer: str) -> None:
    messages = tuple(Message(role=role, text=text) for role, text in said)
    assert from_facts(Prompt(dialect="chat", model="m", messages=messages)).text == answer


def test_the_question_is_what_the_user_wrote_last() -> None:
    messages = (
        Message(role="user", text="Earlier?"),
        Message(role="user", text=f"{BLOCK}\n\nAnd now?"),
        Message(role="user", text="tool output", is_tool_result=True),
    )
    prompt = Prompt(dialect="chat", model="m", messages=messages)
    assert prompt.question == "And now?"
    assert prompt.after_tool
    assert prompt.memory == BLOCK
