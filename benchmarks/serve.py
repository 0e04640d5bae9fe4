"""The server against the same model called directly in one process.

    python benchmarks/serve.py RUN [--texts FILE] [--seconds 10] [--clients 1 16 200]

Each client asks for one text after another. The texts that come back are compared with those of a
direct call first. Direct calls take the texts one at a time (what a client alone could hope for)
and 64 at a time (what batching could). Memory is the resident set of the server, before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import httpx

import qkv


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


def main() -> None:
    """Measure, print a table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--texts", type=Path, help="a line a text; none: letters of words")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 200])
    options = parser.parse_args()
    run = qkv.load(options.run)
    words = ["attention", "kernel", "softmax", "decoder", "translate", "beam", "saliency"]
    texts = (
        options.texts.read_text(encoding="utf-8").splitlines()[:200] if options.texts else words
    )
    command = [sys.executable, "-m", "qkv", "serve", "--port", "0", str(options.run)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    rows: dict[str, dict[str, float]] = {}
    try:
        url = re.search(r"at (http://\S+)", server.stderr.readline())[1]  # type: ignore[index]
        check(url, run, texts)
        for together in (1, 64):
            rows[f"direct, {together} at a time"] = {
                "per_second": direct(run, texts, together, options.seconds)
            }
        before = resident(server.pid)
        for clients in options.clients:
            start = time.perf_counter()
            times = asyncio.run(asked(url, texts, clients, options.seconds))
            rows[f"server, {clients} clients"] = {
                "per_second": len(times) / (time.perf_counter() - start),
                "p50_ms": 1000 * statistics.median(times),
                "p99_ms": 1000 * statistics.quantiles(times, n=100)[98],
            }
        memory = before, resident(server.pid)
    finally:
        server.terminate()
        server.wait()
    for name, row in rows.items():
        late = f"{row['p50_ms']:9.1f} {row['p99_ms']:9.1f}" if "p50_ms" in row else ""
        print(f"{name:24} {row['per_second']:9.1f} texts/s {late}")
    print(f"resident: {memory[0]:.0f} MB before, {memory[1]:.0f} MB after")
    print(json.dumps({"rows": rows, "resident_mb": memory}))


if __name__ == "__main__":
    main()
