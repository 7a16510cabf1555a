"""Claude Code and Codex, run non-interactively in a folder of their own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memrouter.testing.script import Answer, Prompt, ToolCall

from . import npm

NOTE = "The magic word is abracadabra.\n"
FINAL = "It says abracadabra, as I have read."

CODEX_CONFIG = """\
model = "gpt-5.5"
model_provider = "memrouter"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.memrouter]
name = "memrouter"
base_url = "{url}"
env_key = "MEMORY_KEY"
wire_api = "responses"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One agent with a home and a project of its own."""

    name: str
    home: Path
    project: Path
    model: str | None = None

    def run(self, url: str, key: str, request: str, *, resume: bool = False) -> str:
        """Let it do what `request` says; its last words."""
        if self.name == "claude":
            command = self._claude(request, resume)
        else:
            self._configure_codex(url)
            command = self._codex(request, resume)
        done = subprocess.run(
            [npm.node(), *command],
            cwd=self.project,
            env=self._environment(url, key),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def _environment(self, url: str, key: str) -> dict[str, str]:
        nowhere = "http://127.0.0.1:9"  # whatever is not for the router goes nowhere
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "CODEX_HOME": str(self.home / ".codex"),
            "HTTPS_PROXY": nowhere,
            "HTTP_PROXY": nowhere,
            "NO_PROXY": "127.0.0.1",
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": key,
            "MEMORY_KEY": key,
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }

    def _claude(self, request: str, resume: bool) -> list[str]:
        package = npm.installed("agents") / "node_modules/@anthropic-ai/claude-code"
        model = ["--model", self.model] if self.model else []
        again = ["--continue"] if resume else []
        return [str(package / "cli-wrapper.cjs"), *model, *again, "-p", request]

    def _codex(self, request: str, resume: bool) -> list[str]:
        package = npm.installed("agents") / "node_modules/@openai/codex"
        again = ["resume", "--last"] if resume else []
        start = [str(package / "bin/codex.js"), "exec", *again, "--skip-git-repo-check"]
        return [*start, request]

    def _configure_codex(self, url: str) -> None:
        folder = self.home / ".codex"
        folder.mkdir(exist_ok=True)
        (folder / "config.toml").write_text(CODEX_CONFIG.format(url=url))


def make(name: str, folder: Path, model: str | None = None) -> Agent:
    """An agent in a new home, and a project with one file, notes.txt."""
    home, project = folder / "home", folder / "project"
    home.mkdir()
    project.mkdir()
    (project / "notes.txt").write_text(NOTE)
    return Agent(name=name, home=home, project=project, model=model)


def reads_the_note(project: Path) -> Any:
    """A script for the provider: read notes.txt with the agent's own tool, then answer."""

    def script(prompt: Prompt) -> Answer | None:
        if not prompt.tools:
            return Answer(text='{"title": "Read a note"}')
        if prompt.after_tool:
            return Answer(text=FINAL)
        if prompt.dialect == "messages":
            call = ToolCall(name="Read", arguments={"file_path": str(project / "notes.txt")})
        else:
            call = ToolCall(name="exec_command", arguments={"cmd": "cat notes.txt"})
        return Answer(text="Let me look.", tool_calls=(call,))

    return script
