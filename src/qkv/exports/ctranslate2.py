"""A Transformer for CTranslate2, by its own specification of the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from qkv.config import AttentionConfig, TransformerConfig
from qkv.exports.format import Format
from qkv.models.positions import Learned, sinusoids
from qkv.models.transformer import Transformer
from qkv.models.transformer_layers import DecoderLayer, EncoderLayer, FeedForward
from qkv.nn import MultiHeadAttention
from qkv.run import Run
from qkv.text import SPECIALS

POSITIONS = 4096
"""Rows of a table of positions that has no end in our model: CTranslate2 needs one."""


class CTranslate2(Format):
    """`ctranslate2.Translator(folder)`: C++ kernels, int8 and float16 by an argument."""

    name = "ctranslate2"
    extra = "ctranslate2"
    packages = ("ctranslate2",)

    def refuse(self, run: Run) -> None:
        """See `Format.refuse`."""
        config = run.config.model
        if not isinstance(config, TransformerConfig):
            raise ValueError(
                f'model.kind = "{config.kind}": CTranslate2 knows Transformers alone; '
                "--to onnx takes more"
            )
        for name in ("encoder_attention", "decoder_attention", "cross_attention"):
            _refuse_attention(f"model.{name}", getattr(config, name))
        for name, side in (("source", run.source), ("target", run.target)):
            taken = [s for s in side.vocabulary.symbols[len(SPECIALS) :] if s in SPECIALS]
            if taken:
                raise ValueError(
                    f"the {name} vocabulary has {taken[0]!r} as an ordinary symbol, and "
                    "CTranslate2, which knows tokens by their spelling, would take it for the "
                    "special; leave it out of the training text, or take --to onnx"
                )

    def write(self, run: Run, folder: Path) -> dict[str, Any]:
        """See `Format.write`."""
        config = run.config.model
        assert isinstance(config, TransformerConfig) and isinstance(run.model, Transformer)
        spec = specification(run.model, config)
        spec.register_source_vocabulary(list(run.source.vocabulary.symbols))
        spec.register_target_vocabulary(list(run.target.vocabulary.symbols))
        spec.config.add_source_eos = True
        first = cast("DecoderLayer", run.model.decoder[0])
        spec.config.layer_norm_epsilon = first.around_self.norm.eps
        spec.validate()
        spec.optimize(quantization=None)
        spec.save(str(folder))
        return {
            "longest_source": _places(run.model, config),
            "end_symbol": "added to the source by CTranslate2",
            "never_emitted": list(SPECIALS[:2]),
        }

    def usage(self, run: Run) -> str:
        """See `Format.usage`."""
        return USAGE

    def decode(
        self, run: Run, folder: Path, sources: Sequence[Sequence[int]], longest: int
    ) -> list[tuple[int, ...]]:
        """See `Format.decode`."""
        results = _translator(
            folder
        ).translate_batch(
            [run.source.vocabulary.spell(ids) for ids in sources],
            beam_size=1,
            min_decoding_length=0,  # by default it never writes nothing
            max_decoding_length=min(longest, run.model.longest_target or longest),
            suppress_sequences=[[special] for special in SPECIALS[:2]],
        )
        index = {symbol: i for i, symbol in enumerate(run.target.vocabulary.symbols)}
        return [tuple(index[token] for token in result.hypotheses[0]) for result in results]

    def score(
        self,
        run: Run,
        folder: Path,
        sources: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
    ) -> list[float]:
        """See `Format.score`."""
        results = _translator(folder).score_batch(
            [run.source.vocabulary.spell(ids) for ids in sources],
            [run.target.vocabulary.spell(ids) for ids in targets],
        )
        return [float(sum(result.log_probs)) for result in results]


def _translator(folder: Path) -> Any:
    import ctranslate2

    return ctranslate2.Translator(
        str(folder), device="cpu", compute_type="float32", intra_threads=1
    )


def specification(model: Transformer, config: TransformerConfig) -> Any:
    """Return CTranslate2's specification, filled with the weights of a model."""
    from ctranslate2.specs import (
        TransformerDecoderSpec,
        TransformerEncoderSpec,
        TransformerSpec,
    )

    common: dict[str, Any] = {"pre_norm": config.norm == "pre"}
    if config.positions == "rotary":
        common |= {"rotary_dim": config.width // config.heads, "rotary_interleave": True}
    heads = config.heads if model.alignment.head is None else 1
    spec = TransformerSpec(
        TransformerEncoderSpec(config.encoder_layers, config.heads, **common),
        TransformerDecoderSpec(
            config.decoder_layers,
            config.heads,
            alignment_layer=model.alignment.layer,
            alignment_heads=heads,
            **common,
        ),
    )
    table = _position_table(model, config)
    for part, embedding, positions, norm in (
        (spec.encoder, model.source_embedding, model.source_positions, model.encoder_norm),
        (spec.decoder, model.target_embedding, model.target_positions, model.decoder_norm),
    ):
        part.scale_embeddings = True
        if config.norm == "pre":
            fill_norm(part.layer_norm, cast("nn.LayerNorm", norm))
        if config.positions != "rotary":
            own = positions.table.weight if isinstance(positions, Learned) else table
            part.position_encodings.encodings = numpy_of(own)
        shown = part.embeddings[0] if isinstance(part.embeddings, list) else part.embeddings
        shown.weight = numpy_of(embedding.weight)
    fill_linear(spec.decoder.projection, cast("nn.Linear", model.output.project))
    for filled, layer in zip(spec.encoder.layer, model.encoder, strict=True):
        fill_encoder_layer(filled, cast("EncoderLayer", layer))
    for index, (filled, layer) in enumerate(zip(spec.decoder.layer, model.decoder, strict=True)):
        first = model.alignment.head if index == model.alignment.layer else None
        fill_decoder_layer(filled, cast("DecoderLayer", layer), first or 0)
    return spec


def fill_encoder_layer(spec: Any, layer: EncoderLayer) -> None:
    """Copy a layer of the encoder."""
    fill_attention(spec.self_attention, layer.attention, fused=3)
    fill_norm(spec.self_attention.layer_norm, layer.around_attention.norm)
    fill_feedforward(spec.ffn, layer.feedforward, layer.around_feedforward.norm)


def fill_decoder_layer(spec: Any, layer: DecoderLayer, first: int) -> None:
    """Copy a layer of the decoder; `first` is the head of the cross-attention to put first."""
    fill_attention(spec.self_attention, layer.self_attention, fused=3)
    fill_norm(spec.self_attention.layer_norm, layer.around_self.norm)
    fill_attention(spec.attention, layer.cross_attention, fused=2, first=first)
    fill_norm(spec.attention.layer_norm, layer.around_cross.norm)
    fill_feedforward(spec.ffn, layer.feedforward, layer.around_feedforward.norm)


def fill_attention(spec: Any, layer: MultiHeadAttention, *, fused: int, first: int = 0) -> None:
    """Copy projections: the first `fused` of key, value and query, from the last on, in one.

    Heads that share keys and values get copies of them. CTranslate2 reads alignments from the
    first heads, so that the one to be read goes there.
    """
    order = [first, *(head for head in range(layer.heads) if head != first)]
    query = by_head(layer.project_query, layer.heads, order)
    shared = [head // (layer.heads // layer.kv_heads) for head in order]
    key = by_head(layer.project_key, layer.kv_heads, shared)
    value = by_head(layer.project_value, layer.kv_heads, shared)
    groups = [[query, key, value]] if fused == 3 else [[query], [key, value]]
    for linear, group in zip(spec.linear, groups, strict=False):
        linear.weight = numpy_of(torch.cat([weight for weight, _ in group]))
        linear.bias = numpy_of(torch.cat([bias for _, bias in group]))
    out = layer.project_context
    weight = out.weight.unflatten(1, (layer.heads, -1))[:, order].flatten(1)
    spec.linear[-1].weight = numpy_of(weight)
    spec.linear[-1].bias = numpy_of(out.bias)


def by_head(linear: nn.Linear, heads: int, order: list[int]) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of a projection with its heads in this order."""
    weight = linear.weight.unflatten(0, (heads, -1))[order].flatten(0, 1)
    return weight, linear.bias.unflatten(0, (heads, -1))[order].flatten()


def fill_feedforward(spec: Any, layer: FeedForward, norm: nn.LayerNorm) -> None:
    """Copy W_1, W_2 and the norm."""
    inner, _, _, outer = layer
    fill_linear(spec.linear_0, cast("nn.Linear", inner))
    fill_linear(spec.linear_1, cast("nn.Linear", outer))
    fill_norm(spec.layer_norm, norm)


def fill_linear(spec: Any, linear: nn.Linear) -> None:
    """Copy a weight and a bias."""
    spec.weight, spec.bias = numpy_of(linear.weight), numpy_of(linear.bias)


def fill_norm(spec: Any, norm: nn.LayerNorm) -> None:
    """Copy a scale and a shift."""
    spec.gamma, spec.beta = numpy_of(norm.weight), numpy_of(norm.bias)


def numpy_of(tensor: Tensor) -> Any:
    """Return a float32 array of its own."""
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous().numpy()


def _position_table(model: Transformer, config: TransformerConfig) -> Tensor:
    rows = _places(model, config) or POSITIONS
    if config.positions == "sinusoidal":
        return sinusoids(rows, config.width)
    return torch.zeros(rows, config.width)


def _places(model: Transformer, config: TransformerConfig) -> int | None:
    """How many tokens a sequence may have; None: any number."""
    if config.positions == "rotary":
        return None
    return config.max_positions if config.positions == "learned" else POSITIONS


def _refuse_attention(name: str, attention: AttentionConfig) -> None:
    allowed = AttentionConfig(score="scaled_dot", hidden=attention.hidden, window=attention.window)
    for slot in ("features", "normalizer", "temperature", "scope", "bias"):
        value = getattr(attention, slot)
        if value != getattr(allowed, slot):
            raise ValueError(
                f"{name}.{slot} = {value!r}: CTranslate2 has the softmax of scaled dot products "
                "over all positions; --to onnx takes any attention"
            )
    for score in attention.layer_scores or (attention.score,):
        if score != "scaled_dot":
            raise ValueError(
                f"{name}.score = {score!r}: CTranslate2 has scaled_dot alone; --to onnx takes any"
            )


USAGE = """import ctranslate2
from qkv.text import Side

source, target = Side.load("source.json"), Side.load("target.json")
translator = ctranslate2.Translator(".", compute_type="float32")  # or int8, float16, ...
tokens = [source.vocabulary.spell(source.ids(text)) for text in ["..."]]
results = translator.translate_batch(
    tokens,
    beam_size=5,
    min_decoding_length=0,
    suppress_sequences=[["<pad>"], ["<s>"]],
    return_attention=True,
)
symbols = {symbol: i for i, symbol in enumerate(target.vocabulary.symbols)}
print([target.decode([symbols[t] for t in result.hypotheses[0]]) for result in results])"""
