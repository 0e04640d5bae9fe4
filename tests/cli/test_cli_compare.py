from __future__ import annotations

import fcntl
import json
import math
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from qkv.compare import compare
from qkv.configfile import make_config
from small_runs import Outcome, fit, qkv, spawn, tree, write_toml

SCORES = ("--vary", "attention.score=additive,dot")


@pytest.fixture(scope="module")
def recipe(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config whose training takes a tenth of a second."""
    values = tree(corpus, metric="accuracy", average=1)
    return write_toml(tmp_path_factory.mktemp("recipe") / "config.toml", values)


@pytest.fixture(scope="module")
def compared(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The folder of two finished variants, and what the command said."""
    folder = tmp_path_factory.mktemp("compared")
    gold = folder / "gold.tsv"
    gold.write_text("a b c\tc b a\t0-2 1-1 2p0\nd e\te d\t0-1 1-0\n", encoding="utf-8")
    words = ("--gold", gold, "--metrics", "accuracy", "per", "--show", "2")
    return folder, qkv("compare", recipe, *SCORES, "--out", folder / "out", *words)


def rows(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))["rows"]


def cells(outcome: Outcome) -> list[list[str]]:
    """Return the lines of a Markdown table, its rule left out."""
    lines = [line for line in outcome.lines if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "--" not in line
    ]


@pytest.mark.slow
def test_the_table_has_a_row_a_variant_with_the_numbers_that_the_other_verbs_give(compared):
    folder, outcome = compared
    assert outcome.status == 0, outcome.err
    head, *table = cells(outcome)
    assert head == [
        *("attention.score", "parameters", "dev perplexity", "accuracy", "per", "AER"),
        *("tokens/s", "minutes", "peak MiB"),
    ]
    assert [row[0] for row in table] == ["additive", "dot"]
    for row, result in zip(table, rows(folder / "out"), strict=True):
        run = folder / "out" / result["folder"]
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        best = max(records[:-1], key=lambda one: (one["dev_accuracy"], -one["dev_loss"]))
        assert float(row[2]) == pytest.approx(best["dev_perplexity"], abs=5e-4)
        words = ("--split", "dev", "--metrics", "accuracy", "per", "--json")
        scores = json.loads(qkv("evaluate", run, *words).out)["scores"]
        assert [float(cell) for cell in row[3:5]] == pytest.approx(
            [scores["accuracy"]["value"], scores["per"]["value"]], abs=5e-3
        )
        aligned = qkv("align", run, "--gold", folder / "gold.tsv").err
        assert f"AER = {row[5]}, " in aligned
        seconds = records[-2]["seconds"]
        assert result["minutes"] == pytest.approx(seconds / 60)
        before = [0.0, *(record["seconds"] for record in records[:-2])]
        tokens = sum(
            record["tokens_per_second"] * (record["seconds"] - since)
            for record, since in zip(records[:-1], before, strict=True)
        )
        assert result["tokens_per_second"] == pytest.approx(tokens / seconds)
        assert 50 < result["peak_mib"] < 2000
        assert result["threads"] == 1


@pytest.mark.slow
def test_unequal_sizes_are_plain_to_see(compared):
    folder, outcome = compared
    additive, dot = (result["parameters"] for result in rows(folder / "out"))
    more = 100 * (additive - dot) / dot
    assert additive > dot
    assert [row[1] for row in cells(outcome)[1:]] == [f"{additive:,} (+{more:.1f} %)", f"{dot:,}"]
    assert f"from {dot:,} to {additive:,} parameters" in outcome.out


@pytest.mark.slow
def test_it_says_which_variant_it_is_at(compared):
    folder, outcome = compared
    assert "variant 1 of 2: attention.score=additive\n" in outcome.err
    assert "variant 2 of 2: attention.score=dot\n" in outcome.err
    assert (folder / "out" / "table.md").read_text(encoding="utf-8") == outcome.out


@pytest.mark.slow
def test_what_is_finished_is_not_trained_again_and_gives_the_same_table(
    compared, recipe: Path, tmp_path: Path
):
    folder, outcome = compared
    words = ("--metrics", "accuracy", "per", "--show", "2")
    gold = ("--gold", folder / "gold.tsv")
    places = ("--table", tmp_path / "t.md", "--html", tmp_path / "p.html")
    with patch("qkv.compare.comparison.run_variant", side_effect=AssertionError) as trained:
        again = qkv("compare", recipe, *SCORES, "--out", folder / "out", *gold, *words, *places)
        # The whole key means the same folders, and the other order the same variants.
        other = ("--vary", "model.attention.score=dot,additive", "--out", folder / "out")
        turned = qkv("compare", recipe, *other, *gold, *words)
    assert not trained.called
    assert (again.status, again.out) == (0, outcome.out)
    assert again.err.count("(done before)") == 2
    assert (tmp_path / "t.md").read_text(encoding="utf-8") == outcome.out
    assert (tmp_path / "p.html").stat().st_size > 10_000
    assert [row[1:] for row in cells(turned)[1:]] == [row[1:] for row in cells(outcome)[:0:-1]]


@pytest.mark.slow
def test_another_question_is_answered_without_training(compared, recipe: Path):
    folder, _ = compared
    weights = [*(folder / "out").glob("*/weights.safetensors")]
    before = {path: path.stat().st_mtime_ns for path in weights}
    words = ("--split", "test", "--show", "0")
    outcome = qkv("compare", recipe, *SCORES, "--out", folder / "out", *words)
    assert outcome.status == 0
    assert cells(outcome)[0][3:5] == ["accuracy", "tokens/s"]  # the metric of the config
    assert "On test: accuracy" in outcome.out
    assert {path: path.stat().st_mtime_ns for path in weights} == before and len(before) == 2


@pytest.mark.slow
def test_a_variant_that_fails_is_a_row_and_the_others_go_on(recipe: Path, tmp_path: Path):
    words = ("--vary", "learning_rate=1e30,0.01", "--out", tmp_path / "out")
    outcome = qkv("compare", recipe, *words)
    assert outcome.status == 1
    (_, *failed), (_, *done) = cells(outcome)[1:]
    assert failed == ["failed", *["–"] * (len(failed) - 1)]
    assert "–" not in done
    assert "- learning_rate=1e+30 failed: the loss is nan" in outcome.out
    assert [row["status"] for row in rows(tmp_path / "out")] == ["failed", "done"]
    assert "the training diverged" in (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    # Once more: the failed one is tried again, and the other is there.
    again = qkv("compare", recipe, *words)
    assert again.status == 1
    assert again.err.count("(done before)") == 1 and "variant 1 failed" in again.err


def wait_for(condition: Any, process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something is so, at most a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end and (process is None or process.poll() is None)
        time.sleep(0.005)


def free(folder: Path) -> bool:
    """Whether no process trains in a folder."""
    with (folder / ".lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def stop(signal_: signal.Signals, words: tuple[Any, ...], run: Path) -> tuple[int, str]:
    """Start a comparison, stop it after the first checkpoint; return its status and its words."""
    process = spawn(*words, start_new_session=True)
    wait_for((run / "checkpoint.safetensors").exists, process)
    if signal_ == signal.SIGINT:
        os.killpg(process.pid, signal_)  # as a terminal does: to the variant's process as well
    else:
        process.send_signal(signal_)
    _, said = process.communicate()
    wait_for(lambda: free(run))  # the process of the variant ends with it
    assert not (run / "weights.safetensors").exists()
    assert rows(run.parent)[0]["status"] == "waiting"
    return process.returncode, said


@pytest.mark.slow
def test_a_comparison_that_was_killed_goes_on_to_the_weights_of_one_left_alone(
    corpus: Path, tmp_path: Path
):
    values = tree(corpus, epochs=12, checkpoint_every=3, average=1, evaluate_every=90)
    config = write_toml(tmp_path / "config.toml", values)
    words = ("compare", config, "--vary", "attention.score=dot", "--out", tmp_path / "out")
    run = tmp_path / "out" / "model.attention.score=dot"

    status, _ = stop(signal.SIGKILL, words, run)
    assert status == -signal.SIGKILL

    second = spawn(*words)
    _, said = second.communicate()
    assert second.returncode == 0, said
    assert "going on from step" in said
    values["model"]["attention"] = {"score": "dot"}
    alone = fit(tmp_path / "alone", values)
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (run, alone)]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_an_interrupted_comparison_says_how_to_go_on(corpus: Path, tmp_path: Path):
    values = tree(corpus, epochs=12, checkpoint_every=3, average=1, evaluate_every=90)
    config = write_toml(tmp_path / "config.toml", values)
    words = ("compare", config, *SCORES, "--out", tmp_path / "out")
    run = tmp_path / "out" / "model.attention.score=additive"

    status, said = stop(signal.SIGINT, words, run)

    assert status == 130 and "Traceback" not in said
    assert "0 of 2 variants are done" in said and "the same command goes on" in said
    assert said.endswith("qkv compare: interrupted\n")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "nothing is varied; give --vary"),
        (["--vary", "attention.scor=dot"], 2, "Did you mean 'attention.score'?"),
        (["--vary", "attention.score=dot,dto"], 2, "variant attention.score=dto: "),
        (["--vary", "score"], 2, "not of the form KEY=V1,V2"),
        (["--vary", "score=dot", "--vary", "attention.score=dot"], 2, "are the same key"),
        (["--vary", "score=dot,dot"], 2, "has the value 'dot' twice"),
        (["--vary", "score=dot", "--show", "-1"], 2, "--show -1"),
        (["--vary", "score=dot", "--table", "nowhere/t.md"], 2, "there is no folder nowhere"),
        (["--vary", "score=dot", "--training.epochs", "0"], 2, "training.epochs"),
        (["--vary", "score=dot", "--metrics", "blue"], 1, "unknown metric 'blue'"),
        (["--vary", "score=dot", "--split", "tset"], 1, "no tset data"),
        (["--vary", "score=dot", "--gold", "gone.tsv"], 1, "gone.tsv: No such file"),
        (
            ["--vary", "model.hidden=10,11", "--vary", "score=dot"],
            1,
            "model.hidden=11 score=dot: ",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    words: list[str], status: int, said: str, recipe: Path, tmp_path: Path
):
    with patch("qkv.compare.comparison.run_variant", side_effect=AssertionError) as trained:
        outcome = qkv("compare", recipe, *words, "--out", tmp_path / "out")
    assert (outcome.status, outcome.out) == (status, "")
    assert said in " ".join(outcome.err.split())
    assert not trained.called and not (tmp_path / "out").exists()


def test_gold_links_without_texts_are_refused(recipe: Path, tmp_path: Path):
    (tmp_path / "gold").write_text("0-0\n")
    words = ("--gold", tmp_path / "gold", "--out", tmp_path / "out")
    outcome = qkv("compare", recipe, *SCORES, *words)
    assert outcome.status == 1 and "holds links alone" in outcome.err


def test_a_folder_with_another_config_is_refused_with_the_keys_that_differ(
    recipe: Path, corpus: Path, tmp_path: Path
):
    values = tree(corpus, max_steps=1, metric="accuracy", average=1)
    values["model"] |= {"attention": {"score": "dot"}, "embedding": 5}
    fit(tmp_path / "model.attention.score=dot", values)
    with patch("qkv.compare.comparison.run_variant", side_effect=AssertionError):
        outcome = qkv("compare", recipe, *SCORES, "--out", tmp_path)
    assert (outcome.status, outcome.out) == (1, "")
    assert "another config; these keys differ: model.embedding" in outcome.err


def test_the_folder_of_a_run_is_no_place_for_a_comparison(recipe: Path, trained: Path):
    outcome = qkv("compare", recipe, *SCORES, "--out", trained)
    assert outcome.status == 1 and "is itself the folder of a run" in outcome.err


@pytest.mark.slow
def test_kinds_of_model_are_compared_from_python_and_one_has_no_attention_to_draw(
    corpus: Path, tmp_path: Path
):
    said: list[str] = []
    gold = tmp_path / "gold.tsv"
    gold.write_text("a b\tb a\t0-1 1-0\n", encoding="utf-8")
    found = compare(
        make_config(tree(corpus, max_steps=2, metric="accuracy")),
        {"model.kind": ["rnnenc", "rnnsearch"]},
        tmp_path / "out",
        gold=gold,
        show=1,
        say=said.append,
    )
    assert not found.failed
    without, attends = found.json()["rows"]
    assert without["alignment"] is None and 0 <= attends["alignment"]["aer"] <= 1
    assert all(math.isfinite(row["dev_perplexity"]) for row in (without, attends))
    table = [
        line.split(" | ") for line in found.markdown().splitlines() if line.startswith("| rnn")
    ]
    assert table[0][4] == "–" and table[1][4] != "–"
    page = found.html("kinds")
    assert "rnnenc has no attention; it writes" in page
    assert page.count("<svg") == 1
    assert said[0] == (
        "model.kind=rnnenc: that kind of model has no model.attention, model.encoder_hidden, "
        "model.maxout"
    )
