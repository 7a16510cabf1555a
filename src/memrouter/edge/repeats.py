"""Answers that are given again when a request is sent again, as retries are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Given(Generic[T]):
    answer: T
    state: Hashable
    at: datetime


class Repeats(Generic[T]):
    """The answers of the last minute, by what was asked and the state that it was asked of."""

    def __init__(self, *, kept: int = 256, age: timedelta = timedelta(minutes=1)) -> None:
        self._given: OrderedDict[Hashable, _Given[T]] = OrderedDict()
        self._kept = kept
        self._age = age

    def get(self, asked: Hashable, state: Hashable, now: datetime) -> T | None:
        """What was answered a moment ago; None if nothing, or the state is another one."""
        given = self._given.get(asked)
        if given is None or given.state != state or abs(now - given.at) >= self._age:
            return None
        return given.answer

    def put(self, asked: Hashable, state: Hashable, now: datetime, answer: T) -> T:
        """Keep an answer, and return it."""
        self._given[asked] = _Given(answer, state, now)
        self._given.move_to_end(asked)
        while len(self._given) > self._kept:
            self._given.popitem(last=False)
        return answer
