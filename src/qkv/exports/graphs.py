"""The two graphs of a model: read a source, and read a token. All that they pass is tensors.

The first dimension of every tensor is the batch, so that a search reorders hypotheses by taking
rows of each; a hypothesis is a row, with its source's tensors beside its own.
"""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from qkv.attention import Mask
from qkv.attention.masks.visible import drawn
from qkv.attention.prepared import Prepared
from qkv.models.decoder import State
from qkv.models.hard import Hard, HardSource, HardState
from qkv.models.model import EncoderDecoder
from qkv.models.recurrent import RecurrentDecoder, RecurrentState
from qkv.models.transformer import Transformer, TransformerState
from qkv.nn import KeyValueCache


class Part(NamedTuple):
    """One tensor that the graphs pass, and what its dimensions count; "" for a fixed size."""

    tensor: Tensor
    axes: tuple[str, ...]


class EncoderGraph(nn.Module):
    """From sources to the parts of a state that holds one empty hypothesis each."""

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Tensor, ...]:
        """Return the parts, in the order of their names."""
        parts = apart(self.model.start(source, lengths))
        return tuple(part.tensor for part in parts.values())


class StepGraph(nn.Module):
    """From a token a hypothesis to what may follow it."""

    def __init__(self, model: EncoderDecoder, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(
        self,
        tokens: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        parts: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        """Return log p of each next token, the row of alignment (if any), and the new parts."""
        state = together(self.model, dict(zip(self.names, parts, strict=True)), lengths)
        found = self.model.step(tokens.unsqueeze(1), state)
        rows = () if found.attention is None else (found.attention.squeeze(1),)
        changed = changing(apart(found.state))
        return (found.log_probs.squeeze(1), *rows, *(part.tensor for part in changed.values()))


def changing(parts: dict[str, Part]) -> dict[str, Part]:
    """The parts that a step changes; the others are of the source."""
    return {name: part for name, part in parts.items() if name.startswith("state_")}


@singledispatch
def apart(state: State) -> dict[str, Part]:
    """Take a state apart: memory_* stays as it is from step to step, state_* changes."""
    raise TypeError(type(state).__name__)


@apart.register
def _(state: RecurrentState) -> dict[str, Part]:
    parts = {
        f"state_{i}": Part(hidden.squeeze(1), ("batch", ""))
        for i, hidden in enumerate(state.hidden)
    }
    if state.memory is None:
        return parts
    places = state.places(1).expand(state.hidden[0].shape[0])
    axes = ("batch", "source", "")
    return {
        "memory_key": Part(state.memory.key, axes),
        "memory_value": Part(state.memory.value, axes),
        **parts,
        "state_time": Part(places, ("batch",)),
    }


@apart.register
def _(state: TransformerState) -> dict[str, Part]:
    parts = {}
    # A graph keeps the rows of linear attention too: `together` gives it no sums to go on from.
    past = [getattr(cache, "rows", cache) for cache in state.past]
    for name, axis, caches in (
        ("memory", "source", state.sources),
        ("state", "time", past),
    ):
        for layer, (cache, like) in enumerate(zip(caches, state.sources, strict=True)):
            for kind in ("key", "value"):
                tensor, empty = getattr(cache, kind), getattr(like, kind)[:, :, :0]
                axes = ("batch", "", axis, "")
                parts[f"{name}_{kind}_{layer}"] = Part(empty if tensor is None else tensor, axes)
    return parts


@apart.register
def _(state: HardState) -> dict[str, Part]:
    return {
        "memory_key": Part(state.source.keys, ("batch", "source", "")),
        "memory_value": Part(state.source.read, ("batch", "source", "")),
        "state_hidden": Part(state.hidden.squeeze(1), ("batch", "", "")),
        "state_cells": Part(state.cells.squeeze(1), ("batch", "", "")),
        "state_joint": Part(state.joint.squeeze(1), ("batch", "source", "")),
    }


@singledispatch
def together(
    model: EncoderDecoder, parts: dict[str, Tensor], lengths: Int[Tensor, " batch"]
) -> State:
    """Undo `apart`, for one hypothesis a row."""
    raise TypeError(type(model).__name__)


@together.register
def _(model: RecurrentDecoder, parts: dict[str, Tensor], lengths: Tensor) -> RecurrentState:
    layers = sum(name.removeprefix("state_").isdecimal() for name in parts)
    hidden = tuple(parts[f"state_{i}"].unsqueeze(1) for i in range(layers))
    if "memory_key" not in parts:
        return RecurrentState(hidden, None)
    key, value, mask = parts["memory_key"], parts["memory_value"], Mask.lengths(lengths)
    seen = drawn(mask, 1, key.shape[1], 1, key.device)
    memory = Prepared(key, value, mask, seen)
    time: int = parts["state_time"][0]  # type: ignore[assignment] # a number in the graph
    return RecurrentState(hidden, memory, time)


@together.register
def _(model: Transformer, parts: dict[str, Tensor], lengths: Tensor) -> TransformerState:
    def caches(name: str) -> tuple[KeyValueCache, ...]:
        layers = range(len(model.decoder))
        return tuple(
            KeyValueCache(parts[f"{name}_key_{i}"], parts[f"{name}_value_{i}"]) for i in layers
        )

    return TransformerState(caches("state"), caches("memory"), Mask.lengths(lengths), 1)


@together.register
def _(model: Hard, parts: dict[str, Tensor], lengths: Tensor) -> HardState:
    keys = parts["memory_key"]
    real = torch.arange(keys.shape[1], device=keys.device) < lengths.unsqueeze(1)
    hidden, cells, joint = (
        parts[f"state_{name}"].unsqueeze(1) for name in ("hidden", "cells", "joint")
    )
    return HardState(hidden, cells, joint, HardSource(keys, parts["memory_value"], real))
