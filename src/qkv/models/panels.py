"""The parameters of a decoder as the compiled step reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkv.models.compiled.task import FIELDS, LANES, LAST
from qkv.models.transformer_source import Heads, projections

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxtyping import Float, Int

    from qkv.models.output import LinearOutput
    from qkv.models.transformer import Transformer
    from qkv.models.transformer_layers import DecoderLayer


class Table(NamedTuple):
    """Addresses of all that the step reads, and the tensors that they are of.

    addresses: see `FIELDS` and `LAST`. numbers: what embeddings are multiplied by, and epsilon.
    """

    addresses: Int[Tensor, " fields"]
    numbers: Float[Tensor, " two"]
    inner: int
    kept: list[Tensor]

    @staticmethod
    def of(model: Transformer) -> Table:
        """Lay out the decoder. A norm after a sub-layer is what the next one opens with."""
        layers = cast("list[DecoderLayer]", list(model.decoder))
        post = not layers[0].around_self.before
        norms: list[nn.Module | None] = [
            around.norm
            for layer in layers
            for around in (layer.around_self, layer.around_cross, layer.around_feedforward)
        ]
        norms = [None, *norms] if post else [*norms, model.decoder_norm]
        rows = [
            [*_norm(norms[3 * index + place]), *parts]
            for index, layer in enumerate(layers)
            for place, parts in enumerate(_sublayers(layer))
        ]
        output = cast("LinearOutput", model.output).project
        rows.append([*_norm(norms[-1]), *_panels([output])])
        tensors = [tensor for row in rows for tensor in row]
        assert len(tensors) == len(layers) * len(FIELDS) + len(LAST)
        epsilon = next(norm.eps for norm in norms if isinstance(norm, nn.LayerNorm))
        return Table(
            torch.tensor([tensor.data_ptr() if len(tensor) else 0 for tensor in tensors]),
            torch.tensor([model.scale, epsilon], dtype=torch.float32),
            cast("nn.Linear", layers[0].feedforward[0]).out_features,
            tensors,
        )


def _sublayers(layer: DecoderLayer) -> Iterable[list[Tensor]]:
    """The products of each sub-layer; queries are scaled already."""
    for attention, together in ((layer.self_attention, 3), (layer.cross_attention, 1)):
        scale = Heads.of(attention).scale
        read = projections(attention)[:together]
        yield [*_panels(read, scale), *_panels([attention.project_context])]
    first, _, _, second = layer.feedforward
    yield [*_panels([cast("nn.Linear", first)]), *_panels([cast("nn.Linear", second)])]


def _norm(norm: nn.Module | None) -> list[Tensor]:
    """Gain and shift; empty where there is none."""
    if not isinstance(norm, nn.LayerNorm):
        return [torch.empty(0), torch.empty(0)]
    return [norm.weight.detach().clone(), norm.bias.detach().clone()]


def _panels(layers: list[nn.Linear], scale: float = 1.0) -> list[Tensor]:
    """Lay layers that read the same side by side, in panels of LANES outputs; and the biases.

    scale: what the outputs of the first layer are multiplied by.
    """
    weights = [layer.weight.detach() for layer in layers]
    biases = [
        weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach()
        for layer, weight in zip(layers, weights, strict=True)
    ]
    weight = torch.cat([weights[0] * scale, *weights[1:]])
    bias = torch.cat([biases[0] * scale, *biases[1:]])
    missing = -len(weight) % LANES
    weight, bias = F.pad(weight, (0, 0, 0, missing)), F.pad(bias, (0, missing))
    return [weight.unflatten(0, (-1, LANES)).transpose(1, 2).contiguous(), bias.contiguous()]
