"""Local attention from the command line: trained, asked one by one and side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from small_runs import Outcome, qkv, tree, write_toml

LINES = "a b c\nd e\ng f e d c\nb\na a b b g\n"


def trained_with(folder: Path, corpus: Path, model: str, *words: str) -> Path:
    config = write_toml(folder / "config.toml", tree(corpus, model, epochs=1))
    out = folder / "run"
    outcome = qkv("train", config, "--out", out, "--quiet", *words)
    assert outcome.status == 0, outcome.err
    return out


def said(outcome: Outcome) -> list[dict]:
    assert outcome.status == 0, outcome.err
    return [json.loads(line)["outputs"][0] for line in outcome.lines]


@pytest.mark.parametrize("model", ["rnnsearch", "luong"])
@pytest.mark.parametrize("scope", ["local-m", "local-p"])
def test_a_local_model_trains_translates_and_aligns_and_batches_change_nothing(
    model: str, scope: str, corpus: Path, tmp_path: Path
):
    words = ["--model.attention.scope", scope, "--model.attention.window", "3"]
    run = trained_with(tmp_path, corpus, model, *words)
    kept = json.loads((run / "config.json").read_text())["model"]["attention"]
    assert (kept["scope"], kept["window"]) == (scope, 3)

    beams = {}
    for beam in ("1", "3"):
        ask = ["translate", run, "--json", "--search.beam", beam]
        together = said(qkv(*ask, stdin=LINES))
        one_by_one = [said(qkv(*ask, stdin=line))[0] for line in LINES.splitlines()]
        for alone, beside in zip(one_by_one, together, strict=True):
            assert alone["text"] == beside["text"]
            # float32, five steps of a few hundred terms each, in another order
            assert alone["score"] == pytest.approx(beside["score"], abs=1e-4)
        beams[beam] = together
    greedy = said(qkv("translate", run, "--json", "--search.method", "greedy", stdin=LINES))
    assert [o["text"] for o in greedy] == [o["text"] for o in beams["1"]]

    lines = "a b c\tc b a\nd e\te d\n"
    (tmp_path / "pairs.tsv").write_text(lines)
    aligned = qkv("align", run, "--input", tmp_path / "pairs.tsv", "--units", "tokens")
    assert aligned.status == 0, aligned.err
    assert len(aligned.lines) == 2
