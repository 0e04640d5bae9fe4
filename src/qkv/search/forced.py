"""Forced decoding: what a model says of targets that are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qkv.data import Examples, collate, sorted_batches
from qkv.models.model import EncoderDecoder


@dataclass(frozen=True)
class ForcedTarget:
    """A given target under a model.

    log_probs: log p of each target token and of the end symbol, [tokens + 1].
    attention: the row of each, a column a source token and one for the source's end symbol,
        [tokens + 1, source tokens + 1]; None for a model without attention.
    """

    log_probs: Tensor
    attention: Tensor | None

    @property
    def log_prob(self) -> float:
        """log p(target, end symbol | source)."""
        return float(self.log_probs.double().sum())


def force(
    model: EncoderDecoder,
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    *,
    tokens_per_batch: int = 4096,
) -> list[ForcedTarget]:
    """Return what the model says of each target, in the order given.

    Args:
        model: the model.
        sources: ids without the end symbol.
        targets: ids without begin and end symbols, one for each source.
        tokens_per_batch: padded tokens of a batch, at most.

    Raises:
        ValueError: there are more of one than of the other.
    """
    if len(sources) != len(targets):
        raise ValueError(f"{len(sources)} sources, but {len(targets)} targets; give one for each")
    if not sources:
        return []
    examples = Examples.of(sources, targets)
    device = next(model.parameters()).device
    found: dict[int, ForcedTarget] = {}
    model.eval()
    with torch.inference_mode():
        for rows in sorted_batches(examples.lengths, tokens_per_batch):
            batch = collate(examples, rows).to(device)
            forced = model.force(
                batch.source, batch.source_lengths, batch.target_in, need_attention=model.attends
            )
            log_probs = model.output(forced.features).float().log_softmax(-1)
            chosen = log_probs.gather(-1, batch.target_out.unsqueeze(-1)).squeeze(-1).cpu()
            weights = None if forced.attention is None else forced.attention.cpu()
            for index, row in enumerate(rows):
                height, width = int(batch.target_lengths[index]), int(batch.source_lengths[index])
                found[row] = ForcedTarget(
                    chosen[index, :height],
                    None if weights is None else weights[index, :height, :width],
                )
    return [found[index] for index in range(len(sources))]
