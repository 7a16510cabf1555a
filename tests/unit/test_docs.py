"""The reference is written by hand; here it is held to the code, and every link to its target."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from starlette.routing import Route

from memrouter import app, config, errors
from memrouter.cli import cli
from memrouter.domain import Recall
from memrouter.edge import controls, headers, respond
from memrouter.edge.exchange import PATHS
from memrouter.edge.outcome import Outcome
from memrouter.ops.metrics import Metrics

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted({*DOCS.rglob("*.md"), *ROOT.glob("*.md")})
AS_PATH = [str(page.relative_to(ROOT)) for page in PAGES]

# --- reading pages ---


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row, heads and rules left out."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        following = lines[i + 1] if i + 1 < len(lines) else ""
        is_head = following.startswith("|-")
        if line.startswith("|") and not line.startswith("|-") and not is_head:
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def sections(text: str) -> dict[str, str]:
    """Text by heading of the second level."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def code(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text("utf-8")


# --- settings ---

_KINDS: list[type[config.Section]] = [*config.SECTIONS, config.Densities]
_SECTIONS = {kind.__name__: kind for kind in _KINDS}


def shown(default: Any) -> str:
    """A default as the page writes it."""
    if default is msgspec.NODEFAULT:
        return "required"
    if isinstance(default, config.Density):
        return f"`{default.memories}` / `{default.tokens}`"
    if isinstance(default, config.Section):
        return "see"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if default in ("", (), {}):
        return "empty"
    return f"`{', '.join(default)}`" if isinstance(default, tuple) else f"`{default}`"


@pytest.mark.parametrize("name", _SECTIONS)
def test_every_setting_is_told_with_its_default_and_nothing_else(name: str) -> None:
    told = {code(first)[0]: default for first, default, _ in rows(sections(page("settings"))[name])}
    told = {setting: "see" if d.startswith("see ") else d for setting, d in told.items()}
    assert told == {
        field.name: shown(
            field.default_factory()
            if field.default_factory is not msgspec.NODEFAULT
            else field.default
        )
        for field in msgspec.structs.fields(_SECTIONS[name])
    }


# --- metrics ---


def test_every_metric_is_told_with_its_labels() -> None:
    told = {
        code(name)[0]: (kind, set(code(labels))) for name, kind, labels, _ in rows(page("metrics"))
    }
    metrics = [made for made in vars(Metrics()).values() if hasattr(made, "_labelnames")]
    assert told == {
        made._name + ("_total" if made._type == "counter" else ""): (
            made._type,
            set(made._labelnames),
        )
        for made in metrics
    }


# --- errors ---


def kinds(base: type[errors.MemrouterError]) -> Iterator[type[errors.MemrouterError]]:
    yield base
    for kind in base.__subclasses__():
        if kind.__module__.startswith("memrouter."):
            yield from kinds(kind)


def test_every_error_is_told_with_its_status() -> None:
    told = {code(name)[0]: int(status) for name, status, _ in rows(page("errors"))}
    classes = {*kinds(errors.MemrouterError)}
    assert told == {kind.__name__: kind.status for kind in classes}


# --- command line ---


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for sub, inner in command.commands.items():
            yield from commands(inner, f"{name} {sub}")


def test_every_command_and_option_is_told() -> None:
    text = page("cli")
    told = {code(name)[0]: what for name, what in rows(text)}
    known = dict(commands(cli, "memrouter"))
    assert sorted(told) == sorted(known)
    options = {o for c in known.values() for p in c.params for o in p.opts if o.startswith("--")}
    assert options == set(re.findall(r"--[a-z][a-z-]*", text)) - {"--help"}


# --- endpoints ---


def endpoints_told() -> set[tuple[str, str]]:
    found = (row for row in rows(page("endpoints")) if re.fullmatch("[A-Z]+", row[0]))
    return {(method, path) for method, paths, _ in found for path in code(paths)}


async def test_every_endpoint_is_told_and_nothing_else(tmp_path: Path) -> None:
    parts = app.build(config.Config(data_dir=str(tmp_path)), tmp_path)
    try:
        routes = [r for r in app.create_with(parts)._own.routes if isinstance(r, Route)]
    finally:
        await parts.close()
    told = [(route.path.replace(":path}", "}"), route.methods or ()) for route in routes]
    own = {(method, path) for path, methods in told for method in methods if method != "HEAD"}
    relayed = {("POST", path) for path in PATHS}
    by_pattern = {
        ("POST", "/v1/models/{model}:generateContent"),
        ("POST", "/v1/models/{model}:streamGenerateContent"),
        ("POST", "/v3/{provider url}"),
    }
    assert endpoints_told() == own | relayed | by_pattern


# --- headers ---


def test_every_header_of_an_answer_is_told() -> None:
    everything = [
        Outcome(
            surface=surface,
            request_id="req_1",
            session="s",
            conversation="c",
            recall=Recall(),
            error="e",
        ).headers(1.0)
        for surface in ("v1", "v3")
    ]
    unauthorized = respond.error_headers(errors.Unauthorized("x"))
    limited = respond.error_headers(errors.RateLimited("x", retry_after_s=1))
    sent = {name.decode() for made in (*everything, unauthorized, limited) for name, _ in made}
    told = {code(row[0])[0].lower() for row in rows(sections(page("headers"))["On answers"])}
    assert told == sent | {"x-provider-request-id"}


def test_every_name_that_controls_memory_is_told() -> None:
    told = {name.lower() for name in code(page("headers"))}
    names = {*controls.BODY_FIELDS, *controls._HEADER_NAMES, *headers.OUR_PARAMETERS}
    assert sorted(names - told) == []
    assert sorted({*controls.MODES, *controls.DENSITIES} - told) == []


# --- all pages ---


def anchors(text: str) -> set[str]:
    """What a link may point to: headings as GitHub names them, and marks of our own."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE
    )
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)
    return {*plain, *re.findall(r'<a id="([^"]+)">', text)}


@pytest.mark.parametrize("path", AS_PATH)
def test_links_lead_somewhere(path: str) -> None:
    here = ROOT / path
    text = re.sub(r"```.*?```", "", here.read_text("utf-8"), flags=re.DOTALL)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        there = (here.parent / target).resolve() if target else here
        if not there.exists() or (anchor and anchor not in anchors(there.read_text("utf-8"))):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("path", AS_PATH)
def test_no_page_names_a_path_of_a_machine(path: str) -> None:
    text = (ROOT / path).read_text("utf-8")
    assert re.findall(r"(?<![\w.}])/(?:home|root|tmp|work|Users|mnt|private)/\S*", text) == []


def test_tests_that_pages_name_exist() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    known = {name for source in sources for name in re.findall(r"def (test_\w+)", source)}
    named = {n for p in PAGES for n in re.findall(r"`(test_\w+)`", p.read_text("utf-8"))}
    assert sorted(named - known) == []
    files = {
        n for p in PAGES for n in re.findall(r"`((?:tests|src)/[\w/.]+)`", p.read_text("utf-8"))
    }
    assert sorted(f for f in files if not (ROOT / f).exists()) == []
