"""The layers of a Transformer's encoder and decoder (Vaswani et al. 2017, section 3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qkv.attention import Attention, LinearAttention, Mask, Rotary
from qkv.attention.work import Need
from qkv.config import AttentionConfig, TransformerConfig
from qkv.models.parts import fill_attention
from qkv.nn import KeyValueCache, MultiHeadAttention, SummedCache
from qkv.nn.dropout import Dropout


class Residual(nn.Module):
    """A sub-layer inside its residual connection, with its layer norm before or after.

    pre:  x + dropout(f(norm(x)))     (Xiong et al. 2020)
    post: norm(x + dropout(f(x)))     (Vaswani et al. 2017, section 3.1)
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.dropout = Dropout(config.dropout)
        self.before = config.norm == "pre"

    def open(self, inputs: Tensor) -> Tensor:
        """Return what the sub-layer reads."""
        normed: Tensor = self.norm(inputs) if self.before else inputs
        return normed

    def close(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Add what the sub-layer wrote."""
        summed: Tensor = inputs + self.dropout(outputs)
        return summed if self.before else self.norm(summed)


class FeedForward(nn.Sequential):
    """W_2 relu(W_1 x) (Vaswani et al. 2017, eq. 2)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(
            nn.Linear(config.width, config.feedforward),
            nn.ReLU(),
            Dropout(config.dropout),
            nn.Linear(config.feedforward, config.width),
        )


class EncoderLayer(nn.Module):
    """Self-attention, then a feed-forward network."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.attention = build_heads(config, config.encoder_attention, layer)
        self.feedforward = FeedForward(config)
        self.around_attention = Residual(config)
        self.around_feedforward = Residual(config)

    def forward(
        self, inputs: Float[Tensor, "batch source width"], mask: Mask
    ) -> Float[Tensor, "batch source width"]:
        """Return the next layer's inputs."""
        query = self.around_attention.open(inputs)
        inputs = self.around_attention.close(inputs, self.attention(query, mask=mask).context)
        hidden = self.feedforward(self.around_feedforward.open(inputs))
        return self.around_feedforward.close(inputs, hidden)


class Decoded(NamedTuple):
    """What a layer of the decoder returns.

    states: the next layer's inputs.
    past: the keys and values given, and those of these tokens; or the sums over them.
    weights: of the attention to the source, hypothesis after hypothesis; None unless asked for.
    """

    states: Float[Tensor, "rows time width"]
    past: KeyValueCache | SummedCache
    weights: Float[Tensor, "batch heads queries source"] | None


class DecoderLayer(nn.Module):
    """Masked self-attention, attention to the source, then a feed-forward network."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.self_attention = build_heads(config, config.decoder_attention, layer)
        self.cross_attention = build_heads(config, config.cross_attention, layer, across=True)
        self.feedforward = FeedForward(config)
        self.around_self = Residual(config)
        self.around_cross = Residual(config)
        self.around_feedforward = Residual(config)

    def forward(
        self,
        inputs: Float[Tensor, "rows time width"],
        past: KeyValueCache | SummedCache,
        source: KeyValueCache,
        mask: Mask,
        *,
        beams: int,
        need: Need,
    ) -> Decoded:
        """Read the tokens after those that `past` holds; rows are sentences x hypotheses.

        source, mask: keys and values of the source, and which are real; a row a sentence.
        """
        query = self.around_self.open(inputs)
        places = torch.arange(past.length, past.length + query.shape[1], device=query.device)
        attended, past = past.continued(self.self_attention, query)
        states = self.around_self.close(inputs, attended.context)

        query = self.around_cross.open(states)
        # Hypotheses of one sentence are queries against its one set of keys.
        grouped = query.unflatten(0, (-1, beams)).flatten(1, 2)
        attended = self.cross_attention(
            grouped, cache=source, mask=mask, need=need, positions=places.repeat(beams)
        )
        states = self.around_cross.close(states, attended.context.view_as(query))

        hidden = self.feedforward(self.around_feedforward.open(states))
        states = self.around_feedforward.close(states, hidden)
        return Decoded(states, past, attended.weights)


def build_heads(
    config: TransformerConfig, attention: AttentionConfig, layer: int, *, across: bool = False
) -> MultiHeadAttention:
    """Build one multi-head attention of a layer; `hidden = 0` is the width of a head.

    across: it reads another sequence, where rotary positions mean nothing.
    """
    width = config.width // config.heads
    rotary = config.positions == "rotary" and not across
    if attention.features != "none":
        _check_linear(config)
        mechanism: Attention | LinearAttention = LinearAttention(
            features=attention.features, dim=width
        )
    else:
        mechanism = fill_attention(
            attention,
            attention.layer_scores[layer] if attention.layer_scores else attention.score,
            width,
            width,
            heads=config.heads,
            dropout=config.attention_dropout,
            rotary=Rotary(width) if rotary else None,
        )
    return MultiHeadAttention(
        config.width, config.heads, kv_heads=config.kv_heads or None, attention=mechanism
    )


def _check_linear(config: TransformerConfig) -> None:
    """Refuse what linear attention has not.

    Raises:
        ValueError: naming the keys.
    """
    if config.attention_dropout or config.positions == "rotary":
        raise ValueError(
            "linear attention (features) has no weights to drop and no rotary positions: leave "
            'out model.attention_dropout, and model.positions = "rotary"'
        )
