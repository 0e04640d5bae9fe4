"""Every attention of a model while it reads one pair: each layer, each head.

What the model itself reports is one row a target token (see `EncoderDecoder.force`). Here every
multi-head layer is asked for its weights, without a change to what it computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qkv.data import Batch
from qkv.models.model import EncoderDecoder
from qkv.nn import MultiHeadAttention
from qkv.text import BOS, EOS

Heads = Float[Tensor, "heads targets sources"]


def every_head(
    model: EncoderDecoder, source: Sequence[int], target: Sequence[int]
) -> dict[str, Heads]:
    """Return the weights of each attention by name, [heads, queries, keys], in the model's order.

    A Transformer has "encoder.0.attention" (source by source), "decoder.0.self_attention" (what
    was read, BOS first, by itself) and "decoder.0.cross_attention" (target by source) of each
    layer, from 0; a recurrent model has one, "attention", with one head. Both sides end with the
    end symbol: row i of a target is what was attended when token i was predicted.

    Args:
        model: in eval mode.
        source, target: ids, without begin and end symbols.

    Raises:
        ValueError: the model has no attention.
    """
    device = next(model.parameters()).device
    sources = torch.tensor([[*source, EOS]], device=device)
    lengths = torch.tensor([sources.shape[1]], device=device)
    read = torch.tensor([[BOS, *target]], device=device)
    with torch.inference_mode(), watched(model) as found:
        forced = model.force(sources, lengths, read, need_attention=model.attends)
    if found:
        return {name: weights[0].cpu() for name, weights in found.items()}
    if forced.attention is None:
        raise ValueError(f"a {type(model).__name__} has no attention to look at")
    return {"attention": forced.attention.cpu()}


def across(
    model: EncoderDecoder, batch: Batch
) -> tuple[Float[Tensor, "batch targets sources"], Float[Tensor, "batch layers heads targets s"]]:
    """Return a model's own rows of alignment, and every attention to the source, of a batch.

    A recurrent model has one layer with one head, which is its alignment.
    """
    device = next(model.parameters()).device
    batch = batch.to(device)
    with torch.inference_mode(), watched(model, "cross_attention") as found:
        forced = model.force(
            batch.source, batch.source_lengths, batch.target_in, need_attention=True
        )
    assert forced.attention is not None, "a model that attends gives its attention"
    own = forced.attention.cpu()
    if not found:
        return own, own[:, None, None]
    return own, torch.stack([weights.cpu() for weights in found.values()], dim=1)


@contextmanager
def watched(model: nn.Module, last: str = "") -> Iterator[dict[str, Tensor]]:
    """Keep what every multi-head layer attends to, by its name; the last call of each stays.

    last: only of the layers whose names end like this.
    """
    found: dict[str, Tensor] = {}
    hooks = []
    for name, layer in model.named_modules():
        if isinstance(layer, MultiHeadAttention) and name.endswith(last):
            hooks.append(layer.register_forward_pre_hook(_ask, with_kwargs=True))
            hooks.append(layer.register_forward_hook(_keep(found, name)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _ask(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args, kwargs | {"need": "weights"}


def _keep(found: dict[str, Tensor], name: str) -> Any:
    def keep(layer: nn.Module, args: tuple[Any, ...], attended: Any) -> None:
        found[name] = attended.weights

    return keep
