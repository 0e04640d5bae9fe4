"""What only some models' attentions have."""

from __future__ import annotations

from qkv.config.attention import AttentionConfig


def of_a_recurrent_model(attention: AttentionConfig) -> None:
    """Refuse what only a Transformer's attention has."""
    plain = AttentionConfig()
    for name in ("bias", "features", "layer_scores"):
        if getattr(attention, name) != getattr(plain, name):
            raise ValueError(
                f"model.attention.{name} is for the attentions of a Transformer (model.kind = "
                '"transformer"); leave it out'
            )


def of_a_labeller(attention: AttentionConfig) -> None:
    """Refuse what needs a decoder: REINFORCE, and a place in the target."""
    of_a_recurrent_model(attention)
    if attention.normalizer == "hard":
        raise ValueError(
            'model.attention.normalizer = "hard" needs REINFORCE, which models of labels do not '
            'have; take "gumbel"'
        )


def of_one_query(attention: AttentionConfig) -> None:
    """Refuse what a query without a place cannot use."""
    of_a_labeller(attention)
    if attention.scope != "global":
        raise ValueError(
            f'model.attention.scope = "{attention.scope}" is a window around a place, and the '
            "query that pools a text has none; leave it out"
        )
