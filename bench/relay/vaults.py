"""Data directories with filled vaults: prepared once through the API, copied for each use."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from . import texts
from .loadgen import Generator
from .options import BUILD, BenchError, Options
from .processes import started
from .router import Api, api, serve


@dataclass(frozen=True, kw_only=True)
class Group:
    """Vaults of one size."""

    name: str
    vaults: int
    memories: int


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A data directory, not to be written to, and the keys of its groups."""

    data: Path
    keys: dict[str, list[str]]

    def copy(self, name: str) -> Path:
        """A fresh copy that a router may change."""
        target = BUILD / "run" / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.data, target)
        return target


def credentials(generator: Generator, name: str, keys: Sequence[str], suffix: str = "") -> Path:
    """The generator's file of users: one Authorization header a key."""
    lines = "\n".join(f"Authorization: Bearer {key}{suffix}" for key in keys)
    return generator.write(f"users-{name}", lines.encode())


def _fill(client: Api, group: Group, keys: list[str], progress: Progress, now_ms: int) -> None:
    task = progress.add_task(f"{group.vaults:,} × {group.memories:,} memories", total=group.vaults)
    for i in range(group.vaults):
        key = client.mint(f"{group.name}-{i}")
        seed = hash((group.memories, i)) & 0xFFFFFFFF
        client.fill(key, texts.memories(group.memories, seed, now_ms))
        keys.append(key)
        if i % 20 == 19 and group.memories >= 100:  # keep the backlog short
            client.wait_embedded(key, 600)
        progress.advance(task)


def _wait_all(client: Api, keys: Sequence[str], progress: Progress) -> None:
    for key in progress.track(keys, description="embedding"):
        client.wait_embedded(key, 3600)


def _check(client: Api, group: Group, keys: Sequence[str]) -> None:
    """BenchError if the group's first vault does not hold what it was given."""
    held = client.memories(keys[0]) if keys else 0
    if held < group.memories * 0.99:
        raise BenchError(f"a vault of {group.name} holds {held} of {group.memories} memories")


def prepare(options: Options, groups: Sequence[Group], mock_port: int) -> Prepared:
    """The data directory that holds `groups`, made now if it is not there or --fresh is given."""
    name = "-".join(f"{g.vaults}x{g.memories}" for g in groups)
    folder = BUILD / "vaults" / name
    listing = folder.with_suffix(".json")
    if options.fresh or not listing.exists():
        shutil.rmtree(folder, ignore_errors=True)
        listing.unlink(missing_ok=True)
        keys: dict[str, list[str]] = {g.name: [] for g in groups}
        cores = frozenset(os.sched_getaffinity(0))
        server = serve(options, "prepare", folder, mock_port, cores)
        now_ms = int(time.time() * 1000)
        with started(server), api(server.port) as client, Progress() as progress:
            for group in groups:
                _fill(client, group, keys[group.name], progress, now_ms)
            filled = [k for g in groups if g.memories for k in keys[g.name][-2000:]]
            _wait_all(client, filled, progress)
            for group in groups:
                _check(client, group, keys[group.name])
        listing.write_text(json.dumps(keys))
    found: dict[str, list[str]] = json.loads(listing.read_text())
    if not all(len(found[g.name]) == g.vaults for g in groups):
        raise BenchError(f"{listing} does not fit; run again with --fresh")
    return Prepared(data=folder, keys=found)
