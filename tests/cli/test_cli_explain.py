"""`qkv explain` on runs that it can and cannot explain."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from qkv.explain.faithfulness import TESTS
from small_runs import fit, qkv, tree, write_labels

pytest.importorskip("scipy", reason="scipy is not installed (qkv[explain])")
QUICK = ("--settings.permutations", "9", "--settings.steps", "9", "--settings.adversaries", "2")


def test_a_classifier_is_explained_on_the_terminal_as_json_and_as_a_page(
    keyword_classifier, tmp_path
):
    out = tmp_path / "deep" / "report"
    done = qkv("explain", keyword_classifier, *QUICK, "--limit", "20", "--output", out)
    assert done.status == 0, done.err
    tree = json.loads((out / "explanation.json").read_text())
    assert [one["test"] for one in tree["findings"]] == [
        "gradient", "leave-one-out", "permutation", "adversarial", "uniform",
    ]  # fmt: skip
    assert tree["n"] == 20 and tree["split"] == "test" and tree["run"] == str(keyword_classifier)
    assert tree["verdict"]["says"] in done.out
    page = (out / "index.html").read_text()
    assert page.count("<svg") == 7  # five distributions, two by the largest weight
    assert tree["verdict"]["says"] in page


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """A hierarchical network that has learned which word says the label."""
    folder = tmp_path_factory.mktemp("network")
    training = {"epochs": 8, "learning_rate": 0.02, "average": 1, "label_smoothing": 0.0}
    given = tree(write_labels(folder / "labels", "hierarchical"), "hierarchical", **training)
    given["data"]["tokens_per_batch"] = 200
    return fit(folder / "run", given)


def test_every_test_is_run_on_a_hierarchical_network(network, tmp_path):
    few = (*QUICK, "--settings.seeds", "1", "--settings.epochs", "1", "--limit", "20")
    done = qkv("explain", network, *few, "--train", "--json", "--output", tmp_path)
    assert done.status == 0, done.err
    report = json.loads(done.out)
    assert {one["test"] for one in report["findings"]} == set(TESTS)
    assert report["weights"] == (
        "of each word in its sentence, times that of the sentence in its text"
    )
    found = {one["test"]: one["value"] for one in report["findings"]}
    assert found["permutation"]["mean"] > 0.1  # it reads where it looks
    assert all(one["n"] > 1 for one in found.values())


def test_the_same_seed_finds_the_same(keyword_classifier):
    words = ("explain", keyword_classifier, *QUICK, "--limit", "9", "--json")
    trees = [json.loads(qkv(*words, "--seed", seed).out) for seed in ("3", "3", "4")]
    for one in trees:
        del one["seconds"]
    assert trees[0] == trees[1] != trees[2]


def test_only_the_named_tests_run_on_texts_that_are_long_enough(keyword_classifier):
    done = qkv("explain", keyword_classifier, "--tests", "gradient", "--shortest", "4", "--json")
    tree = json.loads(done.out)
    assert [one["test"] for one in tree["findings"]] == ["gradient"]
    corpus = json.loads((Path(keyword_classifier) / "config.json").read_text())["data"]["test"][0]
    lines = Path(corpus).read_text().splitlines()
    assert tree["n"] == sum(len(line.split("\t")[0].split()) >= 4 for line in lines)


def test_training_is_announced_with_its_time_and_kept(keyword_classifier, tmp_path):
    words = (
        "explain",
        keyword_classifier,
        "--tests",
        "uniform-trained",
        "--train",
        "--output",
        tmp_path,
    )
    done = qkv(*words)
    assert done.status == 0, done.err
    assert "1 trainings to come" in done.err and "minutes" in done.err
    assert len(list((tmp_path / "models").glob("uniform-1-*/weights.safetensors"))) == 1


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (
            ("--tests", "gradiant"),
            1,
            "unknown test 'gradiant'; allowed: gradient, .* Did you mean",
        ),
        (("--tests", "seeds"), 1, "seeds trains models .* --train"),
        (("--limit", "-1"), 2, "--limit -1: it is a number of examples, or 0 for all"),
        (("--limit", "1"), 1, "1 examples: an interval needs 2 or more; raise --limit"),
        (("--settings.epsilon", "2"), 2, "--settings.epsilon 2.0: it is between 0 and 1"),
        (("--settings.steps", "0"), 2, "--settings.steps 0: give 1 or more"),
        (("--shortest", "99"), 1, "no text .* 99 tokens"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_was_given(
    keyword_classifier, words, status, says
):
    done = qkv("explain", keyword_classifier, *words)
    assert done.status == status
    assert re.search(says, done.err), done.err
    assert len(done.err.splitlines()) == 1


def test_a_run_that_writes_sequences_is_refused_with_what_there_is_for_it(trained):
    done = qkv("explain", trained)
    assert done.status == 1
    assert "classifier" in done.err and "this run is a rnnsearch" in done.err
    assert "qkv align" in done.err


def test_without_scipy_the_extra_is_named(keyword_classifier, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    done = qkv("explain", keyword_classifier, "--tests", "gradient")
    assert done.status == 1 and "pip install 'qkv[explain]'" in done.err
