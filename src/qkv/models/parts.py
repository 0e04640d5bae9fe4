"""Parts that a config names, built."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.attention import Attended, Attention, Prepared, Rotary, biases, normalizers, scores
from qkv.attention.local import build as build_local
from qkv.attention.registry import find
from qkv.attention.work import Need
from qkv.config import AttentionConfig
from qkv.nn.reinforce import Drawn
from qkv.text.vocabulary import PAD


def build_attention(config: AttentionConfig, query_dim: int, key_dim: int) -> Attention:
    """Build the attention that a config describes between vectors of these widths."""
    return fill_attention(config, config.score, query_dim, key_dim)


def fill_attention(
    config: AttentionConfig,
    score: str,
    query_dim: int,
    key_dim: int,
    *,
    heads: int = 1,
    dropout: float = 0.0,
    rotary: Rotary | None = None,
) -> Attention:
    """Fill the slots that a config names, with this score, for vectors of these widths."""
    local = None
    if config.scope != "global":
        local = build_local(config.scope, query_dim=query_dim, window=config.window)
    return Attention(
        score=scores.build(
            score, query_dim=query_dim, key_dim=key_dim, hidden=config.hidden or query_dim
        ),
        bias=None if config.bias == "none" else biases.build(config.bias, heads=heads),
        normalizer=normalizers.build(
            config.normalizer,
            heads=heads,
            alpha=config.alpha or None,
            temperature=config.temperature,
        ),
        dropout=dropout,
        local=local,
        rotary=rotary,
    )


def need_of(attention: Attention, *, need_attention: bool) -> Need:
    """Return what a decoder asks for: where attention draws, a loss needs the statistics."""
    if need_attention:
        return "weights"
    normalizer = attention.normalizer
    return "stats" if normalizer.draws and normalizer.training else "context"


def drawn_of(
    attended: Attended,
    memory: Prepared,
    speak: Callable[[Float[Tensor, "batch queries read width"]], Tensor],
    *,
    lasting: bool,
) -> Drawn | None:
    """Return what a loss must know of the positions that an attention drew; None if none.

    speak: from contexts that each query might have read instead to features.
    """
    if attended.log_prob is None or attended.log_distribution is None:
        return None

    def features_at(positions: Int[Tensor, "batch queries read"]) -> Tensor:
        index = positions.flatten(1).unsqueeze(-1).expand(-1, -1, memory.value.shape[-1])
        return speak(memory.value.gather(1, index).unflatten(1, positions.shape[1:]))

    return Drawn(attended.log_prob, attended.log_distribution, features_at, lasting)


def build_embedding(size: int, width: int, *, tied: bool) -> nn.Embedding:
    """Build a target embedding; one tied to the output layer starts small, as do its logits."""
    return small_embedding(size, width) if tied else nn.Embedding(size, width, padding_idx=PAD)


def small_embedding(size: int, width: int) -> nn.Embedding:
    """Build an embedding whose vectors have a length of about 1."""
    table = nn.Embedding(size, width, padding_idx=PAD)
    nn.init.normal_(table.weight, std=width**-0.5)
    nn.init.zeros_(table.weight[PAD])
    return table


def encoder_hidden(config: AttentionConfig, hidden: int, *, bidirectional: bool) -> int:
    """Return the width of each direction of the encoder beside a decoder of width `hidden`.

    The same width, as in the papers; but a score without parameters (dot, scaled dot) compares
    states with annotations as they are, so two directions then have half of it each.

    Raises:
        ValueError: half of an odd width.
    """
    if not bidirectional or find("score", config.score, scores.SCORES).has_parameters:
        return hidden
    if hidden % 2:
        raise ValueError(
            f"score {config.score!r} compares states with annotations of one width, so "
            f"model.hidden must be even for two directions, not {hidden}; or take general or "
            "additive"
        )
    return hidden // 2
