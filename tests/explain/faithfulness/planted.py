"""Two models whose attention is known to explain them, and known not to.

Words 4 and 5 say the class; the others point either way, at random. What differs is whether the
decision reads the words that the weights are on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from qkv.explain.faithfulness.subject import Subject

WORDS, CLASSES = 40, ("bad", "good")
FIRST = 4  # what stands before are pad, begin, end and unknown


class Decided(NamedTuple):
    logits: Tensor
    attention: Tensor


class Planted(nn.Module):
    """Words have a value, which says the class, and a salience, which the weights follow."""

    def __init__(self, keyword_salience: float) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(7)
        value = 0.95 + 0.1 * torch.rand(WORDS, generator=draws, dtype=torch.float64)
        value[::2] *= -1
        salience = torch.rand(WORDS, generator=draws, dtype=torch.float64)
        value[FIRST], value[FIRST + 1] = -2.0, 2.0
        if keyword_salience:
            salience[FIRST : FIRST + 2] = keyword_salience
        self.embedding = nn.Embedding.from_pretrained(torch.stack([value, salience], 1))

    def embed(self, tokens):
        return self.embedding(tokens)

    def decide(self, annotations, lengths, weights=None):
        real = torch.arange(annotations.shape[1]) < lengths[:, None]
        own = annotations[..., 1].masked_fill(~real, -torch.inf).softmax(-1)
        used = own if weights is None else weights.to(own)
        total = (used * annotations[..., 0]).sum(1)
        return Decided(torch.stack([-total / 2, total / 2], 1), used)


class Faithful(Planted):
    """The decision is the value of the word attended to; no word knows of another."""

    def __init__(self) -> None:
        super().__init__(keyword_salience=5.0)

    def annotate(self, embedded, lengths):
        return embedded


class Ignoring(Planted):
    """Every annotation carries what the keyword says: whatever the weights are, they pick it."""

    def __init__(self) -> None:
        super().__init__(keyword_salience=0.0)

    def annotate(self, embedded, lengths):
        real = (torch.arange(embedded.shape[1]) < lengths[:, None]).unsqueeze(-1)
        said = embedded[..., :1] * (embedded[..., :1].abs() > 1.5) + embedded[..., :1] / 100
        total = (said * real).sum(1, keepdim=True).expand_as(said)
        return torch.cat([total, embedded[..., 1:]], -1)


def planted(model: nn.Module, count: int = 40, seed: int = 1, end: bool = True) -> Subject:
    """Return a subject: each example is a few words, one of which says its class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    sequences = []
    for label in labels:
        words = random.choice(np.arange(FIRST + 2, WORDS), random.integers(4, 9), replace=False)
        words[random.integers(len(words))] = FIRST + label
        sequences.append([*words.tolist(), *([2] if end else [])])
    return Subject(model, sequences, labels, CLASSES, tokens_per_batch=997)
