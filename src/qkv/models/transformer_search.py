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
from torch import Tensor

from qkv.models.decoder import Step
from qkv.models.growing import Growing
from qkv.models.products import Precision, Product
from qkv.models.transformer_source import (
    Heads,
    Network,
    Places,
    SourceReader,
    Sublayer,
    covers,
    normed,
    projections,
)

if TYPE_CHECKING:
    from qkv.models.output import LinearOutput
    from qkv.models.transformer import Transformer
    from qkv.models.transformer_layers import DecoderLayer


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
        decoder = cast("list[DecoderLayer]", list(model.decoder))
        self.source = SourceReader(model, precision)
        self.writers = [Writer.of(layer, precision) for layer in decoder]
        self.output = Product.of([cast("LinearOutput", model.output).project], precision)
        self.places = Places(model.target_positions, model.target_embedding, model.longest_target)

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
        heads = self.writers[0].heads
        memory, mask = self.source(source, lengths)
        return SearchState(
            past=Growing((len(self.writers), len(source), 2, heads.number, heads.width)),
            source=memory,
            mask=mask,
            beams=1,
        )

    @torch.no_grad()
    def step(self, tokens: Int[Tensor, "batch beams"], state: SearchState) -> Step:
        """See `Decoder.step`."""
        model = self.model
        table = model.target_embedding.weight
        states = torch.add(
            self.places.at(state.past.length), table[tokens.flatten()], alpha=model.scale
        )
        past, keys = state.past.grown(self.output.bias)
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
