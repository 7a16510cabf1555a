from __future__ import annotations

import gzip
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.edge import decoding
from memrouter.edge.decoding import Decoder

TEXT = b'{"choices": [{"message": {"content": "Rex"}}]}' * 20


def headless(data: bytes) -> bytes:
    """Deflate without the zlib head, as some servers send it."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def flushed(data: bytes) -> bytes:
    """Gzip flushed after every few bytes, as streams are."""
    packer = zlib.compressobj(wbits=31)
    pieces = [data[i : i + 7] for i in range(0, len(data), 7)]
    return (
        b"".join(packer.compress(p) + packer.flush(zlib.Z_SYNC_FLUSH) for p in pieces)
        + packer.flush()
    )


def decoded(coding: bytes, sent: bytes, step: int) -> bytes:
    decoder = Decoder(coding)
    return b"".join(decoder.decode(sent[i : i + step]) for i in range(0, len(sent), step))


CASES = {
    "nothing said": (b"", TEXT),
    "identity": (b"identity", TEXT),
    "identity in capitals": (b" Identity ", TEXT),
    "gzip": (b"gzip", gzip.compress(TEXT)),
    "gzip by its old name": (b"x-gzip", gzip.compress(TEXT)),
    "gzip in capitals": (b" GZIP ", gzip.compress(TEXT)),
    "gzip flushed": (b"gzip", flushed(TEXT)),
    "gzip in members": (b"gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
    "deflate": (b"deflate", zlib.compress(TEXT)),
    "deflate without a head": (b"deflate", headless(TEXT)),
    "deflate that is gzip": (b"deflate", gzip.compress(TEXT)),
}


@pytest.mark.parametrize("step", [1, 2, 3, 10, 4096])
@pytest.mark.parametrize(("coding", "sent"), CASES.values(), ids=CASES)
def test_where_an_answer_is_cut_changes_nothing(coding: bytes, sent: bytes, step: int) -> None:
    assert decoded(coding, sent, step) == TEXT


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5), st.booleans())
def test_any_bytes_come_back_at_any_cut(data: bytes, cuts: list[int], has_head: bool) -> None:
    sent = zlib.compress(data) if has_head else headless(data)
    ends = [0, *sorted(cut % (len(sent) + 1) for cut in cuts), len(sent)]
    decoder = Decoder(b"deflate")
    blocks = [decoder.decode(sent[a:b]) for a, b in pairwise(ends)]
    assert b"".join(blocks) == data


@pytest.mark.parametrize("step", [1, 2, 4096])
@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, br", b"aes128gcm", b"\xff\x00"])
def test_what_we_cannot_read_is_empty(coding: bytes, step: int) -> None:
    assert decoded(coding, TEXT, step) == b""


GARBAGE = {
    "text": TEXT,
    "a damaged middle": gzip.compress(TEXT)[:30] + b"\xff" * 30,
    "a head and no more": gzip.compress(TEXT)[:10],
    "zeros": b"\0" * 100,
    "ones": b"\xff" * 100,
    "two bytes": b"\x1f\x8b",
    "one byte": b"\x1f",
}


@pytest.mark.parametrize("step", [1, 2, 3, 4096])
@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE)
def test_garbage_never_raises_and_never_passes_for_the_whole(
    sent: bytes, coding: bytes, step: int
) -> None:
    assert decoded(coding, sent, step) != TEXT


@given(st.sampled_from([b"gzip", b"deflate", b"", b"br"]), st.lists(st.binary()))
def test_nothing_ever_raises(coding: bytes, blocks: list[bytes]) -> None:
    decoder = Decoder(coding)
    for block in blocks:
        decoder.decode(block)


@pytest.mark.parametrize("step", [1000, 1 << 20])
def test_a_bomb_is_put_down(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(decoding, "_LIMIT_BYTES", 1 << 16)
    bomb = gzip.compress(b"\0" * (1 << 26))
    decoder = Decoder(b"gzip")
    blocks = [decoder.decode(bomb[i : i + step]) for i in range(0, len(bomb), step)]
    assert max(map(len, blocks)) <= 1 << 16
    assert sum(map(len, blocks)) < 1 << 20
    assert decoder.decode(gzip.compress(b"x")) == b""


def test_an_answer_may_be_longer_than_a_bombs_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_LIMIT_BYTES", 1 << 16)
    text = TEXT * 200
    assert decoded(b"gzip", gzip.compress(text), 100) == text


def test_what_follows_the_end_is_not_kept() -> None:
    decoder = Decoder(b"deflate")
    assert decoder.decode(zlib.compress(b"x")) == b"x"
    assert [decoder.decode(b"\0" * 1000) for _ in range(3)] == [b""] * 3
