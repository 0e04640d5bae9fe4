"""Labels over HTTP are those of the command line, alone, in batches, and whoever else asks."""

from __future__ import annotations

import asyncio
import json
import threading

import httpx
import pytest
import torch
from serving import HEADS, LABELS, running

from qkv.serve import batching
from qkv.serve.team import Team
from small_runs import qkv

TEXTS = ["a b up . c", "down .", "g . f e d down", "up"]
PATHS = {"classifier": "/classify", "hierarchical": "/classify", "tagger": "/tag"}
# Probabilities are float32 of about 50 operations on numbers of a few units; batches differ.
SLACK = {"rel": 0, "abs": 50 * 4 * 2.0**-23}


def told(kind: str, runs) -> list[dict]:
    """What the command line says of each text."""
    verb = PATHS[kind].strip("/")
    lines = qkv(verb, runs[kind], "--json", stdin="\n".join(TEXTS) + "\n").lines
    return [json.loads(line) for line in lines]


def flat(numbers: list) -> list[float]:
    return [one for part in numbers for one in (part if isinstance(part, list) else [part])]


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("together", [True, False])
def test_labels_probabilities_and_attention_are_those_of_the_command_line(
    client, runs, kind, together
):
    body = {"model": kind, "attention": True}
    found = [
        result
        for texts in ([TEXTS] if together else [[text] for text in TEXTS])
        for result in client.post(PATHS[kind], json=body | {"text": texts}).json()["results"]
    ]
    for got, want in zip(found, told(kind, runs), strict=True):
        assert (got["source"], got["source_tokens"]) == (want["text"], want["tokens"])
        assert flat(got["attention"]) == pytest.approx(flat(want["attention"]), **SLACK)
        assert got["probabilities"] == pytest.approx(want["probabilities"], **SLACK)
        named = "tags" if kind == "tagger" else "label"
        assert got[named] == want[named]


def test_attention_is_given_where_it_is_asked_for_alone(client):
    for path, text in (("/classify", "a up"), ("/tag", "a up")):
        (result,) = client.post(path, json={"text": text}).json()["results"]
        assert result["attention"] is None
    classified = client.post("/classify", json={"text": "a up"}).json()
    assert classified["model"] == "classifier"  # the first that answers there
    (result,) = classified["results"]
    assert result["probability"] == result["probabilities"][result["label"]]


def test_many_clients_get_their_own_labels_in_batches(server, client, runs):
    want = {text: one["label"] for text, one in zip(TEXTS, told("classifier", runs), strict=True)}

    async def all_of_them() -> list[tuple[str, httpx.Response]]:
        options = {"base_url": server.url, "timeout": 60, "trust_env": False}
        async with httpx.AsyncClient(**options) as asking:
            texts = TEXTS * 40
            asked = (asking.post("/classify", json={"text": text}) for text in texts)
            return list(zip(texts, await asyncio.gather(*asked), strict=True))

    before = batches(client)
    for text, response in asyncio.run(all_of_them()):
        assert response.json()["results"][0]["label"] == want[text]
    counted, texts = (new - old for new, old in zip(batches(client), before, strict=True))
    assert texts == 160 and counted < 160  # some were worked on together


def batches(client: httpx.Client) -> tuple[float, float]:
    """Batches of the classifier, and the texts in them, as the metrics count them."""
    lines = client.get("/metrics").text.splitlines()
    first, second = (
        float(line.split()[-1])
        for name in ("count", "sum")
        for line in lines
        if line.startswith(f'qkv_batch_texts_{name}{{model="classifier"}}')
    )
    return first, second


def test_a_small_batch_leaves_a_core_to_http_and_a_large_one_takes_all():
    seen: list[int] = []
    before = torch.get_num_threads()
    try:
        team = Team(small=2, large=3)
        for size in (1, 31, 32, 64):
            assert team.work(lambda some: some, list(range(size))) == list(range(size))
            seen.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert seen == [2, 2, 3, 3]
    assert Team.of(0) == (max(1, before - 1), before) and Team.of(5) == (5, 5)


@pytest.mark.parametrize("came", [[8], [1, 1], []])
def test_those_who_were_just_answered_and_ask_again_are_worked_on_together(came, monkeypatch):
    """A batch of ten, one that waits meanwhile, and some that come a moment later."""
    monkeypatch.setattr(batching, "SHARE", 1e6)  # however slow this machine is
    release = threading.Event()

    async def sizes() -> list[int]:
        taken: list[int] = []

        def work(items: list[int]) -> list[int]:
            taken.append(len(items))
            assert release.wait(30)
            return items

        batcher: batching.Batcher[int, int] = batching.Batcher(work, batch=64, queue=99)
        first = batcher.put(range(10))
        await asyncio.sleep(0)
        last = batcher.put([0])
        release.set()
        await asyncio.gather(*first)
        for more in came:
            last += batcher.put(range(more))
            await asyncio.sleep(0)
        await asyncio.gather(*last)
        return taken

    assert asyncio.run(sizes()) == [10, 1 + sum(came)]


def test_a_text_that_finds_the_model_idle_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(batching, "TICK", 3600.0)
    monkeypatch.setattr(batching, "SHARE", 1e6)

    async def answered() -> None:
        batcher: batching.Batcher[int, int] = batching.Batcher(list, batch=64, queue=9)
        await asyncio.gather(*batcher.put([1, 2, 3]))
        await asyncio.gather(*batcher.put([4]))

    asyncio.run(asyncio.wait_for(answered(), 30))


def test_a_full_queue_of_a_labeller_is_refused(runs, refused):
    with (
        running("--limits.queue", "3", runs["tagger"]) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        assert refused(client.post("/tag", json={"text": ["a"] * 4}), 429)["limit"] == 3
        nobody = refused(client.post("/translate", json={"text": "a"}), 422)["message"]
        assert "no model here answers /translate" in nobody and "answers /tag" in nobody


def test_the_page_is_told_what_a_model_makes_of_a_text(client):
    view = client.post("/view", json={"text": "a up", "model": "tagger"}).json()
    assert [word for word, _, _ in view["tags"]] == ["a", "up"]
    assert list(view["heads"]) == ["0-0-0"]
    assert client.post("/view", json={"text": "a", "model": HEADS}).json()["output"] is not None
