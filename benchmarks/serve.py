"""The server against the same model called directly in one process.

    python benchmarks/serve.py RUN --texts FILE [--seconds 4] [--rounds 2] [--clients 1 16 200]

Each client asks for one text after another. The texts that come back are compared with those of a
direct call first. Direct calls take the texts one at a time (what a client alone could hope for)
and 64 at a time (what batching could), on all cores; the server and its clients share them, so
what part of the processor time the clients took is told. All ways alternate, round by round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import httpx
import torch
from report import RESULTS, result, save
from rounds import summary

import qkv

TICK = os.sysconf("SC_CLK_TCK")


def direct(run: qkv.Run, texts: list[str], together: int, seconds: float) -> float:
    """Texts a second, so many at a time."""
    end, done, supply = time.perf_counter() + seconds, 0, cycle(texts)
    start = time.perf_counter()
    while time.perf_counter() < end:
        run.translate(list(islice(supply, together)))
        done += together
    return done / (time.perf_counter() - start)


async def asked(url: str, texts: list[str], clients: int, seconds: float) -> list[float]:
    """How long each answer took, in seconds. Bare sockets: a library's pool would be measured."""
    times: list[float] = []
    host, _, port = url.removeprefix("http://").partition(":")
    end = time.perf_counter() + seconds

    async def one(place: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for text in islice(cycle(texts), place, None):
            start = time.perf_counter()
            if start > end:
                break
            body = json.dumps({"text": text}).encode()
            head = (
                f"POST /translate HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            answered = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answered)
            if not answered.startswith(b"HTTP/1.1 200") or length is None:
                raise SystemExit(f"the server answered {answered.decode()}")
            await reader.readexactly(int(length[1]))
            times.append(time.perf_counter() - start)
        writer.close()

    await asyncio.gather(*map(one, range(clients)))
    return times


def served(url: str, pid: int, texts: list[str], clients: int, seconds: float) -> dict:
    """Ask for some seconds; what came of it, and the processor time of both sides."""
    start, own, its = time.perf_counter(), time.process_time(), spent(pid)
    times = asyncio.run(asked(url, texts, clients, seconds))
    wall, own, its = time.perf_counter() - start, time.process_time() - own, spent(pid) - its
    return {"per_second": len(times) / wall, "times": times, "clients": own, "server": its}


def spent(pid: int) -> float:
    """Seconds of processor time of a process, all its threads together (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid: int) -> float:
    """Megabytes of a process (Linux)."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def check(url: str, run: qkv.Run, texts: list[str]) -> None:
    """Refuse to measure a server whose texts are not those of a direct call."""
    answer = httpx.post(f"{url}/translate", json={"text": texts}, timeout=60, trust_env=False)
    got = [result["outputs"][0]["text"] for result in answer.json()["results"]]
    if got != [found[0].text for found in run.translate(texts)]:
        raise SystemExit("the server's texts differ from those of a direct call")


@contextmanager
def started(folder: Path) -> Iterator[tuple[str, int]]:
    """Start the server at a free port; its address and process."""
    command = [sys.executable, "-m", "qkv", "serve", "--port", "0", str(folder)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        yield re.search(r"at (http://\S+)", server.stderr.readline())[1], server.pid  # type: ignore[index]
    finally:
        server.terminate()
        server.wait()


def row_of(way: str, windows: list[dict]) -> dict:
    """Put the windows of one number of clients together."""
    times = [1000 * one for window in windows for one in window["times"]]
    own, its = (sum(window[side] for window in windows) for side in ("clients", "server"))
    return {
        "way": way,
        **summary([window["per_second"] for window in windows]),
        "p50_ms": statistics.median(times),
        "p99_ms": statistics.quantiles(times, n=100)[98],
        "clients_share": own / (own + its),
        "server_ms": 1000 * its / len(times),
    }


def measured(run: qkv.Run, texts: list[str], given: argparse.Namespace) -> tuple[list, tuple]:
    """Return a row a way, and the server's memory before and after."""
    windows: dict[str, list] = {}
    with started(given.run) as (url, pid):
        check(url, run, texts[:64])
        run.translate(texts[:1])  # nothing is compiled or prepared while it is measured
        before = resident(pid)
        for _ in range(given.rounds):
            for together in (1, 64):
                windows.setdefault(f"called directly, {together} at a time", []).append(
                    direct(run, texts, together, given.seconds)
                )
            for clients in given.clients:
                name = f"qkv serve, {clients} client{'s' * (clients > 1)}"
                windows.setdefault(name, []).append(
                    served(url, pid, texts, clients, given.seconds)
                )
        memory = before, resident(pid)
    rows = [
        row_of(way, found) if isinstance(found[0], dict) else {"way": way, **summary(found)}
        for way, found in windows.items()
    ]
    return rows, memory


def notes(rows: list[dict], memory: tuple[float, float]) -> list[str]:
    """Return what the report's table has no column for."""
    lines = [
        "| | p50, ms | p99, ms | server's processor ms a text | clients' share of it all |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {row['way']} | {row['p50_ms']:,.0f} | {row['p99_ms']:,.0f} "
            f"| {row['server_ms']:.1f} | {row['clients_share']:.0%} |"
            for row in rows
            if "p50_ms" in row
        ),
    ]
    return [
        "\n".join(lines),
        f"The server held {memory[0]:,.0f} MB before and {memory[1]:,.0f} MB after.",
    ]


def main() -> None:
    """Measure, and leave a result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--texts", type=Path, help="a line a text; none: letters of words")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 200])
    parser.add_argument("--name", default="model", help="of the model, in the result and its file")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    run = qkv.load(given.run)
    words = ["attention", "kernel", "softmax", "decoder", "translate", "beam", "saliency"]
    texts = given.texts.read_text(encoding="utf-8").splitlines()[:200] if given.texts else words
    rows, memory = measured(run, texts, given)
    size = sum(p.numel() for p in run.network.parameters())
    search = run.config.search
    how = f"beam {search.beam}" if search.method == "beam" else search.method
    task = f"{given.name}: {run.config.model.kind}, {size / 1e6:.1f} M, {how}"
    rows = [{"task": task, "unit": "texts/s"} | row for row in rows]
    found = result(
        f"Serving: {given.name}", torch.get_num_threads(), {}, rows=rows, notes=notes(rows, memory)
    )
    for row in rows:
        late = f"{row['p50_ms']:9.1f} {row['p99_ms']:9.1f}" if "p50_ms" in row else ""
        print(f"{row['way']:32} {row['median']:9.1f} texts/s {late}")
    print("\n".join(found["notes"]))
    print(save(given.results / f"serving-{given.name}.json", found))


if __name__ == "__main__":
    main()
