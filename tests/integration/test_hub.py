"""Encoders by name with fastembed itself. No hub is asked: the model is laid where a fetch puts it.

Skipped without `memrouter[hub]`. What needs a model is skipped without the one that bench/recall
unpacks (see its README; or name another folder of snowflake-arctic-embed-s in
MEMROUTER_TEST_MODEL).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from memrouter.embed.hub import HubEmbedder
from memrouter.embed.onnx import KNOWN, OnnxEmbedder

pytest.importorskip("fastembed")

NAME = "snowflake/snowflake-arctic-embed-s"
ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / "bench" / ".build" / "bot_brain" / "project_brain" / "model" / "int8"
MODEL = Path(os.environ.get("MEMROUTER_TEST_MODEL", UNPACKED))
needs_model = pytest.mark.skipif(not MODEL.is_dir(), reason=f"no model in {MODEL}")
TEXTS = ("My dog is called Biscuit.", "I moved to Lisbon in May.", "HTTP 418 is a joke. " * 200)


def fetched(cache: Path) -> Path:
    """The cache as a fetch from the hub leaves it."""
    held = cache / "models--Snowflake--snowflake-arctic-embed-s"
    (held / "refs").mkdir(parents=True)
    (held / "refs" / "main").write_text("0" * 40, "ascii")
    (held / "snapshots").mkdir()
    (held / "snapshots" / ("0" * 40)).symlink_to(MODEL, target_is_directory=True)
    return cache


def memrouter(data: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """A command on a data folder, with a hub at which nothing listens."""
    given = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "MEMROUTER_DATA_DIR": str(data)}
    return subprocess.run(
        [Path(sys.executable).with_name("memrouter"), *args],
        env=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@needs_model
async def test_it_is_asked_as_the_same_model_from_a_folder(tmp_path: Path) -> None:
    by_name = HubEmbedder(NAME, fetched(tmp_path))
    by_folder = OnnxEmbedder(MODEL, manner=KNOWN[0][1])
    assert by_name.dimension == by_folder.dimension == 384
    asked = [await e.query("What is my pet called?", {}) for e in (by_name, by_folder)]
    held = [await e.passages(TEXTS) for e in (by_name, by_folder)]
    # Neither batches alike, and a model of small integers rounds by what is in a batch.
    assert float(asked[0].plain @ asked[1].plain) > 0.999
    assert (np.einsum("td,td->t", *held) > 0.99).all()
    near = held[0] @ asked[0].plain
    assert near.argmax() == 0


@needs_model
def test_a_copied_cache_is_all_that_a_command_needs(tmp_path: Path) -> None:
    fetched(tmp_path / "models")
    done = memrouter(tmp_path, "embedder", "use", NAME)
    assert (done.returncode, done.stderr) == (0, "")
    assert "every vault has it" in done.stdout


def test_without_a_hub_it_fails_soon_and_says_what_to_do(tmp_path: Path) -> None:
    begin = time.monotonic()
    done = memrouter(tmp_path, "embedder", "use", NAME)
    assert time.monotonic() - begin < 30  # fastembed tries for 40 s
    assert done.returncode != 0
    assert "the hub cannot be reached" in done.stderr
    assert "copy the folder" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 4


def test_what_is_no_folder_is_said_to_be_none(tmp_path: Path) -> None:
    done = memrouter(tmp_path, "embedder", "use", "../x")
    assert done.returncode != 0
    assert "There is no folder ../x" in done.stderr
