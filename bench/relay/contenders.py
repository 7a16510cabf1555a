"""Who is measured: how each is started and addressed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import setup
from .loadgen import EVENTS, Generator, Load, Shape, mock_provider, seen_by_mock
from .options import BUILD, BenchError, Options
from .processes import Layout, Server, free_port, layout, started
from .report import table
from .router import ACCOUNT_KEY, serve
from .vaults import Group, Prepared, credentials, prepare

PEER_KEY = "sk-bench-0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdef"
LABELS = {
    "direct": "direct",
    "nginx": "nginx",
    "litellm": "LiteLLM proxy",
    "portkey": "Portkey gateway",
    "off": "memrouter, memory off",
    "on-1k": "memrouter, vaults of {memories:,}",
    "on-10k": "memrouter, vaults of {large_memories:,}",
}


@dataclass(kw_only=True)
class Contender:
    """A way to the mock provider, and what its answers must look like."""

    name: str
    label: str
    port: int
    users: Path
    server: Server | None = None  # None: no process on the way
    extra: Path | None = None
    exact: bool = True  # answers are the provider's, byte for byte
    memory: bool = False
    turns: dict[int, int] = field(default_factory=dict)  # had so far, by number of clients

    def resume(self) -> None:
        """Let the process run."""
        if self.server:
            self.server.resume()

    def pause(self) -> None:
        """Let the process finish what it does in the background, then stop it."""
        if self.server:
            self.server.settle(20 if self.memory else 0.5)
            self.server.pause()


@dataclass(kw_only=True)
class Bench:
    """What all sections share."""

    options: Options
    generator: Generator
    mock: Server
    cores: Layout
    stack: contextlib.ExitStack
    contenders: list[Contender] = field(default_factory=list)
    lengths: dict[bool, int] = field(default_factory=dict)  # of an answer, by is it a stream
    complaints: list[str] = field(default_factory=list)  # answers that were not as they must be

    def run(
        self,
        who: Contender,
        shape: Shape,
        clients: int,
        *,
        seconds: float = 0,
        each: int = 0,
        cores: Layout | None = None,
    ) -> Load:
        """One run of the load generator against a contender; errors are kept in `complaints`."""
        check = who.exact and who.server is not None
        loaded = self.generator.run(
            who.port,
            who.users,
            shape,
            cores or self.cores,
            clients=clients,
            seconds=seconds,
            each=each,
            offset=who.turns.get(clients, 0),
            extra=who.extra,
            length=self.lengths.get(shape.stream, 0) if check else 0,
            events=EVENTS if who.exact and shape.stream else 0,
        )
        who.turns[clients] = who.turns.get(clients, 0) + loaded.turns
        self._judge(who, shape, loaded)
        return loaded

    def _judge(self, who: Contender, shape: Shape, loaded: Load) -> None:
        what = f"{who.label}, {shape}"
        if loaded.errors:
            self.complaints.append(f"{what}: {loaded.errors} errors, first: {loaded.first_error}")
        if not loaded.requests:
            raise BenchError(f"{what}: no request succeeded; first error: {loaded.first_error}")
        if who.server is None:
            self.lengths[shape.stream] = loaded.bytes_max

    def check_injection(self, who: Contender, shape: Shape) -> None:
        """See that memory is on where it should be, by what reaches the provider."""
        before = seen_by_mock(self.mock.port)
        self.run(who, shape, 1, seconds=0.3)
        after = seen_by_mock(self.mock.port)
        sent = after["requests"] - before["requests"]
        with_context = after["with_context"] - before["with_context"]
        if who.memory and with_context < 0.9 * sent:
            self.complaints.append(
                f"{who.label}: only {with_context} of {sent} requests carried memory"
            )
        if not who.memory and with_context:
            self.complaints.append(f"{who.label}: memory in {with_context} requests, wanted none")


def _nginx(port: int, mock_port: int) -> list[str]:
    folder = BUILD / "nginx"
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 64m; client_body_buffer_size 1m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 1000000000;
  upstream provider {{
    server 127.0.0.1:{mock_port}; keepalive 256; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://provider; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
""")
    return [setup.nginx(), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def _litellm(port: int, mock_port: int) -> list[str]:
    config = BUILD / "litellm.json"  # YAML reads JSON
    parameters = {
        "model": "openai/gpt-5.5",
        "api_base": f"http://127.0.0.1:{mock_port}/v1",
        "api_key": "sk-test",
    }
    model = {"model_name": "openai/gpt-5.5", "litellm_params": parameters}
    config.write_text(json.dumps({"model_list": [model]}))
    command = [str(setup.litellm()), "--config", str(config), "--host", "127.0.0.1"]
    return [*command, "--port", str(port), "--num_workers", "1", "--telemetry", "False"]


def _portkey(port: int, _mock_port: int) -> list[str]:
    node, script = setup.portkey()
    return [node, str(script), f"--port={port}", "--headless"]


_PEERS: dict[str, Callable[[int, int], list[str]]] = {
    "nginx": _nginx,
    "litellm": _litellm,
    "portkey": _portkey,
}
_ENV = {
    "litellm": {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": PEER_KEY,  # it does not start without one
    },
    "portkey": {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
}


def peer(bench: Bench, name: str) -> Server:
    """Start nginx, LiteLLM or Portkey; the caller waits until it listens."""
    port = free_port()
    argv = _PEERS[name](port, bench.mock.port)
    return Server(name, argv, port=port, cores=bench.cores.contender, env=_ENV.get(name))


def peer_headers(bench: Bench, name: str) -> Path | None:
    """Headers that requests through a peer need, as the generator's file."""
    if name != "portkey":
        return None
    host = f"http://127.0.0.1:{bench.mock.port}/v1"
    lines = f"x-portkey-provider: openai\r\nx-portkey-custom-host: {host}\r\n"
    return bench.generator.write("portkey-headers", lines.encode())


def main_vaults(bench: Bench) -> Prepared:
    """The vaults behind on-1k and on-10k."""
    o = bench.options
    groups = [Group(name="on-1k", vaults=o.users, memories=o.memories)]
    if "on-10k" in o.contenders:
        groups.append(Group(name="on-10k", vaults=o.large_users, memories=o.large_memories))
    return prepare(o, groups, bench.mock.port)


def empty_data(name: str) -> Path:
    """A data directory with nothing in it."""
    empty = BUILD / "empty"
    empty.mkdir(exist_ok=True)
    return Prepared(data=empty, keys={}).copy(name)


def memrouter(bench: Bench, name: str, server: Server, keys: Sequence[str]) -> Contender:
    """A running memrouter as contender `name` (off, on-1k, on-10k)."""
    o = bench.options
    suffix = ":off" if name == "off" else ""
    file = f"{server.name.replace(' ', '-')}-{name}"
    return Contender(
        name=name,
        label=LABELS[name].format(memories=o.memories, large_memories=o.large_memories),
        port=server.port,
        users=credentials(bench.generator, file, keys, suffix),
        server=server,
        memory=name != "off",
    )


def _routers(bench: Bench) -> list[Contender]:
    """memrouter, once with nothing stored for memory off, once for all that is on."""
    o, made = bench.options, []
    cores = bench.cores.contender
    if "off" in o.contenders:
        server = serve(o, "memrouter off", empty_data("off"), bench.mock.port, cores)
        bench.stack.enter_context(started(server))
        made.append(memrouter(bench, "off", server, [ACCOUNT_KEY]))
    with_memory = [name for name in ("on-1k", "on-10k") if name in o.contenders]
    if with_memory:
        prepared = main_vaults(bench)
        server = serve(o, "memrouter on", prepared.copy("on"), bench.mock.port, cores)
        bench.stack.enter_context(started(server))
        made += [memrouter(bench, name, server, prepared.keys[name]) for name in with_memory]
    return made


def start_all(bench: Bench) -> None:
    """Start every contender that is wanted, see that it answers, and pause it."""
    mock_port = bench.mock.port
    key = credentials(bench.generator, "peers", [PEER_KEY])
    for name in bench.options.contenders:
        if name not in ("direct", *_PEERS):
            continue
        server = None
        if name != "direct":
            server = bench.stack.enter_context(started(peer(bench, name)))
        bench.contenders.append(
            Contender(
                name=name,
                label=LABELS[name],
                port=server.port if server else mock_port,
                users=key,
                server=server,
                extra=peer_headers(bench, name),
                exact=name in ("direct", "nginx"),
            )
        )
    bench.contenders += _routers(bench)
    for who in bench.contenders:
        _warm_up(bench, who)
        if who.server:
            bench.check_injection(who, Shape())
            who.server.settle(20 if who.memory else 1)
    for who in bench.contenders:
        if who.server:
            who.server.pause()


def _warm_up(bench: Bench, who: Contender) -> None:
    """Let a contender compile and cache what it will, and see that it answers."""
    seconds = bench.options.warm if who.server else 0.2
    for stream in (False, True):
        bench.run(who, Shape(stream=stream), 8, seconds=seconds)
    if who.memory:  # the histories are stored; what follows is new
        for body in bench.options.bodies:
            bench.run(who, Shape(body=body), 8, each=1)


def open_bench(options: Options, stack: contextlib.ExitStack) -> Bench:
    """Compile what is needed and start the mock provider; `stack` ends everything."""
    setup.native()
    cores = layout()
    generator = Generator(BUILD / "load-files")
    mock = stack.enter_context(started(mock_provider(generator, free_port(), cores)))
    return Bench(options=options, generator=generator, mock=mock, cores=cores, stack=stack)


def capacity(bench: Bench) -> list[dict[str, float]]:
    """What the mock provider and the generator, sharing one core, can do with nobody between."""
    o = bench.options
    key = credentials(bench.generator, "peers", [PEER_KEY])
    who = Contender(name="direct", label="direct", port=bench.mock.port, users=key)
    found, rows = [], []
    for shape in (*(Shape(body=b) for b in o.bodies), Shape(stream=True)):
        for clients in sorted({1, max(o.clients)}):
            load = bench.run(who, shape, clients, seconds=min(1, o.seconds))
            per_s = (load.events or load.requests) / load.seconds
            found.append({"body": shape.body, "clients": clients, "per_s": per_s})
            unit = "events/s" if shape.stream else "requests/s"
            kind = "stream" if shape.stream else f"{shape.body:,} bytes"
            p50, p99 = load.latency.p50 / 1e3, load.latency.p99 / 1e3
            rows.append(
                [f"{kind}, {clients} clients", f"{per_s:,.0f} {unit}", f"{p50:.3f}", f"{p99:.3f}"]
            )
    table(
        "Mock provider and load generator alone, one core for both",
        ["", "", "p50 ms", "p99 ms"],
        rows,
    )
    return found
