"""Parts that a config names, built."""

from __future__ import annotations

from qkv.attention import Attention, scores
from qkv.config import AttentionConfig


def build_attention(config: AttentionConfig, query_dim: int, key_dim: int) -> Attention:
    """Build the attention that a config describes between vectors of these widths."""
    score = scores.build(
        config.score, query_dim=query_dim, key_dim=key_dim, hidden=config.hidden or query_dim
    )
    return Attention(score=score, normalizer=config.normalizer)
