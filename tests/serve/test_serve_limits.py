"""What is refused, and how."""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress

import httpx
import pytest
from serving import BARE, HEADS, output, running


def test_a_request_that_passes_a_limit_is_told_the_limit(client, refused):
    many = refused(client.post("/translate", json={"text": ["a"] * 257}), 422)
    assert many["limit"] == 256 and "257 texts" in many["message"]
    long = refused(client.post("/translate", json={"text": "a " * 513}), 422)
    assert long["limit"] == 512 and "513 tokens" in long["message"]
    for path in ("/classify", "/tag"):
        assert refused(client.post(path, json={"text": ["a"] * 257}), 422)["limit"] == 256
        assert refused(client.post(path, json={"text": "a " * 513}), 422)["limit"] == 512
    assert refused(client.post("/translate", json={"text": "a", "n_best": 11}), 422)["limit"] == 10
    assert refused(client.post("/translate", json={"text": "a", "beam": 17}), 422)["limit"] == 16
    assert (
        refused(client.post("/translate", json={"text": "a" * 1_000_001}), 413)["limit"] == 10**6
    )


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("/translate", {}, "text"),
        ("/translate", {"text": " "}, "empty"),
        ("/translate", {"text": ["a", ""]}, "text 1 is empty"),
        ("/translate", {"text": "a", "txet": 1}, "txet"),
        ("/translate", {"text": "a", "n_best": 3, "beam": 2}, "keeps 2"),
        ("/translate", {"text": "a", "method": "greedy", "beam": 2}, "beam belongs"),
        ("/translate", {"text": "a", "method": "greedy", "n_best": 2}, "one output"),
        ("/align", {"source": ["a", "b"], "target": "c"}, "2 sources"),
        ("/align", {"source": "a", "target": " "}, "target 0"),
        ("/align", {"source": "a", "target": "b", "model": BARE}, "no attention"),
        ("/classify", {"text": "a", "model": HEADS}, "gives texts; it answers /translate /align"),
        ("/tag", {"text": "a", "model": "classifier"}, "it answers /classify, not /tag"),
        ("/translate", {"text": "a", "model": "tagger"}, "a label for each word; it answers /tag"),
        ("/attention", {"source": "a", "model": "hierarchical"}, "it answers /classify, not"),
        ("/classify", {"text": ["a", " "]}, "text 1 is empty"),
        ("/tag", {"text": "a", "n_best": 2}, "n_best"),
        ("/attention", {"source": "a", "kind": "sideways"}, "sideways"),
        ("/attention", {"source": "a", "kind": "cross-attention", "layer": 2}, "layer is 2"),
        ("/attention", {"source": "a", "kind": "cross-attention", "head": 3}, "head is 3"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(client, refused, path, body, word):
    assert word in refused(client.post(path, json=body), 422)["message"]


def test_what_is_not_there_is_said_in_the_same_form(client, refused):
    assert (
        HEADS
        in refused(client.post("/translate", json={"text": "a", "model": "x"}), 404)["message"]
    )
    refused(client.get("/nowhere"), 404)
    refused(client.get("/translate"), 405)
    refused(
        client.post("/translate", content=b"{", headers={"content-type": "application/json"}), 422
    )
    refused(client.post("/translate", content=b"\xff\xfe{}"), 422)


def test_a_key_is_asked_for_where_there_is_one(runs, refused):
    with (
        running(runs[BARE], QKV_API_KEY="open sesame") as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        refused(client.post("/translate", json={"text": "a"}), 401)
        wrong = {"Authorization": "Bearer open"}
        refused(client.post("/translate", json={"text": "a"}, headers=wrong), 401)
        right = {"Authorization": "Bearer open sesame"}
        assert client.post("/translate", json={"text": "a"}, headers=right).status_code == 200
        assert client.get("/health").status_code == 200
        for path in ("/align", "/attention", "/view"):
            refused(client.post(path, json={"source": "a", "target": "b"}), 401)
        for path in ("/classify", "/tag"):
            refused(client.post(path, json={"text": "a"}), 401)
        assert client.get("/page/viewer.js").status_code == 200


def test_a_full_queue_and_a_late_answer_are_refused(runs, refused):
    words = ("--limits.queue", "3", "--limits.seconds", "0.000001", runs[HEADS])
    with (
        running(*words) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        full = client.post("/translate", json={"text": ["a"] * 4})
        assert refused(full, 429)["limit"] == 3
        assert full.headers["retry-after"] == "1"
        late = client.post("/translate", json={"text": "a b c d e f g " * 20})
        assert refused(late, 503)["limit"] == 0.000001


def test_a_slow_body_and_a_silent_connection_are_given_up(runs, refused):
    with running("--limits.body_seconds", "0.3", runs[BARE]) as server:
        head = b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
            slow.sendall(head + b'{"text": ')
            assert slow.recv(4096).startswith(b"HTTP/1.1 408")
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as silent:
            silent.sendall(b"POST /trans")
            assert silent.recv(4096) == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff garbage\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /translate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_malformed_requests_get_no_500_and_leave_the_server_alive(server, client, sent):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        got = b""
        with suppress(ConnectionError):  # it may hang up before it has read all
            raw.sendall(sent)
            with suppress(OSError):  # hung up already
                raw.shutdown(socket.SHUT_WR)  # half closed: nothing more will come
            while part := raw.recv(65536):
                got += part
    assert b" 500 " not in got.partition(b"\r\n")[0]
    assert client.get("/health").status_code == 200


def test_a_client_that_leaves_does_not_disturb_the_others(server, client):
    body = b'{"text": "a b c d e f g"}'
    head = b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(head + body)
    want = output(client, "g f")
    deadline = time.monotonic() + 20
    while client.get("/health").json()["waiting"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert output(client, "g f") == want and client.get("/health").json()["waiting"] == 0


@pytest.mark.parametrize(
    ("sent", "header", "said"),
    [
        ('{"text": "May 1"', "application/json", "the body is not JSON: .*character"),
        ('{"text": "May 1"}', "text/plain", "send JSON, with the header Content-Type"),
    ],
)
def test_a_body_that_cannot_be_read_says_what_to_send(client, refused, sent, header, said):
    response = client.post("/translate", content=sent, headers={"Content-Type": header})
    assert re.search(said, refused(response, 422)["message"])
