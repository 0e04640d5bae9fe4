"""`qkv serve RUN [RUN ...]`: models behind HTTP, and a page to try them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from qkv.cli.errors import UsageError
from qkv.serve.limits import Limits

if TYPE_CHECKING:
    from qkv.run import Run

DESCRIPTION = """Serve trained models over HTTP: translate, align, look at the attention.

The page is at /, the description of all paths at /openapi.json. On SIGTERM or Ctrl-C no new work
is taken, and what was begun is finished. QKV_API_KEY, if set, is the key that clients must send
(Authorization: Bearer KEY).
"""

NEEDED = ("fastapi", "uvicorn", "prometheus_client")


@dataclass(frozen=True)
class Arguments:
    """What `qkv serve` takes."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The run folders; a model's name is the folder's, or NAME in NAME=FOLDER."""
    host: str = "127.0.0.1"
    """The address to listen at; the default is reached from this machine alone."""
    port: int = 8000
    """The port; 0: any that is free."""
    threads: int = 0
    """Cores that the models compute on; 0: all for large batches, and for small ones all but one,
    which answers HTTP meanwhile."""
    drain_seconds: float = 30.0
    """Time to finish in, once told to stop."""
    limits: Limits = field(default_factory=Limits)
    """How much a client may ask for."""


def run(words: list[str]) -> int:
    """Serve."""
    arguments = tyro.cli(Arguments, prog="qkv serve", description=DESCRIPTION, args=words)
    if not arguments.runs:
        raise UsageError("name at least one run folder")
    folders = named(arguments.runs)
    if missing := [name for name in NEEDED if not find_spec(name)]:
        raise ValueError(f"serving needs {', '.join(missing)}: pip install 'qkv[serve]'")
    if arguments.threads < 0:
        raise UsageError(f"--threads {arguments.threads}: give a number of cores, or 0")
    from qkv.run import load
    from qkv.serve.app import create_app
    from qkv.serve.server import bound, serve

    runs: dict[str, Run] = {name: load(folder) for name, folder in folders.items()}
    key = os.environ.get("QKV_API_KEY") or None
    app = create_app(runs, limits=arguments.limits, key=key, threads=arguments.threads)
    app.state.house.warm()
    try:
        listening = bound(arguments.host, arguments.port)
    except OSError as error:
        raise ValueError(
            f"cannot listen at {arguments.host}:{arguments.port}: {error.strerror}; "
            "give another --port (0: any that is free) or --host"
        ) from error
    if key is None and not is_loopback(arguments.host):
        print(
            f"qkv serve: {arguments.host} is reached from other machines, and no key is asked "
            "for; set QKV_API_KEY to ask for one",
            file=sys.stderr,
        )
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"qkv serve: {', '.join(runs)} at http://{shown}:{port}", file=sys.stderr, flush=True)
    serve(app, listening, arguments.drain_seconds)
    return 0


def named(runs: tuple[Path, ...]) -> dict[str, Path]:
    """Return each folder by its name.

    Raises:
        UsageError: two have the same name.
    """
    folders: dict[str, Path] = {}
    for word in map(str, runs):
        name, equals, folder = word.partition("=")
        path = Path(folder if equals else word)
        name = name if equals else path.resolve().name
        if name in folders:
            raise UsageError(f"two models are named {name}: write NAME={path} for one of them")
        folders[name] = path
    return folders


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
