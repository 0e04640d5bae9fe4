"""From text to text: encode, search, decode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qkv.config import SearchConfig
from qkv.models.decoder import Decoder
from qkv.models.model import EncoderDecoder
from qkv.search.batches import search_all
from qkv.text import EOS, Encoded, Side


@dataclass(frozen=True)
class Translation:
    """One output for a source.

    source: the source text with its tokens and their spans.
    target: the output text with its tokens and their spans.
    ids: the output's ids, without the end symbol.
    log_prob: log p(output, end symbol | source). score: with the length and coverage penalties.
    attention: a row a target token and one for the end symbol, a column a source token and one for
        its end symbol; None for a model without attention.
    complete: False if the limit on the length cut the output off.
    """

    source: Encoded
    target: Encoded
    ids: tuple[int, ...]
    log_prob: float
    score: float
    attention: Tensor | None
    complete: bool

    @property
    def text(self) -> str:
        """The output."""
        return self.target.text


def translate(
    model: EncoderDecoder,
    source: Side,
    target: Side,
    texts: Sequence[str],
    config: SearchConfig,
    *,
    n_best: int = 1,
    progress: Callable[[int], None] | None = None,
    decoder: Decoder | None = None,
) -> list[list[Translation]]:
    """Return, for each text, its n best outputs, best first.

    Neither the other texts nor their order change any of them. decoder: what `model.ready` gave
    before; None: it is asked now.
    """
    encoded = [source.encode(text) for text in texts]
    device = next(model.parameters()).device
    ids = [[*one.ids, EOS] for one in encoded]
    with torch.inference_mode():
        found = search_all(
            decoder or model.ready(config.precision),
            ids,
            config,
            n_best=n_best,
            longest=model.longest_target,
            device=device,
            progress=progress,
        )
    return [
        [
            Translation(
                source=one,
                target=target.describe(hypothesis.tokens),
                ids=hypothesis.tokens,
                log_prob=hypothesis.log_prob,
                score=hypothesis.score,
                attention=hypothesis.attention,
                complete=hypothesis.complete,
            )
            for hypothesis in hypotheses
        ]
        for one, hypotheses in zip(encoded, found, strict=True)
    ]
