from __future__ import annotations

import ast
import inspect
import re
import string
import textwrap
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

from qkv.config import MODEL_CONFIGS, AttentionConfig, Config, LuongConfig, TransformerConfig
from qkv.configfile import config_tree, load_config, make_config
from qkv.folder import RunFolder, differing_keys, digest, write_json
from small_runs import small, tree, write_toml

KINDS = list(MODEL_CONFIGS)
ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
DEMO = ROOT / "src" / "qkv" / "cli" / "demo.toml"


def tables(tree: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Give the path of every table, the whole config's included."""
    yield path
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from tables(value, (*path, key))


def at(tree: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path:
        tree = tree[key]
    return tree


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return value


def edits(word: str) -> Iterator[str]:
    """Give every word that one deletion, swap, doubling or changed letter makes of a word."""
    for i in range(len(word)):
        yield word[:i] + word[i + 1 :]
        yield word[:i] + word[i] + word[i:]
        yield word[:i] + ("x" if word[i] != "x" else "z") + word[i + 1 :]
        if i + 1 < len(word):
            yield word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def distance(a: str, b: str) -> int:
    """Return how many insertions, deletions and replacements make b of a."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def every_typo() -> Iterator[tuple[str, tuple[str, ...], str, str]]:
    """Give kind, path, key and misspelt key, for each table of each kind of model."""
    for kind in KINDS:
        whole = config_tree(Config(model=MODEL_CONFIGS[kind]()))
        for path in tables(whole):
            if kind != KINDS[0] and path[:1] != ("model",):
                continue  # the same tables again
            for key in at(whole, path):
                # The kind tells the tables apart, so a misspelt one leaves no table to look in.
                if (*path, key) not in {("model",), ("model", "kind")}:
                    yield from ((kind, path, key, typo) for typo in edits(key))


def refusal(tree: dict[str, Any]) -> str:
    with pytest.raises(ValueError) as raised:
        make_config(tree)
    return str(raised.value)


def test_every_key_with_one_edit_is_refused_with_the_right_key_as_the_suggestion():
    checked = set()
    for kind, path, key, typo in every_typo():
        known = at(config_tree(Config(model=MODEL_CONFIGS[kind]())), path)
        if typo in known:
            continue  # the edit made another key
        given: dict[str, Any] = {"model": {"kind": kind}}
        if path:
            given = {**given, **nested(path, {typo: known[key]})}
        else:
            given[typo] = known[key]
        if path[:1] == ("model",):
            given["model"]["kind"] = kind
        message = refusal(given)

        assert f"unknown key {'.'.join((*path, typo))}; did you mean " in message
        suggested = message.rpartition("did you mean ")[2].strip("'?")
        nearest = min(distance(typo, other) for other in known)
        assert suggested in known, message
        # Some edits (top_ of top_k, top_p) are as near to another key of the table.
        assert suggested == key or distance(typo, suggested) <= nearest, message
        checked.add((kind if path[:1] == ("model",) else "", *path, key))
    assert len(checked) > 100


def test_a_key_of_another_table_is_suggested_where_its_own_table_has_none_like_it():
    message = refusal({"training": {"dropout": 0.3}})
    assert "unknown key training.dropout; did you mean model.dropout?" in message


def test_a_key_like_no_other_is_refused_with_the_keys_there_are():
    assert "unknown key search.zzzzz; allowed here: method, beam" in refusal(
        {"search": {"zzzzz": 1}}
    )


def test_several_mistakes_are_named_at_once():
    message = refusal({"training": {"epoch": 3}, "search": {"beam": 0}})
    assert "training.epoch" in message and "search.beam" in message


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (
            {"training": {"epochs": 0}},
            ["training.epochs", "given: 0", "must be 1 or more"],
        ),
        (
            {"training": {"epochs": "5"}},
            ["given: '5'", "a whole number, without quotes"],
        ),
        ({"training": {"epochs": True}}, ["training.epochs", "given: True", "a whole number"]),
        ({"training": {"epochs": 2.5}}, ["training.epochs", "given: 2.5", "a whole number"]),
        ({"training": {"learning_rate": float("nan")}}, ["training.learning_rate", "given: nan"]),
        ({"training": {"learning_rate": -1e-3}}, ["training.learning_rate", "given: -0.001"]),
        ({"training": {"betas": [0.9]}}, ["training.betas", "given: [0.9]"]),
        ({"training": {"betas": [0.9, 0.9, 1]}}, ["training.betas", "a list of 2 values"]),
        ({"training": {"tensorboard": "yes"}}, ["given: 'yes'", "true or false"]),
        ({"data": {"corpus": 3}}, ["data.corpus", "given: 3", "a text in quotes"]),
        ({"training": {"betas": [0.9, 1.5]}}, ["training.betas.1", "given: 1.5"]),
        (
            {"training": {"optimizer": "adm"}},
            [
                "unknown training.optimizer 'adm'",
                "adam, adamw, adadelta, sgd. Did you mean 'adam'?",
            ],
        ),
        ({"training": {"label_smoothing": 1.0}}, ["training.label_smoothing", "given: 1.0"]),
        ({"search": {"top_p": 1.5}}, ["search.top_p", "given: 1.5", "must be 1 or less"]),
        (
            {"data": {"train": "train.tsv"}},
            ["data.train", "given: 'train.tsv'", "a list"],
        ),
        ({"text": {"source": "bpe"}}, ["text.source", "given: 'bpe'", "a table of keys"]),
        ({"model": {"kind": "luong", "dropout": 1.5}}, ["model.dropout", "given: 1.5"]),
        ({"model": {"kind": "transfomer"}}, ["model.kind", "'transfomer'", "rnnsearch, luong"]),
        ({"model": {"kind": "transfomer"}}, ["Did you mean 'transformer'?"]),
        ({"model": {"hidden": 3}}, ["model.kind is missing", "rnnenc, rnnsearch, luong"]),
        ({"model": "luong"}, ["model", "given: 'luong'", "a table of keys"]),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_the_value_and_what_is_allowed(
    values: dict[str, Any], parts: list[str]
):
    message = refusal(values)
    for part in parts:
        assert part in message


WRONG = ("xyzzy", 3, -3, -2.5, True, None, [], [1, 2, 3], {}, float("nan"), float("inf"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_refuses_every_wrong_type_in_our_words(kind: str):
    """None of pydantic's own wording is left."""
    whole = config_tree(Config(model=MODEL_CONFIGS[kind]()))
    for path in tables(whole):
        if kind != KINDS[0] and path[:1] != ("model",):
            continue  # the same tables again
        for key, wrong in product(at(whole, path), WRONG):
            given = nested((*path, key), wrong)
            if path[:1] == ("model",):
                given["model"] = {"kind": kind, **given["model"]}
            try:
                make_config(given)
            except ValueError as error:
                said = str(error)
                # A table that contradicts itself is named as a whole.
                assert key in said or (path and path[-1] in said), said
                assert not re.search(r"Input|[Ii]nstance|Field|Tuple|a valid ", said), said


@pytest.mark.parametrize(
    ("slot", "right"),
    [
        ("score", "general"),
        ("normalizer", "softmax"),
        ("scope", "global"),
        ("bias", "relative_buckets"),
        ("features", "positive_random"),
    ],
)
def test_an_unknown_part_of_an_attention_is_refused_with_the_nearest_one(slot: str, right: str):
    values = {"model": {"kind": "luong", "attention": {slot: right[:-1]}}}
    message = refusal(values)
    assert f"unknown {slot} {right[:-1]!r}; allowed: " in message
    assert f"Did you mean {right!r}?" in message
    assert "model.attention" in message


def test_an_unknown_score_of_a_layer_is_refused_with_the_nearest_one():
    attention = {"layer_scores": ["dot", "genral"]}
    message = refusal({"model": {"kind": "transformer", "encoder_attention": attention}})
    assert "unknown score 'genral'" in message and "Did you mean 'general'?" in message


@pytest.mark.parametrize(
    ("attention", "parts"),
    [
        ({"alpha": 1.3}, ["alpha = 1.3 is entmax's", 'normalizer = "softmax"', "leave one"]),
        ({"alpha": 1.0, "normalizer": "entmax"}, ["above 1, got 1.0", "softmax"]),
        ({"alpha": -1.0, "normalizer": "entmax"}, ["attention.alpha", "given: -1.0"]),
        ({"temperature": 0.5, "normalizer": "entmax"}, ["temperature = 0.5", "leave one"]),
        ({"temperature": 0.0}, ["attention.temperature", "given: 0.0", "more than 0"]),
        ({"scope": "local-m", "window": 0}, ["attention.window", "given: 0"]),
        ({"bias": "alibi"}, ["model.attention.bias", 'model.kind = "transformer"', "leave it"]),
        ({"features": "elu"}, ["model.attention.features", "Transformer", "leave it out"]),
        ({"layer_scores": ["dot"]}, ["model.attention.layer_scores", "Transformer"]),
    ],
)
@pytest.mark.parametrize("kind", ["rnnsearch", "luong"])
def test_an_attention_that_contradicts_itself_or_its_model_is_refused_with_what_to_do(
    kind: str, attention: dict[str, Any], parts: list[str]
):
    message = refusal({"model": {"kind": kind, "attention": attention}})
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("name", "attention", "parts"),
    [
        ("encoder", {"features": "elu", "scope": "local-m"}, ["linear attention", "leave out"]),
        ("encoder", {"features": "elu", "bias": "alibi"}, ["linear attention", "bias"]),
        ("encoder", {"features": "elu", "layer_scores": ["dot"] * 4}, ["layer_scores"]),
        ("decoder", {"features": "elu", "normalizer": "sparsemax"}, ["leave out normalizer"]),
        (
            "encoder",
            {"layer_scores": ["dot"] * 3},
            ["names 3 scores for 4 layers", "each"],
        ),
        ("decoder", {"scope": "local-p"}, ["decoder_attention.scope", 'take "local-m"']),
        (
            "cross",
            {"bias": "relative"},
            ['cross_attention.bias = "relative"', "in encoder"],
        ),
        ("cross", {"normalizer": "hard"}, ["cross_attention.normalizer", "REINFORCE", "gumbel"]),
    ],
)
def test_an_attention_that_a_transformer_cannot_have_is_refused_with_what_to_do(
    name: str, attention: dict[str, Any], parts: list[str]
):
    message = refusal({"model": {"kind": "transformer", f"{name}_attention": attention}})
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    "attention",
    [
        {"alpha": 1.3, "normalizer": "entmax"},
        {"temperature": 0.5, "normalizer": "gumbel"},
        {"scope": "local-p", "window": 3},
    ],
)
def test_what_an_attention_may_be_is_kept(attention: dict[str, Any]):
    config = make_config({"model": {"kind": "luong", "attention": attention}})
    for name, value in attention.items():
        assert getattr(config.model.attention, name) == value


def test_other_readings_are_not_summed_over_where_a_gaussian_would_lie_on_them():
    attention = {"normalizer": "hard", "scope": "local-p"}
    values = {
        "model": {"kind": "luong", "attention": attention},
        "training": {"reinforce": {"rao_blackwell": 2}},
    }
    message = refusal(values)
    for part in ("rao_blackwell = 2", 'scope = "local-p"', "leave it at 0", '"local-m"'):
        assert part in message
    for scope in ("local-m", "global"):
        attention["scope"] = scope
        make_config(values)
    attention["scope"] = "local-p"
    values["training"] = {}
    make_config(values)


def test_tokenisers_that_differ_cannot_be_shared():
    message = refusal({"text": {"shared": True, "source": {"kind": "words"}}})
    assert "text.shared = true" in message and "text.source" in message
    assert "set text.shared = false" in message


def test_pairs_longer_than_the_learned_positions_are_contradictory():
    model = {"kind": "transformer", "positions": "learned", "max_positions": 50}
    message = refusal({"model": model, "data": {"max_length": 50}})
    for part in ("data.max_length = 50", "model.max_positions = 50", '"sinusoidal"'):
        assert part in message
    make_config({"model": model, "data": {"max_length": 49}})


def test_toml_and_json_say_the_same(corpus: Path, tmp_path: Path):
    values = tree(corpus, "transformer", betas=[0.8, 0.9])
    toml = load_config(write_toml(tmp_path / "config.toml", values))
    write_json(tmp_path / "config.json", values)
    assert toml == load_config(tmp_path / "config.json") == make_config(values)
    assert toml.training.betas == (0.8, 0.9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_config_survives_the_run_folder(kind: str, tmp_path: Path):
    config = Config(model=MODEL_CONFIGS[kind]())
    config = replace(config, data=replace(config.data, train=("a.en", "a.de")))
    folder = RunFolder(tmp_path / "run")
    folder.open(config)
    assert load_config(folder.config) == config
    assert digest(load_config(folder.config)) == digest(config)


def test_the_defaults_of_every_kind_are_valid():
    for kind in MODEL_CONFIGS.values():
        config = Config(model=kind())
        assert make_config(config_tree(config)) == config


@pytest.mark.parametrize("path", [*RECIPES, DEMO], ids=lambda path: path.stem)
def test_every_recipe_and_the_demo_are_valid(path: Path):
    assert load_config(path).training.epochs >= 1


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[training\n", "cannot be read"),
        (b"[training]\nepochs = \n", "at line 2"),
        (b"\xff\xfe", "is UTF-16; write it as UTF-8"),
        (b"[data]\ntrain = ['caf\xe9']", "not UTF-8"),
    ],
)
def test_a_config_that_is_no_toml_is_refused_by_name(content: bytes, said: str, tmp_path: Path):
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as raised:
        load_config(path)
    assert str(path) in str(raised.value)


def test_a_config_that_is_not_there_or_a_folder_is_refused_by_name(tmp_path: Path):
    with pytest.raises(ValueError, match=r"nothing\.toml does not exist"):
        load_config(tmp_path / "nothing.toml")
    with pytest.raises(ValueError, match="cannot be read"):
        load_config(tmp_path)


def test_what_may_not_change_within_a_run_is_found_by_its_dotted_name():
    old, new = Config(model=LuongConfig()), Config(model=TransformerConfig(heads=8))
    assert differing_keys(config_tree(old), config_tree(old)) == []
    names = differing_keys(config_tree(old), config_tree(new))
    assert "model.kind" in names and "model.heads" in names
    attention = replace(LuongConfig().attention, score="dot")
    scored = Config(model=replace(LuongConfig(), attention=attention))
    assert differing_keys(config_tree(old), config_tree(scored)) == ["model.attention.score"]


@pytest.mark.parametrize(
    "limit", ["epochs", "max_steps", "max_minutes", "patience", "threads", "tensorboard"]
)
def test_how_long_a_run_goes_on_may_change_within_it(limit: str, corpus: Path):
    config = small(corpus)
    longer = replace(config, training=replace(config.training, **{limit: 17}))
    assert differing_keys(config_tree(config), config_tree(longer)) == []
    assert digest(config) == digest(longer)


def test_the_digest_changes_with_every_other_key_of_the_training(corpus: Path):
    config = small(corpus)
    for key, value in {"seed": 2, "learning_rate": 1e-4, "accumulate": 2, "clip": 0.5}.items():
        changed = replace(config, training=replace(config.training, **{key: value}))
        assert digest(changed) != digest(config), key
        assert differing_keys(config_tree(config), config_tree(changed)) == [f"training.{key}"]


def test_all_letters_are_known_to_the_typos():
    """The sweep changes a letter into x or z: no key may consist of those alone."""
    assert not any(set(key) <= {"x", "z"} for _, _, key, _ in every_typo())
    assert {"x", "z"} < set(string.ascii_lowercase)


def help_of_attention() -> dict[str, str]:
    """The string below each key, which `qkv train --help` shows."""
    body = ast.parse(textwrap.dedent(inspect.getsource(AttentionConfig))).body[0].body
    return {
        key.target.id: text.value.value
        for key, text in pairwise(body)
        if isinstance(key, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


NAMED = [field.name for field in fields(AttentionConfig) if field.type == "str"]


@pytest.mark.parametrize("key", NAMED)
def test_the_help_of_an_attentions_key_names_every_value_that_it_allows(key: str):
    with pytest.raises(ValueError, match="allowed: ") as refused:
        AttentionConfig(**{key: "?"})
    allowed = str(refused.value).partition("allowed: ")[2].partition(".")[0].split(", ")
    told = set(re.findall(r"[\w-]+", help_of_attention()[key]))
    assert not [name for name in allowed if name not in told | {"none"}]


def test_every_key_of_an_attention_has_a_line_of_help():
    assert list(help_of_attention()) == [field.name for field in fields(AttentionConfig)]
    assert {"score", "normalizer", "scope", "bias", "features"} == set(NAMED)


def test_a_byte_order_mark_in_front_of_a_config_is_no_part_of_it(corpus: Path, tmp_path: Path):
    path = write_toml(tmp_path / "config.toml", tree(corpus))
    marked = tmp_path / "marked.toml"
    marked.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_config(marked) == load_config(path)
