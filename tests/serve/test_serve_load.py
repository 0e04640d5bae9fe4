"""Many clients, long runs, and the end of a server."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from pathlib import Path

import httpx
from serving import BARE, HEADS, output, running

TEXTS = ["a b c", "g f e d", "b", "c c a b f", "d e", "a", "f f f g", "e d c b a"]


async def _many(url: str, clients: int, each: int, model: str) -> list[tuple[str, str, int]]:
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(
        base_url=url, limits=limits, timeout=60, trust_env=False
    ) as client:

        async def one(start: int) -> list[tuple[str, str, int]]:
            found = []
            for step in range(each):
                text = TEXTS[(start + step) % len(TEXTS)]
                response = await client.post("/translate", json={"text": text, "model": model})
                best = response.json()["results"][0]["outputs"][0]["text"]
                found.append((text, best, response.status_code))
            return found

        answers = await asyncio.gather(*(one(place) for place in range(clients)))
    return [answer for some in answers for answer in some]


def test_two_hundred_clients_get_their_own_answers_in_batches(server, client):
    want = {text: output(client, text) for text in TEXTS}
    before = _batches(client.get("/metrics").text)
    found = asyncio.run(_many(server.url, 200, 5, HEADS))
    assert len(found) == 1000
    assert {status for _, _, status in found} == {200}
    assert all(best == want[text] for text, best, _ in found)
    after = _batches(client.get("/metrics").text)
    assert after["sum"] - before["sum"] == 1000
    assert after["count"] - before["count"] < 1000  # some were worked on together


def _batches(metrics: str) -> dict[str, float]:
    return {
        kind: float(line.split()[-1])
        for line in metrics.splitlines()
        for kind in ("sum", "count")
        if line.startswith(f'qkv_batch_texts_{kind}{{model="{HEADS}"}}')
    }


def _resident(pid: int) -> float:
    """Megabytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


async def _asked(port: int, clients: int, each: int) -> int:
    """Ask over bare sockets, as a client's pool would take longer than the server."""
    body = json.dumps({"text": TEXTS[0], "model": BARE}).encode()
    head = f"POST /translate HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n"
    request = head.encode() + b"Content-Type: application/json\r\n\r\n" + body

    async def one() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answered = 0
        for _ in range(each):
            writer.write(request)
            told = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", told)
            assert length is not None
            await reader.readexactly(int(length[1]))
            answered += told.startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
        return answered

    return sum(await asyncio.gather(*(one() for _ in range(clients))))


def test_memory_is_flat_over_ten_thousand_requests(runs):
    with running(runs[BARE]) as server:
        assert asyncio.run(_asked(server.port, 100, 10)) == 1_000  # pools and caches have filled
        before = _resident(server.process.pid)
        assert asyncio.run(_asked(server.port, 100, 100)) == 10_000
        # A leak of one text's tensors (some kB) a request would be some tens of MB.
        assert _resident(server.process.pid) - before < 10


def test_a_server_told_to_stop_finishes_what_it_has_begun(runs):
    with running(runs[HEADS]) as server:
        found: list[int] = []

        def ask() -> None:
            texts = ["a b c d e f g " * 20] * 100
            answer = httpx.post(
                f"{server.url}/translate", json={"text": texts}, timeout=60, trust_env=False
            )
            found.append(answer.status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        while "/translate" not in _busy(server.url):
            time.sleep(0.01)
        status, said = server.stop()
        asking.join()
        assert found == [200]
        assert status == 0, said


def _busy(url: str) -> str:
    """The paths of requests that wait, as far as the metrics know of a first batch."""
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    begun = any(
        line.startswith("qkv_batch_texts_count") and not line.endswith(" 0.0")
        for line in text.splitlines()
    )
    return "/translate" if begun else ""


def test_a_killed_server_can_be_started_again_at_once(runs):
    with running(runs[BARE]) as first:
        port = first.port
        with httpx.Client(base_url=first.url, trust_env=False) as client:
            assert client.get("/health").status_code == 200
            first.process.kill()
            first.process.wait()
    with running("--port", str(port), runs[BARE]) as again:
        assert again.port == port
        answer = httpx.post(f"{again.url}/translate", json={"text": "a"}, trust_env=False)
        assert answer.status_code == 200


def test_a_taken_port_is_said(server, runs):
    from small_runs import spawn

    process = spawn("serve", "--port", str(server.port), runs[BARE])
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and f":{server.port}" in said and "--port" in said
    socket.create_connection(("127.0.0.1", server.port)).close()
