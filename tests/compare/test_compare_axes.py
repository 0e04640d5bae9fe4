"""Which keys are meant, what their values are, and which variants they make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkv.compare import Axis, axes_of, parse_axes, variants_of
from qkv.config import MODEL_CONFIGS, Config, LuongConfig, TransformerConfig
from qkv.configfile import config_tree

RNNSEARCH = Config()
TRANSFORMER = Config(model=TransformerConfig())


def made(config: Config, *words: str) -> list[Any]:
    return variants_of(config, axes_of(config, parse_axes(config, words)))


@pytest.mark.parametrize("given", ["model.attention.score", "attention.score", "score"])
def test_a_key_may_be_cut_down_to_the_end_that_no_other_key_has(given: str):
    assert axes_of(RNNSEARCH, {given: ["dot"]}) == [Axis("model.attention.score", given, ("dot",))]


def test_a_whole_key_is_meant_even_where_another_one_ends_like_it():
    assert {"training.seed", "search.seed"} <= set(dotted(config_tree(RNNSEARCH)))
    assert axes_of(RNNSEARCH, {"training.seed": [1]})[0].key == "training.seed"
    assert axes_of(RNNSEARCH, {"training.max-steps": [1]})[0].key == "training.max_steps"


def dotted(tree: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in tree.items():
        inner = isinstance(value, dict)
        found += dotted(value, f"{prefix}{key}.") if inner else [prefix + key]
    return found


@pytest.mark.parametrize(
    ("config", "vary", "said"),
    [
        (RNNSEARCH, {}, "nothing to vary"),
        (RNNSEARCH, {"attention.scor": ["dot"]}, "Did you mean 'attention.score'?"),
        (RNNSEARCH, {"trainin.seed": [1]}, "Did you mean 'training.seed'?"),
        (RNNSEARCH, {"seed": [1]}, "write one of training.seed, search.seed"),
        (RNNSEARCH, {"attention": [1]}, "is a table; vary a key of it: model.attention.score"),
        (RNNSEARCH, {"epochs": []}, "epochs has no values"),
        (RNNSEARCH, {"epochs": [1, 2, 1]}, "epochs has the value 1 twice"),
        (RNNSEARCH, {"epochs": [1], "training.epochs": [2]}, "are the same key, training.epochs"),
        (
            TRANSFORMER,
            {"attention.score": ["dot"]},
            "write one of model.encoder_attention.score, model.decoder_attention.score, "
            "model.cross_attention.score",
        ),
        (TRANSFORMER, {"score": ["dot"]}, "model.encoder_attention.score"),
    ],
)
def test_a_key_that_is_none_or_not_one_is_refused_by_its_name(config, vary, said):
    with pytest.raises(ValueError) as refused:
        axes_of(config, vary)
    assert said in str(refused.value)
    assert all(str(key) in str(refused.value) for key in list(vary)[:1])


@pytest.mark.parametrize("word", ["score", "score=", "=dot", "score=dot,,general", "score=dot,"])
def test_a_word_of_another_form_is_refused(word: str):
    with pytest.raises(ValueError, match="not of the form KEY=V1,V2"):
        parse_axes(RNNSEARCH, [word])


def test_a_key_given_twice_is_refused():
    with pytest.raises(ValueError, match="score is varied twice"):
        parse_axes(RNNSEARCH, ["score=dot", "score=general"])


def test_values_are_of_the_type_of_their_key():
    words = [
        "score=dot, general",
        "epochs=1,2",
        "learning_rate=1e-3,.5,2",
        "tie_embeddings=true,false",
        "betas=[0.9,0.98],[0.8, 0.9]",
        "epochs2=3",
    ]
    assert parse_axes(RNNSEARCH, words[:5]) == {
        "score": ["dot", "general"],
        "epochs": [1, 2],
        "learning_rate": [0.001, 0.5, 2],
        "tie_embeddings": [True, False],
        "betas": [[0.9, 0.98], [0.8, 0.9]],
    }
    assert parse_axes(TRANSFORMER, ["alignment=mean,0.1"]) == {"alignment": ["mean", "0.1"]}
    with pytest.raises(ValueError, match="unknown key epochs2"):
        parse_axes(RNNSEARCH, words)


def test_every_combination_is_a_variant_and_the_last_key_changes_fastest():
    found = made(RNNSEARCH, "score=dot,general", "training.seed=5,7")
    assert [one.label for one in found] == [
        "score=dot training.seed=5",
        "score=dot training.seed=7",
        "score=general training.seed=5",
        "score=general training.seed=7",
    ]
    for one in found:
        attention = replace(RNNSEARCH.model.attention, score=one.values["model.attention.score"])
        assert one.config == replace(
            RNNSEARCH,
            model=replace(RNNSEARCH.model, attention=attention),
            training=replace(RNNSEARCH.training, seed=one.values["training.seed"]),
        )


def test_the_recipe_itself_does_not_change():
    before = config_tree(RNNSEARCH)
    made(RNNSEARCH, "score=dot,general", "model.kind=luong")
    assert config_tree(RNNSEARCH) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["score=dot,addtive"], "variant score=addtive: model.attention: unknown score 'addtive'"),
        (["epochs=1,-3"], "variant epochs=-3: training.epochs: "),
        (["epochs=two"], "(given: 'two')"),
        (["dropout=0.1,1.5"], "variant dropout=1.5: model.dropout: "),
        (["model.kind=luong,lung"], "unknown model.kind 'lung'"),
        (["model.kind=rnnenc", "attention.score=dot"], "unknown key model.attention"),
    ],
)
def test_a_combination_that_the_config_refuses_is_named(words: list[str], said: str):
    with pytest.raises(ValueError) as refused:
        made(RNNSEARCH, *words)
    assert said in str(refused.value)


@pytest.mark.parametrize("kind", MODEL_CONFIGS)
def test_another_kind_of_model_keeps_the_values_of_the_keys_that_it_has(kind: str):
    model = replace(RNNSEARCH.model, embedding=37, hidden=41, maxout=43)
    (found,) = made(replace(RNNSEARCH, model=model), f"model.kind={kind}")
    assert found.config.model.kind == kind
    if kind == "luong":
        assert found.config.model == replace(
            LuongConfig(),
            attention=model.attention,
            embedding=37,
            hidden=41,
            layers=1,
            dropout=0.1,
        )
        assert found.left_out == ("model.encoder_hidden", "model.maxout")
    if kind == "rnnsearch":
        assert (found.config.model, found.left_out) == (model, ())


def test_a_key_of_another_kind_of_model_can_be_varied_with_the_kind():
    found = made(RNNSEARCH, "model.kind=luong", "input_feeding=true,false")
    assert [one.config.model.input_feeding for one in found] == [True, False]


@given(st.lists(st.text(max_size=80), min_size=2, max_size=2, unique=True))
def test_two_values_never_share_a_folder_and_its_name_is_safe(values: list[str]):
    first, second = made_of_texts(values)
    assert first != second
    for name in (first, second):
        assert "/" not in name and "\0" not in name and not name.startswith(".")
        assert len(name.encode()) <= 255 - len(".partial") - 2


def made_of_texts(values: list[str]) -> list[str]:
    axis = Axis("data.directory", "directory", tuple(values))
    return [one.folder for one in variants_of(RNNSEARCH, [axis])]
