"""What each path answers."""

from __future__ import annotations

import json

import pytest
import torch
from serving import BARE, HEADS

from qkv import load
from small_runs import qkv

TEXTS = ["a b c", "g f e d", "b", "c c a b f"]


def test_texts_come_out_as_on_the_command_line(client, runs):
    lines = qkv("translate", runs[HEADS], stdin="\n".join(TEXTS) + "\n").lines
    answer = client.post("/translate", json={"text": TEXTS}).json()
    assert [result["outputs"][0]["text"] for result in answer["results"]] == lines
    alone = [client.post("/translate", json={"text": text}).json() for text in TEXTS]
    assert [one["results"][0]["outputs"][0]["text"] for one in alone] == lines


def test_outputs_carry_score_tokens_and_attention(client, runs):
    body = {"text": "a b c", "n_best": 2, "attention": True}
    (result,) = client.post("/translate", json=body).json()["results"]
    want = load(runs[HEADS]).translate(["a b c"], n_best=2)[0]
    assert [output["text"] for output in result["outputs"]] == [one.text for one in want]
    for got, one in zip(result["outputs"], want, strict=True):
        assert got["score"] == pytest.approx(one.score, rel=1e-5)
        torch.testing.assert_close(torch.tensor(got["attention"]), one.attention)
    assert [token["text"] for token in result["source_tokens"]] == ["a", "b", "c"]


def test_a_stream_gives_a_line_a_text(client):
    whole = client.post("/translate", json={"text": TEXTS}).json()["results"]
    with client.stream("POST", "/translate", json={"text": TEXTS, "stream": True}) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in response.iter_lines()]
    assert [line["outputs"][0]["text"] for line in lines] == [
        result["outputs"][0]["text"] for result in whole
    ]
    assert [line["index"] for line in lines] == [0, 1, 2, 3]


def test_the_second_model_answers_by_its_name(client, runs):
    answer = client.post("/translate", json={"text": "a b", "model": BARE}).json()
    assert answer["model"] == BARE
    want = load(runs[BARE]).translate(["a b"])[0][0].text
    assert answer["results"][0]["outputs"][0]["text"] == want


def test_links_are_those_of_the_command_line(client, runs):
    lines = qkv("align", runs[HEADS], stdin="a b c\tc b a\nd e\te d\n").lines
    body = {"source": ["a b c", "d e"], "target": ["c b a", "e d"]}
    answer = client.post("/align", json=body).json()
    assert [result["pharaoh"] for result in answer["results"]] == lines


def test_every_layer_and_head_can_be_looked_at(client, runs):
    body = {"source": "a b c", "target": "c b"}
    found = client.post("/attention", json=body).json()
    assert found["target"] == "c b" and found["weights"] is None
    sizes = {one["kind"]: (one["layers"], one["heads"]) for one in found["attentions"]}
    shapes = {
        "encoder self-attention": (4, 4),
        "decoder self-attention": (3, 3),
        "cross-attention": (3, 4),
    }
    assert sizes == dict(zip(shapes, [(1, 3), (2, 3), (2, 3)], strict=True))
    for kind, (layers, heads) in sizes.items():
        for layer in range(layers):
            for head in (None, *range(heads)):
                asked = body | {"kind": kind, "layer": layer, "head": head}
                got = client.post("/attention", json=asked).json()
                weights = torch.tensor(got["weights"])
                assert weights.shape == shapes[kind]
                assert (len(got["rows"]), len(got["columns"])) == tuple(weights.shape)
                torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))


def test_the_last_layers_mean_is_what_the_run_reports(client, runs):
    body = {"source": "a b c", "target": "c b", "kind": "cross-attention"}
    weights = client.post("/attention", json=body).json()["weights"]
    want = load(runs[HEADS]).force(["a b c"], ["c b"])[0].attention
    torch.testing.assert_close(torch.tensor(weights), want)


def test_models_health_and_metrics_are_told(client):
    models = client.get("/models").json()["models"]
    assert [(model["name"], model["attends"], model["answers"]) for model in models] == [
        (HEADS, True, ["/translate", "/align", "/attention"]),
        (BARE, False, ["/translate"]),
        ("classifier", True, ["/classify"]),
        ("hierarchical", True, ["/classify"]),
        ("tagger", True, ["/tag"]),
    ]
    assert [sorted(model["labels"] or []) for model in models] == [
        [], [], ["down", "up"], ["down", "up"], ["HIGH", "LOW", "MARK"],
    ]  # fmt: skip
    assert client.get("/health").json() == {"status": "ok", "waiting": 0}
    client.post("/translate", json={"text": "a"})
    lines = client.get("/metrics").text.splitlines()
    counted = [line for line in lines if line.startswith("qkv_requests_total{")]
    assert any('path="/translate",status="200"' in line for line in counted)
    assert any(line.startswith(f'qkv_batch_texts_count{{model="{HEADS}"}}') for line in lines)


def test_the_description_names_every_path(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {
        "/translate", "/classify", "/tag", "/align", "/attention", "/models", "/health",
    } <= set(paths)  # fmt: skip
    assert "429" in paths["/translate"]["post"]["responses"]
