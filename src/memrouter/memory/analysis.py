"""Text to index terms: one pure function for what is stored, one for what is asked.

Both take the same steps, so that a term means the same in a memory and in a query: NFKC, case
folded, words; accents dropped and English endings cut for Latin words; scripts written without
spaces become characters and pairs of characters. The store keeps terms as 32-bit hashes, so that
nothing here depends on a database's tokenizer.
"""

from __future__ import annotations

import re
import threading
import unicodedata
import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import Stemmer

VERSION = 1
"""Another number for every change of a rule below: stored terms must then be made anew."""

# Scripts without spaces, and Hangul, whose words carry their particles: read as pairs.
_PAIRED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uac00-\ud7a3\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_PAIRED}]+|[^\W{_PAIRED}]+")
_PAIRED_RUN = re.compile(rf"[{_PAIRED}]")
_LONGEST_WORD = 64
"""Characters of a word that count: longer ones are encoded data."""

FUNCTION_WORDS = frozenset(
    """a an and are as at be been being but by can could d did do does doing for from had has have
    having he her hers him his how i if in into is it its just ll m may me might my no not of on or
    our ours re s shall she should so some t than that the their theirs them then there these they
    this those to too us ve was we were what when where which while who whom whose why will with
    would you your yours""".split()
)
"""How something is asked, not what about: never index terms."""

CHATTER = frozenset(
    """hi hello hey hiya yo bye goodbye thanks thank thx ok okay yes yeah yep nope sure great good
    nice cool wow amazing awesome perfect lol haha sorry please welcome morning evening night
    afternoon sounds sound well right fine alright got get go going see meet later today now tell
    explain repeat again continue mean help understand question answer try write make shorter
    longer funny exactly wrong want like know think let much really very never mind here thing
    things something anything everything lot one up down""".split()
)
"""Small talk and commands to a model: index terms, but nothing is recalled for them alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryWord:
    """A word of a query, as it is looked for."""

    word: str
    """Lower case, as it stands in the query."""
    terms: tuple[int, ...]
    """Hashes of its index terms; none for function words."""
    topical: bool
    """Whether it says what the query is about: no function word, no small talk."""


def index_terms(text: str, created: datetime) -> bytes:
    """The hashed terms a chunk is found under, the words of its day among them, with repetition."""
    return hashed((*terms(text), *terms(day(created))))


def terms(text: str) -> list[str]:
    """The index terms of a text in order, as often as they occur; no function words."""
    found: list[str] = []
    for match in _WORD.finditer(_normal(text)):
        word = match[0]
        if _PAIRED_RUN.match(word):
            found.extend(word)
            found.extend(_pairs(word))
        elif word not in FUNCTION_WORDS:
            found.append(stem(word[:_LONGEST_WORD]))
    return found


def query_words(text: str) -> list[QueryWord]:
    """The words of a query, in order."""
    return [_query_word(match[0]) for match in _WORD.finditer(_normal(text))]


def day(created: datetime) -> str:
    """A day in words, so that "in May 2023" finds what was said then."""
    return f"{created.astimezone(UTC):%-d %B %Y}"


def hashed(words: Iterable[str]) -> bytes:
    """Terms as little-endian uint32 CRC-32 values: the same in every process, 4 bytes each."""
    return array("I", map(term_hash, words)).tobytes()


@lru_cache(maxsize=65_536)
def term_hash(term: str) -> int:
    """The 32-bit hash of a term."""
    return zlib.crc32(term.encode("utf-8", "replace"))


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """A word without accents and English endings; words of other alphabets only lose accents."""
    plain = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
    return str(_stemmer().stemWord(plain)) if plain.isascii() else plain


_local = threading.local()  # a stemmer is not to be shared between threads


def _stemmer() -> Any:
    if not hasattr(_local, "stemmer"):
        _local.stemmer = Stemmer.Stemmer("english", 0)
    return _local.stemmer


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)]


def _query_word(word: str) -> QueryWord:
    if _PAIRED_RUN.match(word):
        pairs = tuple(map(term_hash, _pairs(word) or [word]))
        return QueryWord(word=word, terms=pairs, topical=True)
    if word in FUNCTION_WORDS:
        return QueryWord(word=word, terms=(), topical=False)
    own = (term_hash(stem(word[:_LONGEST_WORD])),)
    return QueryWord(word=word, terms=own, topical=word not in CHATTER)
