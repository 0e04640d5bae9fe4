"""The Transformer as search runs it: one token a step, as few operations as that takes.

It gives the numbers of `Transformer.start` and `Transformer.step`, its oracle. What differs is the
layout alone: queries, keys and values of a layer are one product, those of the source are one
product for all layers, a position of the past is written in place, and hypotheses of a sentence
are queries against its one set of keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from qkv.attention import Attention, Mask, scores
from qkv.models.decoder import Step
from qkv.models.growing import Growing
from qkv.models.products import Precision, Product
from qkv.nn import MultiHeadAttention

if TYPE_CHECKING:
    from qkv.models.output import LinearOutput
    from qkv.models.transformer import (
        DecoderLayer,
        EncoderLayer,
        FeedForward,
        Residual,
        Transformer,
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


class Writer(NamedTuple):
    """A layer of the decoder."""

    around_self: Sublayer
    heads: Heads
    inputs: Product
    outputs: Product
    around_cross: Sublayer
    cross_heads: Heads
    cross_query: Product
    cross_outputs: Product
    network: Network

    @staticmethod
    def of(layer: DecoderLayer, precision: Precision) -> Writer:
        """Lay out a layer that is covered."""
        own, cross = layer.self_attention, layer.cross_attention
        return Writer(
            Sublayer.of(layer.around_self),
            Heads.of(own),
            Product.of(projections(own), precision),
            Product.of([own.project_context], precision),
            Sublayer.of(layer.around_cross),
            Heads.of(cross),
            Product.of([cross.project_query], precision),
            Product.of([cross.project_context], precision),
            Network.of(layer.around_feedforward, layer.feedforward, precision),
        )

    def continue_past(
        self,
        rows: Float[Tensor, "rows width"],
        past: Float[Tensor, "length rows two heads w"],
    ) -> Float[Tensor, "rows width"]:
        """Self-attention; the last place of the past is that of these tokens, to be written."""
        together = self.inputs(self.around_self.open(rows))
        together = together.view(len(rows), 3, self.heads.number, self.heads.width)
        past[-1] = together[:, 1:]
        key, value = past.permute(2, 1, 3, 0, 4).unbind(0)
        context = self.heads.read(together[:, 0].unsqueeze(2), key, value, None)
        return self.around_self.close(rows, self.outputs(context))

    def read_source(
        self,
        rows: Float[Tensor, "rows width"],
        source: Float[Tensor, "two batch heads source w"],
        mask: Tensor | None,
        *,
        tell: bool,
    ) -> tuple[Float[Tensor, "rows width"], Float[Tensor, "batch heads beams source"] | None]:
        """Attend to the source, and feed forward; with the weights if asked."""
        key, value = source.unbind(0)
        query = self.cross_query(self.around_cross.open(rows))
        query = self.cross_heads.split(query, len(key))
        weights = None
        if tell:
            context, weights = self.cross_heads.read_and_tell(query, key, value, mask)
        else:
            context = self.cross_heads.read(query, key, value, mask)
        return self.network(self.around_cross.close(rows, self.cross_outputs(context))), weights


@dataclass(frozen=True, eq=False)
class SearchState:
    """Hypotheses of a Transformer that is being searched.

    past: keys and values of the tokens so far. source: those of the source, a row a sentence.
    mask: 0 for each real source token, -inf for a pad; None where there is no pad.
    """

    past: Growing
    source: Float[Tensor, "layers two batch heads source w"]
    mask: Float[Tensor, "batch 1 1 source"] | None
    beams: int

    def select(self, sentences: Int[Tensor, " kept"], beams: Int[Tensor, "kept beams"]) -> Self:
        """Keep these sentences and, of each, continue these hypotheses."""
        rows = (sentences.unsqueeze(1) * self.beams + beams).flatten()
        source, mask = self.source, self.mask
        if len(sentences) < source.shape[2]:  # they stay in order: as many are the same ones
            source = source.index_select(2, sentences)
            mask = None if mask is None else mask.index_select(0, sentences)
        return type(self)(self.past.select(rows), source, mask, beams.shape[1])


class TransformerSearch:
    """A `Decoder`: the parameters of a Transformer, laid out for search.

    It is made for one search after another, not for a model that learns between them.
    """

    def __init__(self, model: Transformer, precision: Precision) -> None:
        self.model = model
        encoder = cast("list[EncoderLayer]", list(model.encoder))
        decoder = cast("list[DecoderLayer]", list(model.decoder))
        self.readers = (
            [Reader.of(layer, precision) for layer in encoder]
            if all(covers(layer.attention) for layer in encoder)
            else None
        )
        self.writers = [Writer.of(layer, precision) for layer in decoder]
        self.memory = Product.of(
            [
                projection
                for layer in decoder
                for projection in projections(layer.cross_attention)[1:]
            ],
            precision,
        )
        self.output = Product.of([cast("LinearOutput", model.output).project], precision)
        known = min(_PLACES, model.longest_target or _PLACES)
        width = model.target_embedding.embedding_dim
        self.zero = model.target_embedding.weight.detach().new_zeros(1, known, width)
        self.places = model.target_positions(self.zero, 0)[0].detach()

    @staticmethod
    def covers(model: Transformer) -> bool:
        """Whether each attention of the decoder is covered."""
        decoder = cast("list[DecoderLayer]", list(model.decoder))
        return all(
            covers(layer.self_attention) and covers(layer.cross_attention) for layer in decoder
        )

    @torch.no_grad()
    def start(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> SearchState:
        """See `Decoder.start`."""
        batch, longest = source.shape
        heads = self.writers[0].cross_heads
        mask = _padding(lengths, longest, self.memory.weight.dtype)
        states = self._encode(source, lengths, mask)
        memory = self.memory(states).view(
            batch, longest, len(self.writers), 2, heads.number, heads.width
        )
        heads = self.writers[0].heads
        return SearchState(
            past=Growing((len(self.writers), batch, 2, heads.number, heads.width)),
            source=memory.permute(2, 3, 0, 4, 1, 5).contiguous(),
            mask=mask,
            beams=1,
        )

    @torch.no_grad()
    def step(self, tokens: Int[Tensor, "batch beams"], state: SearchState) -> Step:
        """See `Decoder.step`."""
        model = self.model
        table = model.target_embedding.weight
        states = torch.add(
            self._place(state.past.length), table[tokens.flatten()], alpha=model.scale
        )
        past, keys = state.past.grown(self.memory.bias)
        attention = None
        for index, layer in enumerate(self.writers):
            states = layer.continue_past(states, keys[:, index])
            states, weights = layer.read_source(
                states, state.source[index], state.mask, tell=index == model.alignment.layer
            )
            if weights is not None:
                attention = model.alignment(weights).to(states.dtype)
        logits = self.output(normed(model.decoder_norm, states)).view(*tokens.shape, -1)
        log_probs = logits.log_softmax(-1, dtype=states.dtype)
        after = SearchState(past, state.source, state.mask, tokens.shape[1])
        return Step(log_probs, after, attention)

    def _encode(
        self, source: Tensor, lengths: Tensor, mask: Tensor | None
    ) -> Float[Tensor, "rows width"]:
        """Return the source's states, sentence after sentence."""
        if self.readers is None:
            return self.model.encode(source, Mask.lengths(lengths)).flatten(0, 1)
        states = self.model.embed_source(source).flatten(0, 1)
        for layer in self.readers:
            states = layer(states, len(source), mask)
        return normed(self.model.encoder_norm, states)

    def _place(self, position: int) -> Float[Tensor, " width"]:
        if position < len(self.places):
            return self.places[position]
        placed: Tensor = self.model.target_positions(self.zero[:, :1], position)
        return placed[0, 0]


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
