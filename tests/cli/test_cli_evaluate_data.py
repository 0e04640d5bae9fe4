from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from qkv.configfile import load_config
from qkv.data import CORPORA
from qkv.folder import RunFolder
from qkv.run import load
from qkv.training.distributed import Processes
from qkv.training.log import Reporter
from qkv.training.task import load_task
from qkv.training.validate import measure
from small_runs import fit, qkv, tree, write_toml


def test_the_dev_metric_that_a_training_kept_is_that_of_evaluate(trained: Path):
    kept = json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])
    found = json.loads(
        qkv("evaluate", trained, "--split", "dev", "--metrics", "accuracy", "--json").out
    )
    assert found["scores"]["accuracy"]["value"] == kept["dev_accuracy"]
    assert 0 < kept["dev_accuracy"] < 100


@pytest.mark.parametrize("metric", ["accuracy", "wer", "per", "bleu", "chrf"])
def test_every_dev_metric_of_a_training_is_that_of_evaluate(metric: str, trained: Path):
    if metric in {"bleu", "chrf"}:
        pytest.importorskip("sacrebleu")
    run = load(trained)
    settings = replace(run.config.training, metric=metric, dev_limit=17)
    config = replace(run.config, training=settings)
    alone = Processes(0, 1, torch.device("cpu"))
    task = load_task(config, RunFolder(trained), alone, Reporter(speaks=False))
    value = measure(run.model, task, config, alone.device)[metric]

    words = ("--split", "dev", "--limit", "17", "--metrics", metric, "--json")
    found = json.loads(qkv("evaluate", trained, *words).out)

    assert found["sentences"] == 17
    assert found["scores"][metric]["value"] == value
    assert 0 < value < 100


def test_evaluate_writes_the_scores_to_standard_output_and_the_rate_to_the_other(trained: Path):
    outcome = qkv("evaluate", trained, "--metrics", "wer", "per", "accuracy")
    assert outcome.status == 0
    head, *rows = outcome.lines
    assert head.split() == ["metric", "value", "signature"]
    assert [row.split()[0] for row in rows] == ["wer", "per", "accuracy"]
    assert outcome.err.startswith("qkv evaluate: 24 sources in ")
    wer, _, accuracy = (float(row.split()[1]) for row in rows)
    assert wer + accuracy == pytest.approx(100.0, abs=0.01)


def test_json_by_length_splits_the_same_sentences(trained: Path):
    words = ("--metrics", "wer", "--by-length", "--json")
    found = json.loads(qkv("evaluate", trained, *words).out)
    assert found["sentences"] == 24
    assert sum(bucket["count"] for bucket in found["by_length"]["buckets"]) == 24


def test_by_length_is_a_table_below_the_scores(trained: Path):
    plain = qkv("evaluate", trained, "--metrics", "wer")
    longer = qkv("evaluate", trained, "--metrics", "wer", "--by-length")
    assert longer.out.startswith(plain.out)
    assert "length" in longer.out[len(plain.out) :]


def test_the_outputs_are_written_a_line_each(trained: Path, tmp_path: Path):
    config = load_config(trained / "config.json")
    sources = [line.split("\t")[0] for line in Path(config.data.test[0]).read_text().splitlines()]
    qkv("evaluate", trained, "--metrics", "wer", "--output", tmp_path / "out")
    translated = qkv("translate", trained, stdin="\n".join(sources) + "\n")
    assert (tmp_path / "out").read_text() == translated.out


def test_other_data_and_another_search_can_be_given(trained: Path, tmp_path: Path):
    (tmp_path / "one.tsv").write_text("a b\tb a\n")
    words = ("--data.test", tmp_path / "one.tsv", "--search.beam", "1", "--metrics", "accuracy")
    outcome = qkv("evaluate", *words, "--json", trained)
    assert json.loads(outcome.out)["scores"]["accuracy"]["value"] == 100.0


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--metrics", "bleux"], 1, "unknown metric 'bleux'; allowed: bleu"),
        (["--split", "dve"], 1, "dve"),
        (["--limit", "-1"], 2, "--limit -1"),
        (["--metrics"], 2, "--metrics names none; give at least one of bleu"),
        (
            ["--search.top-p", "0.9", "--search.method", "greedy"],
            2,
            "--search.top-p belongs to --search.method sample, but the method is greedy",
        ),
        (["--search.beam", "0"], 2, "search.beam"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    words: list[str], status: int, said: str, trained: Path
):
    outcome = qkv("evaluate", trained, *words)
    assert (outcome.status, outcome.out) == (status, "")
    assert said in outcome.err


def test_data_that_moved_is_named_and_can_be_given_anew(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A config with relative paths counts from the folder that the command is started in."""
    monkeypatch.chdir(corpus)
    values = tree(Path(), max_steps=2)
    run = fit(tmp_path / "run", values)
    assert qkv("evaluate", run, "--metrics", "wer").status == 0
    monkeypatch.chdir(tmp_path)
    outcome = qkv("evaluate", run, "--metrics", "wer")
    assert outcome.status == 1
    assert "no such file: test.tsv" in outcome.err
    given = ("--data.test", corpus / "test.tsv")
    assert qkv("evaluate", run, "--metrics", "wer", *given).status == 0


def test_data_lists_every_corpus_with_what_to_write_and_its_licence():
    outcome = qkv("data")
    assert (outcome.status, outcome.err) == (0, "")
    for name, corpus in CORPORA.items():
        assert f"{name}\n" in outcome.out
        assert f'data.corpus = "{name}"' in outcome.out
        assert f"licence: {corpus.licence}" in outcome.out


def test_data_shows_the_pairs_of_a_config(corpus: Path, tmp_path: Path):
    values = tree(corpus)
    del values["data"]["test"]
    config = write_toml(tmp_path / "config.toml", values)
    outcome = qkv("data", config, "--show", "2")
    assert (outcome.status, outcome.err) == (0, "")
    first = (corpus / "train.tsv").read_text().splitlines()[:2]
    assert [line.strip() for line in outcome.lines[1:3]] == first
    assert "train.tsv: 90 pairs of 90 lines" in outcome.lines[0]
    assert outcome.lines[-1] == "test: not given"


def test_data_that_cannot_be_read_is_an_error_that_names_the_line(corpus: Path, tmp_path: Path):
    (tmp_path / "bad.tsv").write_text("a b\tb a\nonly one column\n")
    values = tree(corpus)
    values["data"]["dev"] = [str(tmp_path / "bad.tsv")]
    outcome = qkv("data", write_toml(tmp_path / "config.toml", values))
    assert outcome.status == 1
    assert f"{tmp_path / 'bad.tsv'}:2: wrong number of columns" in outcome.err


def test_the_demo_trains_measures_transcribes_and_draws(trained: Path):
    """With the config of a run that is trained already, in place of the dictionary."""
    config = load_config(trained / "config.json")
    with patch("qkv.cli.demo.load_config", return_value=config):
        outcome = qkv("demo", "--out", trained, "--words", "a b c", "d e")
    assert outcome.status == 0
    assert "24 held-out words" in outcome.out
    assert "a b c: c b a" in outcome.out and "d e: e d" in outcome.out
    page = trained / "attention.html"
    assert f"a page: {page.resolve()}" in outcome.out
    assert page.stat().st_size > 10_000
    page.unlink()


def test_a_metric_that_does_not_exist_is_refused_before_anything_is_translated(trained: Path):
    with patch("qkv.run.Run.translate") as translate:
        outcome = qkv("evaluate", trained, "--metrics", "wer", "blue")
    assert outcome.status == 1 and "unknown metric 'blue'" in outcome.err
    assert not translate.called


def test_data_refuses_fewer_than_no_pairs_and_pairs_of_no_config(corpus: Path, tmp_path: Path):
    config = write_toml(tmp_path / "config.toml", tree(corpus))
    for words, said in (([config, "--show", "-1"], "--show -1"), (["--show", "2"], "CONFIG")):
        outcome = qkv("data", *words)
        assert (outcome.status, outcome.out) == (2, "")
        assert said in outcome.err
