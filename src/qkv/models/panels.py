"""The parameters of a Transformer as the compiled loops read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkv.models.compiled.task import FIELDS, LANES, LAST
from qkv.models.eighths import in_eighths
from qkv.models.pages import in_large_pages
from qkv.models.transformer_source import Heads, projections

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from qkv.models.output import LinearOutput
    from qkv.models.products import Precision
    from qkv.models.transformer import Transformer
    from qkv.models.transformer_layers import DecoderLayer, EncoderLayer, Residual
    from qkv.nn import MultiHeadAttention


class Table(NamedTuple):
    """Addresses of all that the loops read, and the tensors that they are of.

    addresses: see `FIELDS` and `LAST`. numbers: what embeddings are multiplied by, and epsilon.
    """

    addresses: Int[Tensor, " fields"]
    numbers: Float[Tensor, " two"]
    layers: int
    inner: int
    post: bool
    eight: bool
    embedding: Float[Tensor, "words width"]
    words: int
    kept: list[Tensor]

    @staticmethod
    def of_decoder(model: Transformer, precision: Precision) -> Table:
        """Lay out the decoder, and the output layer."""
        layers = cast("list[DecoderLayer]", list(model.decoder))
        output = cast("LinearOutput", model.output).project
        sublayers = [
            (around, products)
            for layer in layers
            for around, products in (
                (layer.around_self, _attention(layer.self_attention, 3)),
                (layer.around_cross, _attention(layer.cross_attention, 1)),
                (layer.around_feedforward, _network(layer.feedforward)),
            )
        ]
        last, table = (model.decoder_norm, [[output]]), model.target_embedding
        return _lay_out(model.scale, table, sublayers, last, precision)

    @staticmethod
    def of_encoder(model: Transformer, precision: Precision) -> Table:
        """Lay out the encoder, and what the decoder's layers take from it."""
        layers = cast("list[EncoderLayer]", list(model.encoder))
        sublayers = [
            (around, products)
            for layer in layers
            for around, products in (
                (layer.around_attention, _attention(layer.attention, 3)),
                (layer.around_feedforward, _network(layer.feedforward)),
            )
        ]
        taken = [
            [projection]
            for layer in cast("list[DecoderLayer]", list(model.decoder))
            for projection in projections(layer.cross_attention)[1:]
        ]
        last, table = (model.encoder_norm, taken), model.source_embedding
        return _lay_out(model.scale, table, sublayers, last, precision)


class _Joined(NamedTuple):
    """Layers that read the same; `scale` is for the outputs of the first."""

    layers: list[nn.Linear]
    scale: float = 1.0


def _attention(attention: MultiHeadAttention, together: int) -> list[_Joined]:
    """Queries, scaled, with keys and values where it reads its own; and the outputs."""
    read = _Joined(projections(attention)[:together], Heads.of(attention).scale)
    return [read, _Joined([attention.project_context])]


def _network(network: nn.Sequential) -> list[_Joined]:
    first, _, _, second = network
    return [_Joined([cast("nn.Linear", layer)]) for layer in (first, second)]


def _lay_out(
    scale: float,
    embedding: nn.Embedding,
    sublayers: list[tuple[Residual, list[_Joined]]],
    last: tuple[nn.Module, list[list[nn.Linear]]],
    precision: Precision,
) -> Table:
    """Lay all out. A norm after a sub-layer is what the next one opens with."""
    post = not sublayers[0][0].before
    norms: list[nn.Module | None] = [around.norm for around, _ in sublayers]
    norms = [None, *norms] if post else [*norms, last[0]]
    tensors = []
    for norm, (_, joined) in zip(norms, sublayers, strict=False):
        tensors += [*_norm(norm), *(part for one in joined for part in _panels(one, precision))]
    ends = [_panels(_Joined(one), precision) for one in last[1]]
    tensors += [*_norm(norms[-1]), *(torch.cat(parts) for parts in zip(*ends, strict=True))]
    assert len(tensors) == len(sublayers) * len(FIELDS) + len(LAST)
    *tensors, words = in_large_pages([*tensors, embedding.weight.detach()])
    epsilon = next(norm.eps for norm in norms if isinstance(norm, nn.LayerNorm))
    return Table(
        torch.tensor([tensor.data_ptr() if len(tensor) else 0 for tensor in tensors]),
        torch.tensor([scale, epsilon], dtype=torch.float32),
        sum(len(joined[0].layers) == 3 for _, joined in sublayers),
        sublayers[-1][1][0].layers[0].out_features,
        post,
        precision == "int8",
        words,
        last[1][0][0].out_features,
        tensors,
    )


def _norm(norm: nn.Module | None) -> list[Tensor]:
    """Gain and shift; empty where there is none."""
    if not isinstance(norm, nn.LayerNorm):
        return [torch.empty(0), torch.empty(0)]
    return [norm.weight.detach(), norm.bias.detach()]


def _panels(joined: _Joined, precision: Precision) -> list[Tensor]:
    """Lay layers side by side, in panels of LANES outputs; and the notes, see `products`."""
    weights = [layer.weight.detach() for layer in joined.layers]
    biases = [
        weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach()
        for layer, weight in zip(joined.layers, weights, strict=True)
    ]
    weight = torch.cat([weights[0] * joined.scale, *weights[1:]])
    bias = torch.cat([biases[0] * joined.scale, *biases[1:]])
    missing = -len(weight) % LANES
    weight, bias = F.pad(weight, (0, 0, 0, missing)), F.pad(bias, (0, missing))
    if precision != "int8":
        return [weight.unflatten(0, (-1, LANES)).transpose(1, 2).flatten(0, 1), bias]
    whole, scales = in_eighths(F.pad(weight, (0, -weight.shape[1] % 4)))
    # The rows that it meets hold 128 more than they mean.
    extra = (-128 * whole.sum(1, dtype=torch.int32)).view(torch.float32)
    notes = torch.stack([scales, extra, bias]).unflatten(1, (-1, LANES)).transpose(0, 1)
    panels = whole.view(-1, LANES, whole.shape[1] // 4, 4).transpose(1, 2)
    return [panels.flatten(0, 1), notes.flatten()]
