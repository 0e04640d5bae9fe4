from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from qkv.config import MODEL_CONFIGS, Config
from qkv.configfile import config_tree, load_config, make_config
from small_runs import LABELLERS, MODELS, Outcome, qkv, tree, write_toml

# Another allowed value for the keys that take one of a few words.
WORDS = {
    "corpus": "reverse",
    "directory": "somewhere",
    "invalid": "skip",
    "cell": "lstm",
    "controller": "feedforward",
    "score": "dot",
    "normalizer": "sparsemax",
    "norm": "post",
    "positions": "learned",
    "alignment": "0.1",
    "optimizer": "sgd",
    "schedule": "cosine",
    "precision": "bfloat16",
    "metric": "per",
    "baseline": "learned",
    "method": "greedy",
    "scope": "local-m",
    "encoder": "transformer",
}
GUIDED = ("rnnsearch", "luong", "transformer", "hard")
POOLED = ("classifier", "hierarchical")  # their query has no place, so no window either
EXCLUSIVE = {"alpha", "temperature", "bias", "features", "layer_scores"}  # see their own test


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def changed(key: str, value: Any) -> Any:
    """Return another value that is allowed."""
    name = key.rpartition(".")[2]
    if key.startswith("text.") and name == "kind":
        return "unigram"
    if value == "independent":
        return "monotonic"
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value / 2 if value else 0.25
        case tuple() if name == "betas":
            return (0.5, 0.75)
        case tuple():
            return ("one.en", "two.de")
    return WORDS.get(name, "xy")


def as_words(key: str, value: Any) -> list[str]:
    """Return how a key is given a value on the command line."""
    if isinstance(value, bool):
        table, _, name = key.rpartition(".")
        return [f"--{key}" if value else f"--{table}.no-{name}".replace("_", "-")]
    values = [str(one) for one in value] if isinstance(value, tuple) else [str(value)]
    return [f"--{key.replace('_', '-')}", *values]


def settings_of(*words: str | Path) -> Config:
    """Return the config that `qkv train` would train with."""
    with patch("qkv.training.loop.train") as train:
        outcome = qkv("train", *words)
    assert outcome == Outcome(0, "", ""), outcome
    config: Config = train.call_args.args[0]
    return config


@pytest.mark.parametrize("kind", MODEL_CONFIGS)
def test_every_key_of_a_config_can_be_changed_on_the_command_line(kind: str, tmp_path: Path):
    base = Config(model=MODEL_CONFIGS[kind]())
    config = write_toml(tmp_path / "config.toml", {"model": {"kind": kind}})
    wanted = {
        key: changed(key, value)
        for key, value in leaves(config_tree(base))
        if key not in {"model.kind", "text.shared"}
        and key.rpartition(".")[2] not in EXCLUSIVE
        and not (kind == "hard" and key.rpartition(".")[2] in {"normalizer", "scope", "window"})
        and not (kind in POOLED and key.endswith(".scope"))
        and not (kind not in GUIDED and key.startswith("training.guided."))
        and not (kind == "rnnsearch" and key == "training.guided.shifted")
    }
    words = [word for key, value in wanted.items() for word in as_words(key, value)]
    before = dict(leaves(config_tree(base)))
    assert not [key for key, value in wanted.items() if value == before[key]]

    found = dict(leaves(config_tree(settings_of(config, *words))))

    assert {key: found[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("kind", "flags", "wanted"),
    [
        ("luong", ["normalizer", "entmax", "alpha", "1.3"], {"alpha": 1.3}),
        ("rnnsearch", ["normalizer", "gumbel", "temperature", "0.5"], {"temperature": 0.5}),
        ("transformer", ["bias", "alibi"], {"bias": "alibi"}),
        ("transformer", ["features", "elu"], {"features": "elu"}),
        (
            "transformer",
            ["layer-scores", "dot", "cosine", "dot", "additive"],
            {"layer_scores": ("dot", "cosine", "dot", "additive")},
        ),
    ],
)
def test_so_can_those_that_go_only_with_certain_others(kind, flags, wanted, tmp_path: Path):
    config = write_toml(tmp_path / "config.toml", {"model": {"kind": kind}})
    slot = "encoder-attention" if kind == "transformer" else "attention"
    names = {"normalizer", "alpha", "temperature", "bias", "features", "layer-scores"}
    words = [f"--model.{slot}.{flag}" if flag in names else flag for flag in flags]
    found = settings_of(config, *words)
    attention = getattr(found.model, slot.replace("-", "_"))
    assert {name: getattr(attention, name) for name in wanted} == wanted


@pytest.mark.parametrize("flag", ["--training.max_steps", "--training.max-steps"])
def test_a_key_may_be_written_as_in_the_file_or_with_hyphens(flag: str, tmp_path: Path):
    config = write_toml(tmp_path / "config.toml", {})
    assert settings_of(config, flag, "17").training.max_steps == 17
    assert settings_of(config, f"{flag}=17").training.max_steps == 17


def test_what_the_command_line_does_not_say_is_as_in_the_file(corpus: Path, tmp_path: Path):
    values = tree(corpus, "transformer")
    config = write_toml(tmp_path / "config.toml", values)
    given = make_config(values)
    assert settings_of(config) == given
    found = settings_of(config, "--model.heads", "4", "--text.shared")
    assert found == replace(
        given, model=replace(given.model, heads=4), text=replace(given.text, shared=True)
    )


def test_the_config_of_a_run_trains_another_one(trained: Path):
    assert settings_of(trained / "config.json") == load_config(trained / "config.json")


def test_options_before_the_config_are_refused_with_the_right_order(tmp_path: Path):
    config = write_toml(tmp_path / "config.toml", {})
    outcome = qkv("train", "--out", tmp_path / "run", config)
    assert (outcome.status, outcome.out) == (2, "")
    assert "the config comes first" in outcome.err and "qkv train CONFIG" in outcome.err


@pytest.mark.parametrize("words", [["--model.kind", "luong"], ["--model.kind=luong"]])
def test_the_kind_of_the_model_is_the_configs(words: list[str], tmp_path: Path):
    config = write_toml(tmp_path / "config.toml", {"model": {"kind": "rnnsearch"}})
    outcome = qkv("train", config, *words)
    assert (outcome.status, outcome.out) == (2, "")
    assert "--model.kind cannot change the kind" in outcome.err
    assert "'rnnsearch'" in outcome.err and "write another config" in outcome.err
    same = [word.replace("luong", "rnnsearch") for word in words]
    assert settings_of(config, *same).model.kind == "rnnsearch"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--training.epochs", "-3"], ["training.epochs", "given: -3", "must be 1 or more"]),
        (["--model.dropout", "1.5"], ["model.dropout", "given: 1.5"]),
        (["--training.learning-rate", "nan"], ["training.learning_rate", "given: nan"]),
        (["--training.epochs", "three"], ["--training.epochs", "three"]),
        (["--training.optimizer", "adm"], ["--training.optimizer", "adm", "adamw"]),
        (["--model.attention.score", "addtive"], ["unknown score 'addtive'", "'additive'"]),
        (["--text.shared", "--text.source.size", "9"], ["text.shared", "text.source"]),
        (["--training.betas", "0.9"], ["--training.betas"]),
        (["--search.beam", "0"], ["search.beam", "given: 0"]),
    ],
)
def test_a_wrong_value_on_the_command_line_is_a_usage_error_that_names_it(
    words: list[str], parts: list[str], tmp_path: Path
):
    config = write_toml(tmp_path / "config.toml", {"model": {"kind": "rnnsearch"}})
    outcome = qkv("train", config, *words, "--out", tmp_path / "run")
    assert (outcome.status, outcome.out) == (2, "")
    said = " ".join(outcome.err.replace("│", " ").split())
    for part in parts:
        assert part in said
    assert not (tmp_path / "run").exists()


def test_a_corpus_and_files_at_once_are_refused_by_their_names(corpus: Path, tmp_path: Path):
    config = write_toml(tmp_path / "config.toml", tree(corpus))
    outcome = qkv("train", config, "--data.corpus", "reverse", "--out", tmp_path / "run")
    assert outcome.status == 1
    assert "data.corpus = 'reverse' and data.train are both given" in outcome.err


def test_a_config_that_does_not_exist_is_an_error_of_one_line(tmp_path: Path):
    outcome = qkv("train", tmp_path / "nothing.toml")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"qkv train: config {tmp_path / 'nothing.toml'} does not exist\n"


def test_a_training_says_what_it_does_on_standard_error_alone(corpus: Path, tmp_path: Path):
    config = write_toml(tmp_path / "config.toml", tree(corpus, epochs=1))
    outcome = qkv("train", config, "--out", tmp_path / "run")
    assert (outcome.status, outcome.out) == (0, "")
    for part in (
        "90 pairs of 90 lines",
        "vocabularies: ",
        "parameters on cpu",
        "dev_loss",
        "done",
    ):
        assert part in outcome.err
    again = qkv("train", config, "--out", tmp_path / "run", "--training.epochs", "2")
    assert again.status == 0
    assert "going on from step " in again.err


@pytest.mark.parametrize(
    ("model", "changes", "parts"),
    [
        ("transformer", {"heads": 5}, ["12", "5"]),
        ("transformer", {"kv_heads": 2}, ["3", "2"]),
        ("transformer", {"alignment": "7.0"}, ["model.alignment = '7.0'", "layer < 2"]),
        ("rnnsearch", {"hidden": 11, "attention": {"score": "dot"}}, ["'dot'", "even", "11"]),
    ],
)
def test_a_model_that_cannot_be_built_is_refused_and_the_folder_stays_free(
    model: str, changes: dict[str, Any], parts: list[str], corpus: Path, tmp_path: Path
):
    values = tree(corpus, model, max_steps=1)
    config = write_toml(tmp_path / "config.toml", values)
    values["model"] |= changes
    wrong = write_toml(tmp_path / "wrong.toml", values)
    outcome = qkv("train", wrong, "--out", tmp_path / "run")
    assert outcome.status == 1
    for part in parts:
        assert part in outcome.err
    assert qkv("train", config, "--out", tmp_path / "run").status == 0


def test_all_models_have_a_small_form():
    assert (MODELS | LABELLERS).keys() == MODEL_CONFIGS.keys()


def test_the_run_folder_holds_what_it_says(trained: Path):
    names = {path.name for path in trained.iterdir() if not path.name.startswith(".")}
    assert names == {
        *("config.json", "source.json", "target.json", "versions.json", "metrics.jsonl"),
        *("weights.safetensors", "checkpoint.safetensors", "snapshots"),
    }
    versions = json.loads((trained / "versions.json").read_text())
    assert versions.keys() >= {"python", "machine", "qkv", "torch", "numpy"}
