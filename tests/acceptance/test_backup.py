"""A backup made while the router is written holds all that was answered before it began."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from .conftest import ServedProvider
from .stack import Router, until

SECRET = "a secret of the backup's test"


class Writer(threading.Thread):
    """Ingests numbered turns one after the other; `answered` is how many were accepted."""

    def __init__(self, router: Router, key: str) -> None:
        super().__init__()
        self._router, self._key = router, key
        self.answered = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        with self._router.http(self._key) as http:
            while not self.stopping.is_set():
                turn = {"role": "user", "content": f"Number {self.answered} is in the book."}
                answer = http.post("/v1/memory/ingest", json={"messages": [turn]})
                assert answer.status_code == 202
                self.answered += 1


def command(router: Router, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "memrouter.cli", *arguments],
        env=router._environment({}),
        cwd=router.data,
        check=True,
        timeout=120,
    )


@pytest.mark.parametrize("encrypt", ["false", "true"], ids=["plain", "encrypted"])
def test_what_was_answered_before_a_backup_is_in_it(
    tmp_path: Path, provider: ServedProvider, encrypt: str
) -> None:
    settings = {"SECRET_KEY": SECRET, "ENCRYPT_VAULTS": encrypt}
    router = Router(tmp_path / "data", provider.port, **settings).start("--workers", "2")
    writers = [Writer(router, router.mint()) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        until(lambda: all(writer.answered >= 10 for writer in writers), 60)
        for run in range(2):
            answered = [writer.answered for writer in writers]
            command(router, "backup", str(tmp_path / "copy"))
            assert all(w.answered > n for w, n in zip(writers, answered, strict=True)), run
    finally:
        for writer in writers:
            writer.stopping.set()
        for writer in writers:
            writer.join()
        router.stop()
    again = Router(tmp_path / "again", provider.port, **settings)
    again.account_key = router.account_key
    command(again, "restore", str(tmp_path / "copy"))
    again.start()
    try:
        for writer, count in zip(writers, answered, strict=True):
            with again.http(writer._key) as http:
                lines = http.get("/v1/memory/export").text
            found = [int(number) for number in re.findall(r"Number (\d+) is", lines)]
            assert found == list(range(len(found)))
            assert len(found) >= count
    finally:
        again.stop()
