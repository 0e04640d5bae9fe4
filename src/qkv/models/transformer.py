"""The Transformer (Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self, cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.attention import Mask
from qkv.config import TransformerConfig
from qkv.models.decoder import Decoder, SearchPlan, Step
from qkv.models.model import EncoderDecoder, Forced
from qkv.models.output import LinearOutput
from qkv.models.positions import Learned, Sinusoidal, Unplaced
from qkv.models.products import Precision
from qkv.models.transformer_compiled import CompiledSearch
from qkv.models.transformer_layers import DecoderLayer, EncoderLayer
from qkv.models.transformer_search import TransformerSearch
from qkv.nn import KeyValueCache, SummedCache
from qkv.nn.dropout import Dropout
from qkv.text.vocabulary import PAD


@dataclass(frozen=True)
class TransformerState:
    """Hypotheses of a Transformer's decoder.

    past: each layer's keys and values of the tokens so far, a row a hypothesis (batch * beams);
        of linear attention the sums over them.
    sources: each layer's keys and values of the source, a row a sentence; hypotheses share them.
    mask: which source tokens are real.
    beams: hypotheses a sentence.
    """

    past: tuple[KeyValueCache | SummedCache, ...]
    sources: tuple[KeyValueCache, ...]
    mask: Mask
    beams: int

    def select(self, sentences: Int[Tensor, " kept"], beams: Int[Tensor, "kept beams"]) -> Self:
        """Keep these sentences and, of each, continue these hypotheses."""
        rows = (sentences.unsqueeze(1) * self.beams + beams).flatten()
        return type(self)(
            past=tuple(cache.select(rows) for cache in self.past),
            sources=tuple(cache.select(sentences) for cache in self.sources),
            mask=self.mask.select(sentences),
            beams=beams.shape[1],
        )


class Transformer(EncoderDecoder[TransformerState]):
    """Attention is all it has: in the encoder, in the decoder, and between them.

        x_0 = sqrt(width) E w + position,   x_n = x_{n-1} + f(norm(x_{n-1})),   f is in turn
        attention(x, x),   attention(x, encoder's x) in the decoder,   W_2 relu(W_1 x)
        p(y_i) = softmax(W_o norm(x_last) + b)

    Embeddings are scaled by sqrt(width); with `tie_embeddings` the output layer is the target
    embedding, and with a shared vocabulary the source's too (section 3.4).

    Differs from the paper: layer norm before each sub-layer by default (`norm = "post"` is the
    paper's).
    """

    attends = True
    source_table = "source_embedding"

    def __init__(self, config: TransformerConfig, source_size: int, target_size: int) -> None:
        super().__init__()
        width = config.width
        self.source_embedding = nn.Embedding(source_size, width, padding_idx=PAD)
        self.target_embedding = nn.Embedding(target_size, width, padding_idx=PAD)
        for table in (self.source_embedding, self.target_embedding):
            nn.init.normal_(table.weight, std=width**-0.5)
            nn.init.zeros_(table.weight[PAD])
        self.scale = width**0.5
        positions: dict[str, Callable[[], nn.Module]] = {
            "sinusoidal": Sinusoidal,
            "learned": partial(Learned, config.max_positions, width),
            "rotary": Unplaced,
            "none": Unplaced,
        }
        if config.positions == "learned":
            self.longest_target = config.max_positions
        self.source_positions = positions[config.positions]()
        self.target_positions = positions[config.positions]()
        self.dropout = Dropout(config.dropout)
        self.encoder = nn.ModuleList(EncoderLayer(config, n) for n in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config, n) for n in range(config.decoder_layers))
        for matrix in (*self.encoder.parameters(), *self.decoder.parameters()):
            if matrix.dim() == 2:
                nn.init.xavier_uniform_(matrix)
        self.encoder_norm = nn.LayerNorm(width) if config.norm == "pre" else nn.Identity()
        self.decoder_norm = nn.LayerNorm(width) if config.norm == "pre" else nn.Identity()
        self.output = LinearOutput(
            width,
            target_size,
            dropout=0.0,
            tied=self.target_embedding if config.tie_embeddings else None,
        )
        self.alignment = AlignmentHeads(config)

    def share_embeddings(self) -> None:
        """Make the source's embedding the target's (one vocabulary for both sides)."""
        self.source_embedding = self.target_embedding

    def force(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch time"],
        *,
        need_attention: bool = False,
    ) -> Forced:
        """See `EncoderDecoder.force`."""
        state = self.start(source, lengths)
        features, attention, _ = self._decode(target, state, need_attention=need_attention)
        return Forced(features, attention)

    def start(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> TransformerState:
        """See `EncoderDecoder.start`."""
        mask = Mask.lengths(lengths)
        states = self.encode(source, mask)
        decoder = cast("Sequence[DecoderLayer]", self.decoder)
        return TransformerState(
            past=tuple(layer.self_attention.start() for layer in decoder),
            sources=tuple(
                layer.cross_attention.project_key_value(states, mask=mask) for layer in decoder
            ),
            mask=mask,
            beams=1,
        )

    def encode(
        self, source: Int[Tensor, "batch source"], mask: Mask
    ) -> Float[Tensor, "batch source width"]:
        """Return the last layer's states of the source."""
        states = self.embed_source(source)
        for layer in self.encoder:
            states = layer(states, mask)
        encoded: Tensor = self.encoder_norm(states)
        return encoded

    def embed_source(
        self, source: Int[Tensor, "batch source"]
    ) -> Float[Tensor, "batch source width"]:
        """Return the first layer's inputs."""
        return self._embed(self.source_embedding, self.source_positions, source, 0)

    def ready(self, precision: Precision = "float32") -> Decoder:
        """See `EncoderDecoder.ready`, and `search_plan`."""
        path = self.search_plan(precision).path
        if path == "compiled":
            return CompiledSearch(self, precision)
        return (
            TransformerSearch(self, precision) if path == "laid out" else super().ready(precision)
        )

    def search_plan(self, precision: Precision = "float32") -> SearchPlan:
        """See `EncoderDecoder.search_plan`."""
        if not TransformerSearch.covers(self):
            found = super().search_plan(precision)
            why = "an attention of the decoder is more than softmax over dot products"
            return found._replace(reason=f"{found.reason}; {why}")
        gap = CompiledSearch.gap(self, precision)
        if gap is None:
            return SearchPlan(
                "compiled", f"one call of compiled loops a step, {precision} products"
            )
        return SearchPlan("laid out", f"torch, {precision} products; no compiled loops for {gap}")

    def step(self, tokens: Int[Tensor, "batch beams"], state: TransformerState) -> Step:
        """See `EncoderDecoder.step`."""
        features, attention, past = self._decode(
            tokens.reshape(-1, 1), state, need_attention=self.attends
        )
        shape = tokens.shape
        log_probs = self.output(features.view(*shape, -1)).log_softmax(-1)
        rows = None if attention is None else attention.view(*shape, -1)
        return Step(log_probs, TransformerState(past, state.sources, state.mask, shape[1]), rows)

    def _embed(
        self, table: nn.Module, positions: nn.Module, tokens: Tensor, start: int
    ) -> Float[Tensor, "batch time width"]:
        embedded: Tensor = self.dropout(positions(table(tokens) * self.scale, start))
        return embedded

    def _decode(
        self,
        tokens: Int[Tensor, "rows time"],
        state: TransformerState,
        *,
        need_attention: bool,
    ) -> tuple[Tensor, Tensor | None, tuple[KeyValueCache | SummedCache, ...]]:
        """Read some tokens a row, after those the state holds; rows are sentences x hypotheses."""
        start = state.past[0].length
        states = self._embed(self.target_embedding, self.target_positions, tokens, start)
        past: list[KeyValueCache | SummedCache] = []
        attention = None
        for index, layer in enumerate(self.decoder):
            read = need_attention and index == self.alignment.layer
            states, cache, weights = layer(
                states,
                state.past[index],
                state.sources[index],
                state.mask,
                beams=state.beams,
                need="weights" if read else "context",
            )
            past.append(cache)
            if read:
                attention = self.alignment(weights).reshape(*tokens.shape, -1)
        return self.decoder_norm(states), attention, tuple(past)


class AlignmentHeads:
    """Which cross-attention is read as the alignment: one head, or the mean of a layer's heads.

    layer, head: of the decoder, from 0; head None: the mean.
    """

    def __init__(self, config: TransformerConfig) -> None:
        """Find the head that `config.alignment` names.

        Raises:
            ValueError: the model has no such head.
        """
        self.layer = config.decoder_layers - 1
        self.head: int | None = None
        if config.alignment != "mean":
            layer, _, head = config.alignment.partition(".")
            limits = (config.decoder_layers, config.heads)
            valid = layer.isdecimal() and head.isdecimal()
            if not valid or int(layer) >= limits[0] or int(head) >= limits[1]:
                raise ValueError(
                    f"model.alignment = {config.alignment!r}; allowed: mean, or layer.head with "
                    f"layer < {limits[0]} and head < {limits[1]}, both from 0, such as 0.1"
                )
            self.layer, self.head = int(layer), int(head)

    def __call__(
        self, weights: Float[Tensor, "batch heads queries source"]
    ) -> Float[Tensor, "batch queries source"]:
        """Return the one row of alignment a query."""
        return weights.mean(1) if self.head is None else weights[:, self.head]
