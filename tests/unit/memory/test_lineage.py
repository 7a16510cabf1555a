from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.domain import Role, Scope, Turn, VaultId
from memrouter.memory import lineage

CORE = Scope(vault=VaultId("v"))

texts = st.text(max_size=5)
roles: st.SearchStrategy[Role] = st.sampled_from(["user", "assistant"])


def scope(session: str = "", conversation: str = "") -> Scope:
    return Scope(vault=VaultId("v"), session=session, conversation=conversation)


def said(*texts: str) -> list[Turn]:
    return [Turn(role="assistant" if i % 2 else "user", text=t) for i, t in enumerate(texts)]


# --- digests ---

SAME: dict[str, tuple[str, str]] = {
    "white space around": ("hello", "  hello\n"),
    "any white space": ("hello", "\u2003hello\u2028"),
}
OTHER: dict[str, tuple[str, str]] = {
    "another word": ("hello", "hello."),
    "case": ("hello", "Hello"),
    "white space inside": ("a b", "a  b"),
    "composed otherwise": ("é", "e\u0301"),
    "a NUL": ("a", "a\0"),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_the_same_turn_has_one_digest(one: str, other: str) -> None:
    assert lineage.digest("user", one) == lineage.digest("user", other)


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_another_turn_has_another_digest(one: str, other: str) -> None:
    assert lineage.digest("user", one) != lineage.digest("user", other)


def test_who_said_it_counts() -> None:
    assert lineage.digest("user", "yes") != lineage.digest("assistant", "yes")


@given(st.text(st.characters(), max_size=9) | st.just("\ud800"))
def test_every_text_has_a_digest(text: str) -> None:
    assert len(lineage.digest("user", text)) == lineage.SIZE


# --- chains ---


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=6), st.integers(0, 6))
def test_a_chain_goes_on_where_another_ended(digests: list[bytes], at: int) -> None:
    start = lineage.root(CORE)
    whole = lineage.chains(start, digests)
    head = lineage.chains(start, digests[:at])
    tail = lineage.chains(head[-1] if head else start, digests[at:])
    assert whole == head + tail


def test_equal_words_at_another_place_are_another_turn() -> None:
    yes = lineage.digest("user", "yes")
    chains = lineage.chains(lineage.root(CORE), [yes, yes, yes])
    assert len(set(chains)) == 3


def test_a_chain_depends_on_all_before_it() -> None:
    digests = [lineage.digest("user", text) for text in "abc"]
    one = lineage.chains(lineage.root(CORE), digests)
    other = lineage.chains(lineage.root(CORE), [digests[1], digests[0], digests[2]])
    assert one[2] != other[2]


SCOPES = {
    "core": scope(),
    "a session": scope("s"),
    "a conversation": scope("", "s"),
    "both": scope("s", "s"),
    "other session": scope("t", "s"),
    "other conversation": scope("s", "t"),
    "names run together": scope("ss"),
}


def test_conversations_of_other_scopes_never_meet() -> None:
    assert len({lineage.root(s) for s in SCOPES.values()}) == len(SCOPES)


# --- keys of a prompt ---


@given(st.lists(st.tuples(roles, texts), min_size=1, max_size=6), st.integers(1, 6))
def test_keys_of_a_longer_prompt_begin_with_those_of_a_shorter(
    spoken: list[tuple[Role, str]], at: int
) -> None:
    turns = [Turn(role=role, text=text) for role, text in spoken]
    assert lineage.prompt_keys(CORE, turns)[:at] == lineage.prompt_keys(CORE, turns[:at])


def test_every_message_has_its_own_key() -> None:
    keys = lineage.prompt_keys(CORE, said("yes", "yes", "yes", "yes"))
    assert len(set(keys)) == 4


CHANGES: dict[str, dict[str, Any]] = {
    "the text": {"text": "other"},
    "the role": {"role": "assistant"},
    "a tool call": {"calls": ("call_1",)},
    "a tool result": {"answers": ("call_1",)},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_a_prompt_changes_the_keys_from_there_on(change: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"role": "user", "text": "b"}
    before = [Turn(role="user", text="a"), Turn(**plain), Turn(role="user", text="c")]
    after = [before[0], Turn(**{**plain, **change}), before[2]]
    old, new = lineage.prompt_keys(CORE, before), lineage.prompt_keys(CORE, after)
    assert old[0] == new[0]
    assert old[1] != new[1]
    assert old[2] != new[2]


def test_two_conversations_part_at_their_first_tool_call() -> None:
    def prompt(call: str) -> list[Turn]:
        return [
            Turn(role="user", text="weather?"),
            Turn(role="assistant", text="", calls=(call,)),
            Turn(role="tool", text="", answers=(call,)),
        ]

    one, other = (lineage.prompt_keys(CORE, prompt(call)) for call in ("call_1", "call_2"))
    assert [a == b for a, b in zip(one, other, strict=True)] == [True, False, False]


def test_keys_are_of_one_scope() -> None:
    keys = {lineage.prompt_keys(s, said("a"))[0] for s in SCOPES.values()}
    assert len(keys) == len(SCOPES)


def test_keys_never_pass_for_chains() -> None:
    turns = said("a", "b", "c")
    chains = lineage.chains(
        lineage.root(CORE), [lineage.digest(turn.role, turn.text) for turn in turns]
    )
    assert not set(chains) & set(lineage.prompt_keys(CORE, turns))


def test_what_was_computed_yesterday_is_computed_today() -> None:
    """Digests are stored: another number here orphans every vault that there is."""
    digest = lineage.digest("user", "My dog is called Rex.")
    assert digest.hex() == "52548661e230747c8eb2265f9d1829ce"
    assert lineage.root(scope("s", "c")).hex() == "5fa8bd4a34fa1ca82fc8e6ab07e2f52b"
    assert (
        lineage.link(lineage.root(scope("s", "c")), digest).hex()
        == "92fab5a0485574663f1bc8f5ce15992b"
    )
