"""Search of many sentences: sort, batch, search, restore the order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from qkv.config import SearchConfig
from qkv.models.decoder import Decoder
from qkv.search.hypothesis import Hypothesis
from qkv.search.routine import search
from qkv.text import EOS, PAD


def search_all(
    decoder: Decoder,
    ids: Sequence[Sequence[int]],
    config: SearchConfig,
    n_best: int = 1,
    *,
    tokens_per_batch: int = 4096,
    longest: int | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> list[list[Hypothesis]]:
    """Return what `search` finds for each source, in the order given.

    The longest sentences go first: what does not fit in memory fails at once, and a progress
    report errs on the late side.

    Args:
        ids: each source's ids, EOS last; a source of EOS alone is the empty sentence.
        tokens_per_batch: most padded source tokens in a batch; a longer sentence goes alone.
        longest: of any output, EOS counted; see `search`.
        progress: called after each step with the number of sentences that are done with it; a
            long sentence takes many steps, so that it is often 0.

    Raises:
        ValueError: a source without its EOS, `tokens_per_batch` below 1, and as `search`.
    """
    if tokens_per_batch < 1:
        raise ValueError(f"tokens_per_batch = {tokens_per_batch}: it must be at least 1")
    for i, sentence in enumerate(ids):
        if len(sentence) == 0 or sentence[-1] != EOS:
            raise ValueError(
                f"source {i} does not end with EOS (id {EOS}): {list(sentence)[-5:]}; append it "
                "(the empty sentence is EOS alone)"
            )
    results: list[list[Hypothesis]] = [[] for _ in ids]
    for batch in _batches(ids, tokens_per_batch):
        lengths = torch.tensor([len(ids[i]) for i in batch], device=device)
        source = torch.full((len(batch), len(ids[batch[0]])), PAD, device=device)
        for row, i in enumerate(batch):
            source[row, : len(ids[i])] = torch.tensor(ids[i], device=device)
        found = search(
            decoder, source, lengths, config, n_best, longest=longest, progress=progress
        )
        for i, hypotheses in zip(batch, found, strict=True):
            results[i] = hypotheses
    return results


def _batches(ids: Sequence[Sequence[int]], tokens_per_batch: int) -> Iterator[list[int]]:
    """Yield the positions of sentences of about one length, longest first."""
    batch: list[int] = []
    for i in sorted(range(len(ids)), key=lambda i: -len(ids[i])):
        if batch and (len(batch) + 1) * len(ids[batch[0]]) > tokens_per_batch:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
