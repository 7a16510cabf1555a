"""Puts what the bench needs into its build folder: two C programs and the peers."""

from __future__ import annotations

import json
import shutil
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

from .options import BUILD, BenchError

NATIVE = Path(__file__).resolve().parent / "native"
LITELLM = BUILD / "litellm"
PORTKEY = BUILD / "portkey"
TOOLS = BUILD / "tools"
PORTKEY_SERVER = PORTKEY / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"


def _run(argv: Sequence[str | Path], what: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        [str(a) for a in argv], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"{what} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def _need(program: str, hint: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise BenchError(f"{program} is not installed; {hint}")
    return found


def native() -> None:
    """Compile the mock provider and the load generator if their sources are newer."""
    BUILD.mkdir(exist_ok=True)
    newest = max(f.stat().st_mtime for f in NATIVE.iterdir())
    for name in ("mock", "load"):
        binary = BUILD / name
        if not binary.exists() or binary.stat().st_mtime < newest:
            cc = _need("cc", "install a C compiler (Debian: apt install build-essential)")
            flags = ("-O2", "-Wall", "-Wextra")
            _run([cc, *flags, "-o", binary, NATIVE / f"{name}.c"], f"compiling {name}.c")


def _packages(folder: Path, package: str, proof: str) -> Path:
    """A virtual environment of its own with `package`; returns the program `proof` in it."""
    program = folder / "bin" / proof
    if not program.exists():
        venv.create(folder, with_pip=True, clear=True)
        python: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "-q"]
        _run([*python, package], f"installing {package}")
    return program


def nginx() -> str:
    """Path of nginx; BenchError if it is missing."""
    return _need("nginx", "install it (Debian: apt install nginx-light) or leave it out: --only")


def litellm() -> Path:
    """Path of the LiteLLM proxy's command, installed on first use."""
    return _packages(LITELLM, "litellm[proxy]", "litellm")


def py_spy() -> Path:
    """Path of py-spy, installed on first use."""
    return _packages(TOOLS, "py-spy", "py-spy")


def portkey() -> tuple[str, Path]:
    """Node and the script that starts the Portkey gateway, installed on first use."""
    node = _need("node", "install Node.js 18 or later (Debian: apt install nodejs npm)")
    if not PORTKEY_SERVER.exists():
        npm = _need("npm", "install it (Debian: apt install npm)")
        PORTKEY.mkdir(parents=True, exist_ok=True)
        # Its streams answer 500 with later versions of this dependency, which its range allows.
        overrides = {"@hono/node-server": "1.13.8"}
        manifest = {"name": "bench", "private": True, "overrides": overrides}
        (PORTKEY / "package.json").write_text(json.dumps(manifest))
        _run(
            [npm, "install", "--no-audit", "--no-fund", "@portkey-ai/gateway"],
            "npm install",
            PORTKEY,
        )
    return node, PORTKEY_SERVER


def _installed(folder: Path, package: str) -> str:
    found = sorted(folder.glob(f"lib/python*/site-packages/{package}-*.dist-info"))
    return found[-1].name.split("-")[1].removesuffix(".dist") if found else ""


def versions(contenders: Sequence[str]) -> dict[str, str]:
    """Of the peers among `contenders`, which are installed if they are not."""
    found = {}
    if "nginx" in contenders:
        done = subprocess.run([nginx(), "-v"], capture_output=True, text=True, check=False)
        found["nginx"] = done.stderr.strip().rpartition("/")[2]
    if "litellm" in contenders:
        litellm()
        found["litellm"] = _installed(LITELLM, "litellm")
    if "portkey" in contenders:
        package = portkey()[1].parent.parent / "package.json"
        found["portkey"] = str(json.loads(package.read_text())["version"])
    return found
