"""Which turns of a prompt are new: clients resend their whole history, each turn is kept once.

A turn is known by its chain: the digest of the conversation up to and including it. Equal words
at another place of a conversation have another chain, and are another turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from memrouter.domain import DIGEST_BYTES, Scope, Turn, turn_digest

SIZE = DIGEST_BYTES
digest = turn_digest
IMPLICIT = "auto_"
"""Starts the names of conversations that no client named."""


def root(scope: Scope) -> bytes:
    """Where the chains of a conversation start; conversations of other scopes never meet.

    A client may name a conversation by the name we gave it: its chains stay the same.
    """
    named = "" if scope.conversation.startswith(IMPLICIT) else scope.conversation
    seed = f"{scope.session}\0{named}".encode("utf-8", "replace")
    return blake2b(seed, digest_size=SIZE).digest()


def link(parent: bytes, own: bytes) -> bytes:
    """The chain of a turn with digest `own` that follows the one with chain `parent`."""
    return chains(parent, (own,))[0]


def chains(parent: bytes, digests: Sequence[bytes]) -> list[bytes]:
    """The chain of each turn, the first following `parent`."""
    found = []
    for own in digests:
        parent = blake2b(own, digest_size=SIZE, key=parent).digest()
        found.append(parent)
    return found


def prompt_keys(scope: Scope, turns: Sequence[Turn]) -> list[bytes]:
    """One key a message: digest of the scope and of the prompt up to and including the message.

    Names the context block that was injected there. Tool calls count by their ids, so that two
    conversations that begin alike part at their first tool call.
    """
    running = blake2b(root(scope), digest_size=SIZE)
    keys = []
    for turn in turns:
        ids = "\0".join((*turn.calls, *turn.answers))
        running.update(turn.digest)
        if ids:
            running.update(ids.encode("utf-8", "replace"))
        keys.append(running.copy().digest())
    return keys
