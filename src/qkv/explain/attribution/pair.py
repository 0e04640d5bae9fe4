"""A pair of sentences as a question: log p of each token of the target, by the source's tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qkv.explain.attribution.question import Features, Mixing, Question, Rows
from qkv.explain.heads import Heads, every_head
from qkv.models.model import EncoderDecoder
from qkv.text import BOS, EOS, PAD


def ask(model: EncoderDecoder, source: Sequence[int], target: Sequence[int]) -> Question:
    """Return the question how log p of each target token hangs on each source token.

    Both sides end with the end symbol: the last output is its score, the last token the source's.
    The baseline of each token is the embedding of a pad, which training leaves at zero. A
    position that a model adds to an embedding stays.

    Args:
        model: in eval mode.
        source, target: ids, without begin and end symbols.
    """
    device = next(model.parameters()).device
    ids = torch.tensor([[*source, EOS]], device=device)
    read = torch.tensor([[BOS, *target]], device=device)
    written = torch.tensor([*target, EOS], device=device)
    table = model.get_submodule(model.source_table)
    with torch.no_grad():
        embedded, pad = table(ids)[0], table(torch.tensor(PAD, device=device))

    def features(rows: Rows) -> Features:
        sources = ids.repeat(len(rows), 1)
        lengths = torch.full((len(rows),), ids.shape[1], device=device)
        with embedding(table, sources, rows), torch.backends.cudnn.flags(enabled=False):
            return model.force(sources, lengths, read.expand(len(rows), -1)).features

    def score(features: Tensor, outputs: Tensor) -> Tensor:
        logits = model.output(features)
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return wide.log_softmax(-1).gather(-1, written[outputs].unsqueeze(-1)).squeeze(-1)

    def mixing() -> Mixing:
        return mixing_of(every_head(model, source, target))

    return Question(embedded, pad.expand_as(embedded), features, score, mixing)


@contextmanager
def embedding(table: nn.Module, ids: Tensor, rows: Rows) -> Iterator[None]:
    """Let these rows stand for the embeddings of these very ids (the target may share the table).

    cuDNN's recurrences have no way back in eval mode, so that a caller switches them off.
    """
    asked = 0

    def replace(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        nonlocal asked
        if args[0] is not ids:
            return None
        asked += 1
        return rows

    hook = table.register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()
    assert asked == 1, f"the source was embedded {asked} times"


def mixing_of(attentions: Mapping[str, Heads]) -> Mixing:
    """Return the attentions of a model (see `every_head`) as layers over source and target.

    A self-attention gives half of itself to the residual connection, and so does a decoder's
    attention to the source; the tokens of the other side stay as they are. A model with one
    attention has no residual: its layer is that attention.
    """
    sources = next(w.shape[2] for name, w in attentions.items() if _across(name))
    targets = next(w.shape[1] for name, w in attentions.items() if _across(name))
    first, second = slice(sources), slice(sources, sources + targets)
    layers = []
    for name, heads in attentions.items():
        mean = heads.mean(0)
        kept = 0.0 if name == "attention" else 0.5
        rows = first if name.startswith("encoder") else second
        columns = second if name.endswith("self_attention") else first
        layers.append(_placed(mean, sources + targets, rows, columns, kept))
    return Mixing(tuple(layers), sources)


def _across(name: str) -> bool:
    """Whether an attention is one of the target to the source."""
    return name == "attention" or name.endswith("cross_attention")


def _placed(
    weights: Float[Tensor, "queries keys"], count: int, rows: slice, columns: slice, kept: float
) -> Float[Tensor, "n n"]:
    """Return the identity, but these rows: some of it kept, the rest mixed by the weights."""
    layer = torch.eye(count, dtype=weights.dtype)
    layer[rows] *= kept
    layer[rows, columns] += (1 - kept) * weights
    return layer
