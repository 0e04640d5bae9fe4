"""A model of labels, in three steps, is asked by every method as well."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from model_cases import slack, stir
from torch import Tensor, nn
from torch.testing import assert_close

from qkv.attention.registry import find
from qkv.explain.attribution import METHODS
from qkv.explain.attribution.label import ask_label
from qkv.nn import MultiHeadAttention
from qkv.text import PAD

TOKENS, LABELS, DIM, WIDTH = [5, 9, 4, 7], 3, 6, 8


class Decided(NamedTuple):
    logits: Tensor
    attention: Tensor


class Pooled(nn.Module):
    """Self-attention, and attention with a learned query; or, of each word, by the word."""

    def __init__(self, by_word: bool) -> None:
        super().__init__()
        self.by_word = by_word
        self.table = nn.Embedding(11, DIM, padding_idx=PAD)
        self.encoder = nn.ModuleDict({"attention": MultiHeadAttention(DIM, 2)})
        self.query = nn.Parameter(torch.zeros(DIM))
        self.output = nn.Linear(DIM, LABELS)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.table(tokens)

    def annotate(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        return embedded + self.encoder["attention"](embedded).context

    def decide(self, annotations: Tensor, lengths: Tensor) -> Decided:
        asked = annotations if self.by_word else self.query.expand(len(annotations), 1, -1)
        weights = (asked @ annotations.mT).softmax(-1)
        logits = self.output(weights @ annotations)
        return Decided(*(t if self.by_word else t.squeeze(1) for t in (logits, weights)))


def built(by_word: bool) -> Pooled:
    torch.manual_seed(1)
    model = Pooled(by_word).double().eval()
    stir(model)
    return model


CASES = pytest.mark.parametrize(
    ("by_word", "labels"), [(False, [2]), (True, [2, 0, 1, 1])], ids=["text", "words"]
)


def log_probs(model: Pooled, tokens: list[int], labels: list[int]) -> Tensor:
    lengths = torch.tensor([len(tokens)])
    logits = model.decide(model.annotate(model.embed(torch.tensor([tokens])), lengths), lengths)[0]
    return logits.log_softmax(-1).reshape(-1, LABELS)[range(len(labels)), labels]


@CASES
def test_gradients_and_leaving_one_out_are_those_of_the_model(by_word, labels):
    model = built(by_word)
    asked = ask_label(model, TOKENS, labels)
    scores = log_probs(model, TOKENS, labels)
    found = find("method", "gradient", METHODS)(asked).values
    assert found.shape == (len(labels), len(TOKENS))
    for row, score in zip(found, scores, strict=True):
        (slopes,) = torch.autograd.grad(score, model.table.weight, retain_graph=True)
        assert_close(row, slopes[TOKENS].norm(dim=-1), **slack())
    found = find("method", "leave-one-out", METHODS)(asked).values
    for j in range(len(TOKENS)):
        without = [*TOKENS[:j], PAD, *TOKENS[j + 1 :]]
        change = scores - log_probs(model, without, labels)
        assert_close(found[:, j], change.detach(), **slack())


@CASES
@pytest.mark.parametrize("method", METHODS)
def test_every_method_answers(by_word, labels, method):
    found = find("method", method, METHODS)(ask_label(built(by_word), TOKENS, labels)).values
    assert found.shape == (len(labels), len(TOKENS)) and found.isfinite().all()


@CASES
def test_rollout_goes_through_the_encoder_and_the_attention_that_decides(by_word, labels):
    model = built(by_word)
    asked = ask_label(model, TOKENS, labels)
    embedded, lengths = asked.embedded[None], torch.tensor([len(TOKENS)])
    with torch.no_grad():
        below = model.encoder["attention"](embedded, need="weights").weights[0].mean(0)
        above = model.decide(model.annotate(embedded, lengths), lengths).attention.view(-1, 4)
    expected = above @ (below + torch.eye(4).double()) / 2
    assert_close(find("method", "rollout", METHODS)(asked).values, expected, **slack())
