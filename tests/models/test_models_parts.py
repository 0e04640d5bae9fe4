"""Parts that a config names, and the registry of models."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from model_cases import CONFIGS, SOURCE, TARGET, attentions, with_score
from torch import nn
from torch.testing import assert_close

from qkv.attention.registry import find
from qkv.attention.scores import SCORES
from qkv.config import AttentionConfig, LuongConfig, RNNencConfig, RNNsearchConfig
from qkv.models.build import MODELS, build_model
from qkv.models.output import LinearOutput, MaxoutOutput
from qkv.models.parts import encoder_hidden

BARE = [name for name in SCORES if not find("score", name, SCORES).has_parameters]


@pytest.mark.parametrize("kind", MODELS)
def test_a_kind_builds_the_model_of_its_name(kind):
    model = build_model(CONFIGS[kind], SOURCE, TARGET)
    assert type(model).__name__.lower() == kind


@pytest.mark.parametrize("score", SCORES)
def test_a_direction_of_the_encoder_is_half_as_wide_only_for_scores_without_parameters(score):
    config = AttentionConfig(score=score)
    assert encoder_hidden(config, 14, bidirectional=False) == 14
    assert encoder_hidden(config, 14, bidirectional=True) == (7 if score in BARE else 14)


@pytest.mark.parametrize("score", BARE)
def test_half_of_an_odd_width_is_refused(score):
    for config in (
        RNNsearchConfig(hidden=7, attention=AttentionConfig(score=score)),
        LuongConfig(hidden=7, attention=AttentionConfig(score=score), bidirectional=True),
    ):
        with pytest.raises(ValueError, match=rf"'{score}'.*must be even.*not 7; .*general"):
            build_model(config, SOURCE, TARGET)


@pytest.mark.parametrize("kind", [kind for kind in MODELS if attentions(CONFIGS[kind])])
def test_every_attention_that_a_config_holds_has_the_score_of_its_word(kind):
    for score in SCORES:
        model = build_model(with_score(CONFIGS[kind], score), SOURCE, TARGET)
        built = {type(module) for name, module in model.named_modules() if name.endswith("score")}
        assert built == {find("score", score, SCORES)}


@pytest.mark.parametrize(
    "config",
    [
        RNNencConfig(embedding=5, hidden=7, tie_embeddings=True),
        RNNsearchConfig(embedding=5, hidden=7, maxout=11, tie_embeddings=True),
        RNNsearchConfig(embedding=11, hidden=7, maxout=11, tie_embeddings=True),
        LuongConfig(embedding=5, hidden=7, tie_embeddings=True),
    ],
    ids=lambda config: f"{config.kind}-{config.embedding}",
)
def test_a_tied_output_layer_is_the_target_embedding(config):
    model = build_model(config, SOURCE, TARGET)
    layer = getattr(model.output, "linear", model.output)
    assert layer.project.weight is model.target_embedding.weight
    bridged = isinstance(layer.bridge, nn.Linear)
    assert bridged == (config.kind != "rnnsearch" or config.embedding != config.maxout)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", MODELS)
def test_before_training_every_word_is_about_as_likely(kind, tied):
    """A loss near log V: whoever ties the embeddings starts no worse."""
    config = replace(type(CONFIGS[kind])(), tie_embeddings=tied)
    torch.manual_seed(0)
    model = build_model(config, 101, 1009).eval()
    logits = model(torch.randint(4, 101, (5, 7)), torch.full((5,), 7), torch.ones(5, 3).long())
    loss = -logits.log_softmax(-1)[..., 1:].mean().item()
    assert abs(loss - math.log(1009)) < 1


def test_an_output_without_a_tie_has_its_own_matrix_and_a_bias():
    layer = LinearOutput(3, 5, dropout=0.0)
    features = torch.randn(2, 3)
    expected = torch.stack([layer.project.weight @ row + layer.project.bias for row in features])
    # Sums of 3 terms of size below 10.
    assert_close(layer(features), expected, rtol=0.0, atol=30 * torch.finfo(torch.float32).eps)


def test_maxout_takes_the_larger_of_two_neighbours():
    layer = MaxoutOutput(4, 2, 2, dropout=0.0).double()
    with torch.no_grad():
        layer.hidden.weight.copy_(torch.eye(4))
        layer.hidden.bias.zero_()
        layer.linear.project.weight.copy_(torch.eye(2))
        layer.linear.project.bias.zero_()
    features = torch.tensor([3.0, 7.0, -5.0, 2.0], dtype=torch.float64)
    assert layer(features).tolist() == [7.0, 2.0]
