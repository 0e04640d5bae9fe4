"""What search reads of the source: the encoder and the keys and values of all decoder layers.

Queries, keys and values of a layer are one product, those of the source are one for all layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from qkv.attention import Attention, Mask, scores
from qkv.models.products import Precision, Product
from qkv.nn import MultiHeadAttention

if TYPE_CHECKING:
    from qkv.models.transformer import Transformer
    from qkv.models.transformer_layers import (
        DecoderLayer,
        EncoderLayer,
        FeedForward,
        Residual,
    )


_PLACES = 256  # positions whose vectors are computed once


def covers(layer: MultiHeadAttention) -> bool:
    """Whether an attention is what this file computes: softmax over (scaled) dot products."""
    attention = layer.attention
    return (
        isinstance(attention, Attention)
        and type(attention.score) in (scores.Dot, scores.ScaledDot)
        and attention.normalizer.name == "softmax"
        and attention.bias is None
        and attention.reweighter is None
        and attention.local is None
        and attention.rotary is None
        and layer.kv_heads == layer.heads
    )


class Heads(NamedTuple):
    """How a layer's vectors are split, and what its energies are multiplied by."""

    number: int
    width: int
    scale: float

    @staticmethod
    def of(layer: MultiHeadAttention) -> Heads:
        """Read them off a layer that is covered."""
        score = cast("scores.ScaledDot", cast("Attention", layer.attention).score)
        return Heads(layer.heads, layer.head_dim, score.scale(layer.head_dim))

    def split(
        self, rows: Float[Tensor, "rows width"], batch: int
    ) -> Float[Tensor, "batch heads queries w"]:
        """Rows of one batch item after those of another one, into its queries, head by head."""
        return rows.view(batch, -1, self.number, self.width).transpose(1, 2)

    def read(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> Float[Tensor, "rows width"]:
        """Return the contexts, heads side by side."""
        context = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=self.scale
        )
        return context.transpose(1, 2).reshape(-1, self.number * self.width)

    def read_and_tell(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> tuple[Float[Tensor, "rows width"], Float[Tensor, "batch heads queries source"]]:
        """Return the contexts and the weights."""
        energies = (query * self.scale) @ key.transpose(-1, -2)
        weights = (energies if mask is None else energies + mask).softmax(-1)
        context = (weights @ value).transpose(1, 2).reshape(-1, self.number * self.width)
        return context, weights


class Sublayer(NamedTuple):
    """The residual connection around a sub-layer; see `Residual`."""

    norm: nn.LayerNorm
    before: bool

    @staticmethod
    def of(residual: Residual) -> Sublayer:
        """Read it off a layer."""
        return Sublayer(residual.norm, residual.before)

    def open(self, rows: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
        """Return what the sub-layer reads."""
        return normed(self.norm, rows) if self.before else rows

    def close(
        self, rows: Float[Tensor, "rows width"], written: Float[Tensor, "rows width"]
    ) -> Float[Tensor, "rows width"]:
        """Add what it wrote."""
        summed = rows + written
        return summed if self.before else normed(self.norm, summed)


class Network(NamedTuple):
    """W_2 relu(W_1 x), inside its residual connection."""

    around: Sublayer
    first: Product
    second: Product

    @staticmethod
    def of(residual: Residual, network: FeedForward, precision: Precision) -> Network:
        """Lay out the two products."""
        first, _, _, second = network
        return Network(
            Sublayer.of(residual),
            Product.of([cast("nn.Linear", first)], precision),
            Product.of([cast("nn.Linear", second)], precision),
        )

    def __call__(self, rows: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
        """Return the next layer's inputs."""
        hidden = self.first(self.around.open(rows)).relu_()
        return self.around.close(rows, self.second(hidden))


class Reader(NamedTuple):
    """A layer of the encoder."""

    around: Sublayer
    heads: Heads
    inputs: Product
    outputs: Product
    network: Network

    @staticmethod
    def of(layer: EncoderLayer, precision: Precision) -> Reader:
        """Lay out a layer that is covered."""
        attention = layer.attention
        return Reader(
            Sublayer.of(layer.around_attention),
            Heads.of(attention),
            Product.of(projections(attention), precision),
            Product.of([attention.project_context], precision),
            Network.of(layer.around_feedforward, layer.feedforward, precision),
        )

    def __call__(
        self, rows: Float[Tensor, "rows width"], batch: int, mask: Tensor | None
    ) -> Float[Tensor, "rows width"]:
        """Return the next layer's inputs."""
        together = self.inputs(self.around.open(rows))
        query, key, value = (
            self.heads.split(part.contiguous(), batch) for part in together.chunk(3, dim=1)
        )
        context = self.heads.read(query, key, value, mask)
        return self.network(self.around.close(rows, self.outputs(context)))


class Read(NamedTuple):
    """Keys and values of the source for each layer of the decoder.

    mask: 0 for each real source token, -inf for a pad; None where there is no pad.
    """

    memory: Float[Tensor, "layers two batch heads source w"]
    mask: Float[Tensor, "batch 1 1 source"] | None


class SourceReader:
    """The encoder of a Transformer, and what its decoder's layers take from it."""

    def __init__(self, model: Transformer, precision: Precision) -> None:
        self.model = model
        encoder = cast("list[EncoderLayer]", list(model.encoder))
        decoder = cast("list[DecoderLayer]", list(model.decoder))
        self.layers = (
            [Reader.of(layer, precision) for layer in encoder]
            if all(covers(layer.attention) for layer in encoder)
            else None
        )
        self.heads = Heads.of(decoder[0].cross_attention)
        self.decoders = len(decoder)
        self.memory = Product.of(
            [
                projection
                for layer in decoder
                for projection in projections(layer.cross_attention)[1:]
            ],
            precision,
        )

    def __call__(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> Read:
        """Read some sources."""
        batch, longest = source.shape
        mask = _padding(lengths, longest, self.memory.bias.dtype)
        states = self._encode(source, lengths, mask)
        memory = self.memory(states).view(
            batch, longest, self.decoders, 2, self.heads.number, self.heads.width
        )
        return Read(memory.permute(2, 3, 0, 4, 1, 5).contiguous(), mask)

    def _encode(
        self, source: Tensor, lengths: Tensor, mask: Tensor | None
    ) -> Float[Tensor, "rows width"]:
        """Return the source's states, sentence after sentence."""
        if self.layers is None:
            return self.model.encode(source, Mask.lengths(lengths)).flatten(0, 1)
        states = self.model.embed_source(source).flatten(0, 1)
        for layer in self.layers:
            states = layer(states, len(source), mask)
        return normed(self.model.encoder_norm, states)


class Places:
    """Vectors of positions; the first ones are computed once."""

    def __init__(
        self, positions: nn.Module, embedding: nn.Embedding, longest: int | None = None
    ) -> None:
        """longest: how many positions there are, where they end."""
        self.positions = positions
        known = min(_PLACES, longest or _PLACES)
        self.zero = embedding.weight.detach().new_zeros(1, known, embedding.embedding_dim)
        self.known = self.positions(self.zero, 0)[0].detach()

    def at(self, position: int) -> Float[Tensor, " width"]:
        """Return what is added to the embedding of a token there.

        Raises:
            ValueError: the model has no such position.
        """
        if position < len(self.known):
            return self.known[position]
        placed: Tensor = self.positions(self.zero[:, :1], position)
        return placed[0, 0]

    def first(self, count: int) -> Float[Tensor, "count width"]:
        """Return what is added to the first tokens.

        Raises:
            ValueError: the model has not so many positions.
        """
        if count <= len(self.known):
            return self.known
        placed: Tensor = self.positions(self.zero[:, :1].expand(1, count, -1), 0)
        return placed[0]


def projections(layer: MultiHeadAttention) -> list[nn.Linear]:
    """The layers of queries, keys and values."""
    return [layer.project_query, layer.project_key, layer.project_value]


def normed(norm: nn.Module, rows: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
    """Normalise, without what calling a module costs."""
    if not isinstance(norm, nn.LayerNorm):
        return rows
    return torch.layer_norm(rows, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _padding(
    lengths: Int[Tensor, " batch"], longest: int, dtype: torch.dtype
) -> Float[Tensor, "batch 1 1 source"] | None:
    real = torch.arange(longest, device=lengths.device) < lengths.unsqueeze(1)
    if bool(real.all()):
        return None
    mask = torch.zeros(real.shape, dtype=dtype, device=real.device)
    return mask.masked_fill(~real, -torch.inf)[:, None, None]
