"""Text to index terms: one pure function for what is stored, one for what is asked.

Both take the same steps, so that a term means the same in a memory and in a query: NFKC, case
folded, words; accents dropped and English endings cut for Latin words; scripts written without
spaces become characters and pairs of characters. A name in front of a text ("Ann: …") is a term of
its own kind as well, so that a question that names who said it can tell. The store keeps terms as
32-bit hashes, so that nothing here depends on a database's tokenizer.
"""

from __future__ import annotations

import re
import threading
import unicodedata
import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import Stemmer

from memrouter.memory import vocabulary
from memrouter.native import compiled

VERSION = 2
"""Another number for every change of a rule below: stored terms must then be made anew."""

# Scripts without spaces, and Hangul, whose words carry their particles: read as pairs.
_PAIRED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uac00-\ud7a3\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_PAIRED}]+|[^\W{_PAIRED}]+")
_PAIRED_RUN = re.compile(rf"[{_PAIRED}]")
_NOT_LATIN = re.compile(
    r"[^\x00-\u012f\u0132-\u017e\u0180-\u024f\u2000-\u206f\u20a0-\u20bf\u2190-\u23ff\u2500-\u2bff"
    r"\ufe0f\U0001f300-\U0001faff]"
)
"""All but Latin letters, punctuation, symbols and emoji; of letters none whose case is odd."""
# Without these a text is mostly in NFKC, which is then known at once. They are usual in Chinese, in
# what a word processor made, in French, in Thai and in Lao.
_SIGNS = [(c, unicodedata.normalize("NFKC", c)) for c in "…，！？：；（）～％"]
_COMMON = [(c, unicodedata.normalize("NFKC", c)) for c in "\u00a0\u202f\u3000\u0e33\u0eb3"]
LONGEST_WORD = 64
"""Characters of a word that count: longer ones are encoded data."""
_DATE = r"(?:\([^()\n]{0,40}\)|\[[^\[\]\n]{0,40}\])"
_NAME = r"[^\W\d_](?:[^\W\d_]|[.'’-]){0,30}"
_AUTHOR = re.compile(rf"\s*(?:{_DATE}\s*)?({_NAME}(?: {_NAME}){{0,2}})\s*{_DATE}?\s*:\s")
_COLONS = ":：︓﹕⩴"
"""What is a colon in NFKC, or has one."""
_LONGEST_NAME = 200
"""Characters in front of a text in which a name is looked for."""
_NO_AUTHOR = frozenset(
    """note notes ps nb todo fyi tldr question answer example warning update edit re fwd q a
    user assistant human ai""".split()
)
"""Words before a colon that name no one."""

_SELF_SIGNS = re.compile("[我俺僕私]|わたし|ぼく|うちの|제가|저는|나는|내가|우리")
_ASKS = "do can did may should could would must shall".split()
_SAYS = r"\b(?=(?:i|we)\b)" + "".join(rf"(?<!\b{verb} )" for verb in _ASKS) + "(?:i|we)"
_SAYS_I = re.compile(_SAYS, re.IGNORECASE)
_STATES = re.compile(
    rf"{_SAYS}|\b(?:{'|'.join(sorted(vocabulary.OWN))})\b",
    re.IGNORECASE,
)
_ODD_CASE = re.compile("[\u0130\u0131\u017f\u1c80-\u1c88\u212a]")
"""Letters that are like others for an expression that ignores case, and whose lower case is not."""
_RUN = re.compile(r"\w+")
SPEAKS_OF_SELF = "\0self"
"""The term of texts in which the author says something of themselves."""
_SELF_HASH = zlib.crc32(SPEAKS_OF_SELF.encode()).to_bytes(4, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryWord:
    """A word of a query, as it is looked for; wherever it stands, it is the same."""

    word: str
    """Lower case, as it stands in the query."""
    terms: tuple[int, ...]
    """Hashes of its index terms; none for function words."""
    topical: bool
    """Whether it says what the query is about: no function word, no small talk."""
    named: bool = False
    """Whether it is written like a name: with a capital, and not for starting a sentence."""


def index_terms(text: str, created: datetime) -> bytes:
    """The hashed terms a chunk is found under, with repetition.

    Those of its words, of its day in words, of its author where the text begins with a name, and
    SPEAKS_OF_SELF where it does.
    """
    signed = _signed(text)
    whole = normal(signed)
    if _native is None:
        found, speaks = hashed(_terms_of(whole)), _speaks_of_self(text)
    else:
        found, said = _native.index(whole, _known, _learned)
        if said < 0 or whole != signed:
            speaks = _speaks_of_self(text)
        else:
            speaks = said in {1, 3} or (said == 2 and _SELF_SIGNS.search(text) is not None)
    parts = [found, _day_hashes(created.astimezone(UTC).date())]
    if author := author_of(text):
        parts.append(_author_hashes(author))
    if speaks:
        parts.append(_SELF_HASH)
    return b"".join(parts)


_OWN, _SPEAKER, _ASKING, _ODD = 1, 2, 4, 8
_known: dict[str, bytes] = {}
_MOST_KNOWN = 32_768
"""Words that are kept with their terms, some 150 bytes each: more than a language's common ones."""


def _learned(written: str) -> bytes:
    """A byte of marks and the hashed terms of a word, which is kept if it may come again."""
    word = written.lower()
    marks = (
        _OWN * (word in vocabulary.OWN)
        | _SPEAKER * (word in {"i", "we"})
        | _ASKING * (word in _ASKS)
        | _ODD * (not written.isascii() and _ODD_CASE.search(written) is not None)
    )
    learned = bytes((marks,)) + hashed(_terms_of(written))
    if len(written) <= LONGEST_WORD:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[written] = learned
    return learned


@lru_cache(maxsize=1_024)
def _day_hashes(created: date) -> bytes:
    return hashed(terms(f"{created:%-d %B %Y}"))


@lru_cache(maxsize=1_024)
def _author_hashes(name: str) -> bytes:
    return hashed(author_terms(name))


def _speaks_of_self(text: str) -> bool:
    plain = text.isascii()
    if not plain and _ODD_CASE.search(text):
        return bool(_STATES.search(text) or _SELF_SIGNS.search(text))
    # The same in a fraction of the time: the expression tries each of its words at each letter.
    words = set(_RUN.findall(text.lower()))
    if not words.isdisjoint(vocabulary.OWN):
        return True
    if not words.isdisjoint(("i", "we")) and _SAYS_I.search(text):
        return True
    return not plain and _SELF_SIGNS.search(text) is not None


def author_of(text: str) -> str | None:
    """The name in front of a text, as in "Ann: …" or "Ann Lee (8 May 2023): …"; None without."""
    head = text[:_LONGEST_NAME]
    if not any(colon in head for colon in _COLONS):
        return None
    match = _AUTHOR.match(normal(head))
    if match is None:
        return None
    name = match[1]
    return None if name[0].islower() or name.casefold() in _NO_AUTHOR else name


def author_terms(name: str) -> list[str]:
    """The terms under which what a named person said is found: one a word of the name."""
    found: list[str] = []
    for match in _WORD.finditer(normal(name)):
        word = match[0].casefold()
        parts = (_pairs(word) or [word]) if _PAIRED_RUN.match(word) else [stem(word)]
        found.extend(f"\0by {part}" for part in parts)
    return found


def terms(text: str) -> list[str]:
    """The index terms of a text in order, as often as they occur; no function words."""
    return _terms_of(normal(text))


def _terms_of(whole: str) -> list[str]:
    found: list[str] = []
    for match in _WORD.finditer(whole):
        word = match[0].casefold()
        if _PAIRED_RUN.match(word):
            found.extend(word)
            found.extend(_pairs(word))
        elif word not in vocabulary.FUNCTION_WORDS:
            found.append(stem(word[:LONGEST_WORD]))
    return found


def query_words(text: str) -> list[QueryWord]:
    """The words of a query, in order."""
    whole = normal(text)
    return [
        query_word(
            match[0],
            inside=match[0][0].isupper() and _inside(whole, match.start()),
            negated=_negated(whole, match),
        )
        for match in _WORD.finditer(whole)
    ]


def starts(text: str) -> list[int]:
    """Where each word of a query stands that is in NFKC."""
    return [match.start() for match in _WORD.finditer(text)]


def latin(text: str) -> bool:
    """Whether a query in NFKC has only letters that are Latin, none of them like another without
    its case, so that an expression for Latin words finds those of `query_words` and nothing else.
    """
    return text.isascii() or not _NOT_LATIN.search(text)


def of_self(word: str) -> bool:
    """Whether by a word of a query the one who asks speaks of themselves."""
    return word in vocabulary.FIRST_PERSON or bool(not word.isascii() and _SELF_SIGNS.search(word))


def normal(text: str) -> str:
    """A text in NFKC: one form for what looks alike."""
    if text.isascii():
        return text
    text = _signed(text)
    for written, plain in _COMMON:
        text = text.replace(written, plain)
    return unicodedata.normalize("NFKC", text)


def _signed(text: str) -> str:
    """A text with some signs in NFKC, none of them part of a word, nor any that they become."""
    if not text.isascii():
        for written, plain in _SIGNS:
            text = text.replace(written, plain)
    return text


def day(created: datetime) -> str:
    """A day in words, so that "in May 2023" finds what was said then."""
    return f"{created.astimezone(UTC):%-d %B %Y}"


def hashed(words: Iterable[str]) -> bytes:
    """Terms as little-endian uint32 CRC-32 values: the same in every process, 4 bytes each."""
    return array("I", map(term_hash, words)).tobytes()


@lru_cache(maxsize=16_384)
def term_hash(term: str) -> int:
    """The 32-bit hash of a term."""
    return zlib.crc32(term.encode("utf-8", "replace"))


@lru_cache(maxsize=16_384)
def stem(word: str) -> str:
    """A word without accents and English endings; words of other alphabets only lose accents."""
    if not word.isascii():
        parts = unicodedata.normalize("NFD", word)
        word = "".join(c for c in parts if not unicodedata.combining(c))
    return str(_stemmer().stemWord(word)) if word.isascii() else word


_local = threading.local()  # a stemmer is not to be shared between threads


def _stemmer() -> Any:
    if not hasattr(_local, "stemmer"):
        _local.stemmer = Stemmer.Stemmer("english", 0)
    return _local.stemmer


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)]


def _inside(text: str, at: int) -> bool:
    """Whether something stands before a place that ends no sentence."""
    before = text[max(0, at - 3) : at].rstrip("\"'“‘(* ")
    return bool(before) and before[-1] not in ".!?:\n"


def _negated(text: str, match: re.Match[str]) -> bool:
    """Whether a word is one like don't and isn't."""
    return text.startswith(("'t", "’t", "'T", "’T"), match.end())


def query_word(written: str, *, inside: bool, negated: bool) -> QueryWord:
    """A word as it is written in a query.

    inside   whether it has a capital without starting a sentence
    negated  whether it is one like don't and isn't
    """
    word = written.casefold()
    terms: tuple[int, ...] = ()
    topical = named = False
    if _PAIRED_RUN.match(word):
        terms = tuple(map(term_hash, _pairs(word) or [word]))
        topical = word not in vocabulary.CHATTER
    elif word not in vocabulary.FUNCTION_WORDS:
        terms = (term_hash(stem(word[:LONGEST_WORD])),)
        # Small numbers stand in the words of every day: they say little of a topic.
        small = word.isdigit() and len(word) <= 2
        topical = not (word in vocabulary.CHATTER or negated or small)
        named = inside
    return QueryWord(word=word, terms=terms, topical=topical, named=named)


_native: Any = compiled("text")
