"""qkv inside Hugging Face transformers: attn_implementation="qkv".

    qkv.hf.register()
    model = AutoModel.from_config(config, attn_implementation="qkv")
    model(**inputs, output_attentions=True).attentions

Every attention of the model then runs through `qkv.attend`: fused while nobody asks for weights,
and with its true weights when somebody does, which transformers' "sdpa" cannot return. Two
functions go by the name: the attention, and what draws its mask, without which transformers would
drop padding and sliding windows in silence.

Differs from their "eager": a query that may attend to nothing (the pads of left padding) gets
zeros, not a mean of all values; returned weights are those before dropout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from qkv.attention import Attention, Mask, attend

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from qkv.attention import Attended
    from qkv.attention.work import Need

_RESERVED = ("eager", "sdpa", "flash", "flex", "paged", "/", "|", ":")  # theirs, or parsed by them
_REFUSED = {
    "softcap": "caps its energies (softcap)",
    "s_aux": "adds sinks to the normaliser (s_aux)",
    "sinks": "adds sinks to the normaliser (sinks)",
    "block_indices": "picks its keys by block_indices",
    "cache": "keeps its keys in pages (continuous batching)",
}


def register(name: str = "qkv") -> None:
    """Make `attn_implementation=name` mean qkv, in every transformers model; again is harmless.

    Raises:
        ValueError: transformers is not installed; a name that transformers reads in its own way
            ("eager", and any with sdpa, flash, flex or paged in it), or that another function has.
    """
    try:
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask
    except ImportError:
        raise ValueError("qkv.hf needs the package transformers: pip install 'qkv[hf]'") from None
    if not name or any(part in name for part in _RESERVED):
        raise ValueError(
            f"transformers reads the name {name!r} in its own way; a name without "
            f"{', '.join(_RESERVED)} will do, such as 'qkv'"
        )
    known = AttentionInterface()
    if name in known and known[name] is not attention:
        raise ValueError(
            f"transformers already has another attention named {name!r}: choose another name"
        )
    AttentionInterface.register(name, attention)
    # Boolean, True = may attend; None where `is_causal` says it all: attention() reads both.
    AttentionMaskInterface.register(name, sdpa_mask)


def attention(  # noqa: PLR0913 - transformers calls it so
    module: nn.Module,
    query: Float[Tensor, "batch heads queries dim"],
    key: Float[Tensor, "batch kv_heads keys dim"],
    value: Float[Tensor, "batch kv_heads keys value_dim"],
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Float[Tensor, "#batch #heads queries keys"] | None = None,
    **further: Any,  # models hand on whatever they were called with
) -> tuple[
    Float[Tensor, "batch queries heads value_dim"],
    Float[Tensor, "batch heads queries keys"] | None,
]:
    """What transformers calls in each layer: the context, time first, and the weights if asked.

    attention_mask: boolean (True = may attend), or numbers to add, of which those near the lowest
        of their dtype forbid. None: all may meet, or what is before them if the layer is causal.
    scaling: of the dot products; None for 1 / sqrt(dim).

    Raises:
        ValueError: a layer that does more than the equation (capped energies, sinks, chosen
            keys, paged caches), or a mask that can be read two ways.
    """
    _refuse_more(module, further)
    keep, bias = _keep_and_bias(attention_mask, query)
    if position_bias is not None:
        bias = position_bias if bias is None else bias + position_bias
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    causal = attention_mask is None and causal and query.shape[2] > 1
    if scaling not in (None, query.shape[-1] ** -0.5):
        query, score = query * scaling, "dot"
    else:
        score = "scaled_dot"
    heads, kv_heads = query.shape[1], key.shape[1]
    grouped = heads != kv_heads and heads % kv_heads == 0
    batch = max(query.shape[0], key.shape[0])
    if grouped:
        query, key, value = (_in_groups(t, batch, kv_heads) for t in (query, key, value))
        keep = None if keep is None else _in_groups(keep, batch, kv_heads)
        bias = None if bias is None else _in_groups(bias, batch, kv_heads)
    mask = Mask.causal() if causal else None if keep is None else Mask.keep(keep)
    need: Need = "weights" if _asked_for_weights(further.get("output_attentions")) else "context"
    out = _attended(query, key, value, score, mask, bias, need, dropout * module.training)
    context, weights = out.context, out.weights
    if grouped:
        context = context.reshape(batch, heads, *context.shape[2:])
        weights = None if weights is None else weights.reshape(batch, heads, *weights.shape[2:])
    return context.transpose(1, 2).contiguous(), weights


def _refuse_more(module: nn.Module, further: dict[str, Any]) -> None:
    """Refuse what would change the result and is no part of the equation."""
    found = [name for name in _REFUSED if further.get(name) is not None]
    if getattr(module, "sinks", None) is not None:
        found.append("sinks")
    if found:
        raise ValueError(
            f"{type(module).__name__} {_REFUSED[found[0]]}, which attn_implementation='qkv' does "
            "not do: use attn_implementation='eager' for this model"
        )


def _keep_and_bias(given: Tensor | None, query: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Tell what a mask forbids from what it adds."""
    if given is None:
        return None, None
    if given.dim() != query.dim() or not (given.dtype == torch.bool or given.is_floating_point()):
        raise ValueError(
            "attention_mask is [batch, heads or 1, queries, keys], boolean (True = may attend) or "
            f"numbers to add to the energies; got {given.dtype} {list(given.shape)}"
        )
    if given.dtype == torch.bool:
        return given, None
    # "Forbidden" is the lowest number, or -inf; a bias added to it moves it by far less than half.
    forbidden = given <= torch.finfo(given.dtype).min / 2
    added = given.masked_fill(forbidden, 0)
    return ~forbidden, added if given.requires_grad or bool(added.any()) else None


def _in_groups(tensor: Tensor, batch: int, kv_heads: int) -> Tensor:
    """[batch or 1, heads or 1, ...] -> [batch * kv_heads, heads per kv_head or 1, ...].

    So the one head of keys is broadcast to its group of queries, and never repeated in memory.
    """
    heads = kv_heads if tensor.shape[1] == 1 else -1
    return tensor.expand(batch, heads, -1, -1).unflatten(1, (kv_heads, -1)).flatten(0, 1)


def _asked_for_weights(said: bool | None) -> bool:
    """Whether this call's weights are wanted.

    transformers collects them with hooks, under a collector that says what is collected; some
    models hand `output_attentions` on. Where neither speaks (a layer called by itself, a model
    that keeps its own books) weights are returned: slower, but never missing.
    """
    collector = _collector()
    if collector is None:
        return said is None or said
    return bool(said) or any("attentions" in key for key in collector)


def _collector() -> dict[str, list] | None:
    """What the model that is running collects: {} for nothing, None for unknown."""
    try:
        from transformers.utils.output_capturing import _active_collector
    except ImportError:  # it is private, and may move
        return None
    found: dict[str, list] | None = _active_collector.get()
    return found


def _attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score: str,
    mask: Mask | None,
    bias: Tensor | None,
    need: Need,
    dropout: float,
) -> Attended:
    """attend(), or the same as a module while weights are dropped."""
    if not dropout:
        return attend(query, key, value, score=score, mask=mask, bias=bias, need=need)
    layer = Attention(score=score, bias=bias, dropout=dropout)
    return layer(query, key, value, mask=mask, need=need)
