"""Runs that give labels, from the command line to the picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from label_values import values
from torch.testing import assert_close

import qkv as library
from qkv.models.weights import load_tensors
from small_runs import fit, qkv, write_labels, write_toml


def test_a_planted_rule_is_learned_in_seconds(classifier: Path):
    run = library.load(classifier)
    found = run.classify(["a b up . c", "g . down . a a"])
    assert [one.label for one in found] == ["up", "down"]
    assert_close(found[0].attention.sum(), torch.tensor(1.0))
    assert all(one.probability == max(one.probabilities.values()) > 0.9 for one in found)
    assert_close(sum(found[0].probabilities.values()), 1.0, rtol=0.0, atol=1e-6)
    assert [(token.start, token.end) for token in found[0].source.tokens][2] == (4, 6)


def test_a_hierarchical_network_learns_it_too(hierarchical: Path):
    found = library.load(hierarchical).classify(["a b up . c", "g . down . a a"])
    assert [one.label for one in found] == ["up", "down"]
    assert_close(found[0].attention.sum(), torch.tensor(1.0))


def test_neither_the_other_texts_nor_their_order_change_a_label(classifier: Path):
    run = library.load(classifier)
    texts = ["a b up . c", "down", "g . down . a a e f g", "up ."]
    together = run.classify(texts)
    for text, one in zip(texts, together, strict=True):
        (alone,) = run.classify([text])
        # float32, some hundred terms of size 1 in each of a few sums
        close = {"rtol": 0.0, "atol": 512 * torch.finfo(torch.float32).eps}
        assert_close(alone.attention, one.attention, **close)
        assert_close(alone.probabilities, one.probabilities, **close)


def test_a_tagger_gives_each_word_its_label(tagger: Path):
    (found,) = library.load(tagger).tag(["a g . up c"])
    assert found.text == "LOW HIGH MARK HIGH LOW"
    assert found.attention.shape == (5, 5) and len(found.probabilities) == 5
    assert_close(found.attention.sum(-1), torch.ones(5))


def test_evaluate_measures_labels_with_the_metrics_of_their_kind(classifier: Path, tagger: Path):
    outcome = qkv("evaluate", classifier, "--json", "--by-label", "--by-length")
    assert outcome.status == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["scores"].keys() == {"accuracy", "f1-macro"}
    assert told["scores"]["accuracy"]["value"] == 100.0
    assert {one["label"] for one in told["by_label"]["labels"]} == {"up", "down"}
    assert told["by_length"]["buckets"][0]["count"] == 40
    outcome = qkv("evaluate", tagger, "--by-label", "--output", tagger.parent / "tags.txt")
    assert "token-accuracy" in outcome.out and "there, given:" in outcome.out
    assert (tagger.parent / "tags.txt").read_text().split()[0] in ("LOW", "HIGH", "MARK")


def test_classify_reads_lines_and_writes_labels(classifier: Path, tmp_path: Path):
    outcome = qkv("classify", classifier, stdin="a b up . c\n\ng . down\n")
    label, probability = outcome.lines[0].split("\t")
    assert (label, outcome.lines[1]) == ("up", "")
    assert 0.5 < float(probability) <= 1
    outcome = qkv("classify", classifier, "--json", stdin="a b up . c\n\n")
    told = [json.loads(line) for line in outcome.lines]
    assert told[0]["label"] == "up" and len(told[0]["attention"]) == len(told[0]["tokens"]) == 5
    assert told[1] == {"line": 2, "text": ""}


def test_the_attention_of_a_label_is_drawn(classifier: Path, tagger: Path, tmp_path: Path):
    page, picture = tmp_path / "page.html", tmp_path / "one.svg"
    outcome = qkv(
        *("classify", classifier, "--show", "--html", page, "--svg", picture), stdin="a b up . c\n"
    )
    assert outcome.status == 0, outcome.err
    assert "up" in outcome.lines[1] and "█" in outcome.out
    assert "a b up . c → up" in page.read_text() and "<svg" in picture.read_text()
    outcome = qkv("tag", tagger, "--html", page, stdin="a g .\n")
    assert outcome.lines == ["LOW HIGH MARK"]
    assert "g HIGH" in page.read_text()
    outcome = qkv("classify", classifier, "--html", page, stdin="\n")
    assert (outcome.status, "no attention to draw" in outcome.err) == (1, True)


@pytest.mark.parametrize(
    ("verb", "run", "said"),
    [
        ("translate", "classifier", "`qkv classify RUN`"),
        ("align", "classifier", "`qkv classify RUN`"),
        ("tag", "classifier", "`qkv classify RUN`"),
        ("classify", "tagger", "`qkv tag RUN`"),
        ("classify", "trained", "`qkv translate RUN`"),
        ("tag", "trained", "`qkv translate RUN`"),
    ],
)
def test_a_verb_of_another_kind_of_model_names_the_right_one(verb, run, said, request):
    outcome = qkv(verb, request.getfixturevalue(run), stdin="a b\tup\n")
    assert (outcome.status, said in outcome.err) == (1, True), outcome.err


def test_options_of_a_search_are_refused_where_nothing_is_searched(classifier: Path):
    outcome = qkv("evaluate", classifier, "--search.beam", "3")
    assert (outcome.status, "nothing is searched" in outcome.err) == (2, True)


def test_an_empty_text_and_a_text_that_is_no_list_are_refused(classifier: Path):
    run = library.load(classifier)
    with pytest.raises(ValueError, match="text 1 is empty"):
        run.classify(["a", "  "])
    with pytest.raises(ValueError, match="takes a list of texts"):
        run.classify("a b")
    assert run.classify([]) == []


def changed(folder: Path, kind: str, split: str, line: str) -> Path:
    """A corpus whose split has one more line."""
    write_labels(folder, kind, train=20, test=5)
    file = folder / f"{split}.tsv"
    file.write_text(file.read_text() + line, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("kind", "split", "line", "said"),
    [
        ("classifier", "dev", "a b\tleft\n", "the label 'left' (line 6) is none of the 2"),
        ("classifier", "train", "a b\tup left\n", "pair 21 has 2 labels for 2 words"),
        ("tagger", "train", "a b\tLOW\n", "pair 21 has 1 labels for 2 words"),
        ("tagger", "dev", "a b\tLOW TOP\n", "the label 'TOP' (line 6) is none of the 3"),
    ],
)
def test_labels_that_cannot_be_learned_or_measured_are_refused(kind, split, line, said, tmp_path):
    config = write_toml(
        tmp_path / "config.toml", values(changed(tmp_path, kind, split, line), kind)
    )
    outcome = qkv("train", config, "--out", tmp_path / "run")
    assert (outcome.status, said in outcome.err) == (1, True), outcome.err


def test_one_label_alone_is_refused(tmp_path: Path):
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text("a b\tup\nc\tup\n", encoding="utf-8")
    config = write_toml(tmp_path / "config.toml", values(tmp_path, "classifier"))
    outcome = qkv("train", config, "--out", tmp_path / "run")
    assert (outcome.status, "every training label is 'up'" in outcome.err) == (1, True)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("classifier", {"target": {"kind": "characters"}}, 'text.target = { kind = "words" }'),
        ("tagger", {"source": {"kind": "characters"}}, 'text.source = { kind = "words" }'),
        ("classifier", {"target": {"min_count": 900}}, "no symbol is seen 900 times"),
        ("classifier", {"target": {"size": 5}}, "leave out some of the training labels"),
    ],
)
def test_tokenisers_that_would_cut_or_lose_labels_are_refused(kind, text, said, tmp_path):
    write_labels(tmp_path, kind, train=20, test=5)
    given = values(tmp_path, kind)
    for side, changes in text.items():
        given["text"][side] = given["text"][side] | changes
    outcome = qkv("train", write_toml(tmp_path / "config.toml", given), "--out", tmp_path / "run")
    assert (outcome.status, said in outcome.err) == (1, True), outcome.err


def test_a_label_of_the_test_set_that_was_never_trained_is_refused(
    classifier: Path, labels: Path, tmp_path: Path
):
    test = tmp_path / "test.tsv"
    test.write_text("a b up\tup\nc\tsideways\n", encoding="utf-8")
    outcome = qkv("evaluate", classifier, "--data.test", test)
    assert (outcome.status, "'sideways' (line 2)" in outcome.err) == (1, True), outcome.err


@pytest.mark.parametrize("kind", ["classifier", "hierarchical", "tagger"])
def test_a_stopped_training_goes_on_to_the_same_bits(kind: str, tmp_path: Path):
    write_labels(tmp_path, kind, train=30, test=5)
    given = values(tmp_path, kind, epochs=2, checkpoint_every=1, average=2)
    whole = fit(tmp_path / "whole", given)
    steps = json.loads((whole / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    given["training"]["max_steps"] = steps // 2
    parts = fit(tmp_path / "parts", given)
    given["training"]["max_steps"] = 0
    fit(parts, given)
    first, _ = load_tensors(whole / "weights.safetensors")
    second, _ = load_tensors(parts / "weights.safetensors")
    assert_close(second, first, rtol=0.0, atol=0.0)


def test_compare_lays_classifiers_side_by_side(labels: Path, tmp_path: Path):
    config = write_toml(tmp_path / "config.toml", values(labels, "classifier", max_steps=4))
    outcome = qkv(
        "compare", config, "--vary", "encoder=projection,gru", "--out", tmp_path / "compared"
    )
    assert outcome.status == 0, outcome.err
    assert "projection" in outcome.out and "f1-macro" in outcome.out
