"""Many texts through a model of labels: sort, batch, decide, restore the order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from qkv.data import sorted_batches
from qkv.models.labeller import Decision, Labeller
from qkv.text import Encoded, Side
from qkv.text.given import check_texts


def read(side: Side, texts: Sequence[str], verb: str) -> list[Encoded]:
    """Encode texts.

    Raises:
        ValueError: one text instead of a list of them, or a text without a token.
    """
    check_texts(texts, verb)
    encoded = [side.encode(text) for text in texts]
    for place, one in enumerate(encoded):
        if not one.ids:
            raise ValueError(
                f"text {place} is empty ({one.text!r}): it has no word to attend to; leave it out"
            )
    return encoded


def decide_all(
    model: Labeller,
    texts: Sequence[Encoded],
    *,
    tokens_per_batch: int = 8192,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Return each text's log-probabilities and attention, without pads, on the CPU.

    Neither the other texts nor their order change any of them. The model is in eval mode.
    """
    if not texts:
        return []
    device = next(model.parameters()).device
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for rows in sorted_batches([len(one.ids) for one in texts], tokens_per_batch):
        tokens, lengths = model.read_texts([texts[i] for i in rows])
        with torch.inference_mode():
            decision: Decision = model(tokens.to(device), lengths.to(device))
            log_probs = decision.logits.float().log_softmax(-1).cpu()
            attention = decision.attention.float().cpu()
        for row, i in enumerate(rows):
            words = (slice(len(texts[i].ids)),)
            found[i] = (
                log_probs[row][words * (log_probs.dim() - 2)],
                attention[row][words * (attention.dim() - 1)],
            )
        if progress:
            progress(len(rows))
    return [found[i] for i in range(len(texts))]
