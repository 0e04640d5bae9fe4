"""The Transformer against torch's own layers, and what is particular to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from model_cases import CONFIGS, SOURCE, TARGET, Case, built, padded, slack, sources, targets
from torch import nn
from torch.testing import assert_close

from qkv.attention.normalizers import NORMALIZERS
from qkv.config import AttentionConfig, TransformerConfig
from qkv.models.build import build_model
from qkv.models.positions import sinusoids

CONFIG = CONFIGS["transformer"]


def copy_attention(ours, theirs):
    projections = (ours.project_query, ours.project_key, ours.project_value)
    theirs.in_proj_weight.copy_(torch.cat([one.weight for one in projections]))
    theirs.in_proj_bias.copy_(torch.cat([one.bias for one in projections]))
    theirs.out_proj.load_state_dict(ours.project_context.state_dict())


def copy_rest(ours, theirs, residuals):
    theirs.linear1.load_state_dict(ours.feedforward[0].state_dict())
    theirs.linear2.load_state_dict(ours.feedforward[3].state_dict())
    for i, residual in enumerate(residuals, start=1):
        getattr(theirs, f"norm{i}").load_state_dict(residual.norm.state_dict())


@torch.no_grad()
def torchs(model, config):
    """torch's encoder and decoder with our weights."""
    first = config.norm == "pre"
    sizes = (config.width, config.heads, config.feedforward, 0.0)
    settings = {"batch_first": True, "norm_first": first, "dtype": torch.float64}
    norms = [nn.LayerNorm(config.width).double() if first else None for _ in range(2)]
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(*sizes, **settings),
        config.encoder_layers,
        norms[0],
        enable_nested_tensor=False,
    )
    decoder = nn.TransformerDecoder(
        nn.TransformerDecoderLayer(*sizes, **settings), config.decoder_layers, norms[1]
    )
    for ours, theirs in zip(model.encoder, encoder.layers, strict=True):
        copy_attention(ours.attention, theirs.self_attn)
        copy_rest(ours, theirs, [ours.around_attention, ours.around_feedforward])
    for ours, theirs in zip(model.decoder, decoder.layers, strict=True):
        copy_attention(ours.self_attention, theirs.self_attn)
        copy_attention(ours.cross_attention, theirs.multihead_attn)
        copy_rest(ours, theirs, [ours.around_self, ours.around_cross, ours.around_feedforward])
    for ours, theirs in zip((model.encoder_norm, model.decoder_norm), norms, strict=True):
        if theirs is not None:
            theirs.load_state_dict(ours.state_dict())
    return encoder, decoder


def embed(table, ids, width):
    """Section 3.4: embeddings times sqrt(d_model); 3.5: plus positions."""
    return table.weight[ids] * width**0.5 + sinusoids(ids.shape[1], width).double()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_transformer_equals_torchs_layers_with_its_weights(norm, tied):
    config = replace(CONFIG, norm=norm, encoder_layers=3, tie_embeddings=tied)
    model = built(Case("", config))
    encoder, decoder = torchs(model, config)
    source, lengths = padded(sources([5, 1, 7]))
    target, _ = padded(targets([4, 6, 2]))
    pads = torch.arange(7) >= lengths.unsqueeze(1)
    later = torch.ones(6, 6, dtype=torch.bool).triu(1)

    memory = encoder(embed(model.source_embedding, source, 21), src_key_padding_mask=pads)
    features = decoder(
        embed(model.target_embedding, target, 21),
        memory,
        tgt_mask=later,
        memory_key_padding_mask=pads,
    )
    output = model.output.project
    expected = features @ output.weight.T + output.bias

    assert_close(model(source, lengths, target), expected, **slack())


def cross_weights(model, layer, source, lengths, target):
    """The weights of every head of one cross-attention, from what it was given."""
    heads, seen = model.decoder[layer].cross_attention, []
    hook = heads.register_forward_pre_hook(
        lambda module, given, named: seen.append((given, named)), with_kwargs=True
    )
    model.force(source, lengths, target)
    hook.remove()
    ((given, named),) = seen
    return heads(*given, **{**named, "need": "weights"}).weights


@pytest.mark.parametrize(
    ("alignment", "layer", "head"), [("mean", 1, None), ("0.2", 0, 2), ("1.0", 1, 0)]
)
def test_the_alignment_is_the_head_that_the_config_names(alignment, layer, head):
    model = built(Case("", replace(CONFIG, alignment=alignment)))
    batch = (*padded(sources([5, 1, 7])), padded(targets([4, 6, 2]))[0])
    weights = cross_weights(model, layer, *batch)
    assert weights.shape == (3, 3, 6, 7)
    expected = sum(weights[:, h] for h in range(3)) / 3 if head is None else weights[:, head]
    assert_close(model.force(*batch, need_attention=True).attention, expected, **slack())


@pytest.mark.parametrize("alignment", ["2.0", "0.3", "1", "1.", ".1", "-1.0", "0.1.2", "last", ""])
def test_an_alignment_that_no_head_has_is_refused(alignment):
    with pytest.raises(ValueError, match=r"model\.alignment = .*layer < 2 and head < 3"):
        build_model(replace(CONFIG, alignment=alignment), SOURCE, TARGET)


ATTENTIONS = ("encoder_attention", "decoder_attention", "cross_attention")


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("normalizer", [name for name in NORMALIZERS if name != "hard"])
def test_each_attention_has_the_normaliser_and_the_width_that_its_config_says(normalizer, name):
    config = replace(
        CONFIG, **{name: AttentionConfig("additive", hidden=5, normalizer=normalizer)}
    )
    model = build_model(config, SOURCE, TARGET)
    place = {
        "encoder_attention": model.encoder[0].attention,
        "decoder_attention": model.decoder[0].self_attention,
        "cross_attention": model.decoder[0].cross_attention,
    }
    for one, heads in place.items():
        slots = heads.attention
        assert slots.normalizer.name == (normalizer if one == name else "softmax")
        assert (type(slots.score).__name__ == "Additive") == (one == name)
    assert place[name].attention.score.v.shape == (5,)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_a_normaliser_that_nothing_here_would_train_is_refused(name):
    with pytest.raises(ValueError, match=rf'model\.{name}\.normalizer = "hard" .* take "gumbel"'):
        replace(CONFIG, **{name: AttentionConfig(normalizer="hard")})


def weights_at(model):
    return [
        model.source_embedding.weight.data_ptr(),
        model.target_embedding.weight.data_ptr(),
        model.output.project.weight.data_ptr(),
    ]


@pytest.mark.parametrize(
    ("tied", "shared", "matrices"),
    [(True, True, 1), (True, False, 2), (False, True, 3), (False, False, 3)],
)
def test_one_vocabulary_ties_three_embeddings_and_two_vocabularies_two(tied, shared, matrices):
    config = replace(CONFIG, tie_embeddings=tied)
    model = build_model(config, TARGET, TARGET, shared=shared)
    assert len(set(weights_at(model))) == matrices
    source, target, output = weights_at(model)
    assert (target == output) == tied and (source == target) == (tied and shared)


def test_embeddings_start_with_a_variance_of_1_after_their_scaling():
    model = build_model(TransformerConfig(width=64), 1009, 1013)
    for table in (model.source_embedding, model.target_embedding):
        spread = (table.weight[1:] * 8).std().item()
        assert abs(spread - 1) < 0.02  # 64 000 draws: a standard deviation of 0.003
        assert not table.weight[0].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 4}, "heads must divide d_model, got d_model=21 and heads=4"),
        ({"kv_heads": 2}, "kv_heads must divide heads"),
    ],
)
def test_heads_that_do_not_divide_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build_model(replace(CONFIG, **changes), SOURCE, TARGET)
