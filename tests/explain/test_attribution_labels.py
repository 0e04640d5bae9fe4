"""A model of labels, in three steps, is asked by every method as well."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from model_cases import slack, stir
from torch import Tensor, nn
from torch.testing import assert_close

from qkv.attention.registry import find
from qkv.config import HierarchicalConfig
from qkv.explain.attribution import METHODS
from qkv.explain.attribution.label import ask_label
from qkv.explain.heads import watched
from qkv.models.build import build_model
from qkv.models.labeller import Labeller
from qkv.nn import MultiHeadAttention
from qkv.text import PAD, SPECIALS

TOKENS, LABELS, DIM, WIDTH = [5, 9, 4, 7], 3, 6, 8


class Decided(NamedTuple):
    logits: Tensor
    attention: Tensor
    levels: None = None


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

    def silence(self, tokens: Tensor) -> Tensor:
        return self.table(torch.full_like(tokens, PAD))

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


SENTENCES = [[5, 9, 2], [4, 7, 6, 3]]  # of ids; 2 and 3 end a sentence
TWO = [id for words in SENTENCES for id in words]


def network(encoder: str) -> Labeller:
    """A hierarchical network with noise for parameters."""
    torch.manual_seed(1)
    config = HierarchicalConfig(encoder=encoder, embedding=DIM, hidden=WIDTH, dropout=0.0)
    model = build_model(config, 11, LABELS + len(SPECIALS)).double().eval()
    model.learn_symbols([".!"[id == 3] if id in (2, 3) else f"w{id}" for id in range(11)])
    stir(model)
    assert isinstance(model, Labeller)
    return model


@pytest.mark.parametrize("encoder", ["gru", "transformer"])
def test_of_two_levels_gradients_and_leaving_one_out_are_those_of_the_model(encoder):
    model, ids = network(encoder), TWO
    asked, lengths = ask_label(model, ids, [1]), torch.tensor([7])
    embedded = model.embed(torch.tensor([ids])).detach()

    def score(rows: Tensor) -> Tensor:
        return model.decide(model.annotate(rows, lengths), lengths).logits.log_softmax(-1)[0, 1]

    rows = embedded.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(score(rows), rows)
    assert_close(find("method", "gradient", METHODS)(asked).values[0], slopes[0].norm(dim=-1))
    found = find("method", "leave-one-out", METHODS)(asked).values[0]
    for j in range(7):
        without = embedded.clone()
        without[0, j, :-1] = model.embedding(torch.tensor(PAD)).detach()
        # the sentence ends where it ended, also when its mark is silenced
        assert_close(found[j], (score(embedded) - score(without)).detach(), **slack())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("encoder", ["lstm", "transformer"])
def test_every_method_answers_for_two_levels(encoder, method):
    asked = ask_label(network(encoder), TWO, [1])
    found = find("method", method, METHODS)(asked).values
    assert found.shape == (1, 7) and found.isfinite().all()


def test_of_two_levels_rollout_is_the_product_of_their_weights_and_flow_the_narrower():
    model = network("gru")
    asked = ask_label(model, TWO, [1])
    decision = model(torch.tensor([TWO]), torch.tensor([7]))
    assert_close(find("method", "rollout", METHODS)(asked).values, decision.attention, **slack())
    alpha, beta = (
        decision.levels.words[0],
        decision.levels.sentences[0].repeat_interleave(torch.tensor([3, 4])),
    )
    # pipes are whole numbers of 2^-29
    narrower = torch.minimum(alpha, beta)[None]
    assert_close(
        find("method", "flow", METHODS)(asked).values, narrower, rtol=0, atol=2 * 2.0**-29
    )


def test_of_two_levels_rollout_goes_through_both_encoders():
    """The loop: each output's share goes down through sentences, their pooling, and words."""
    model, ids = network("transformer"), TWO
    with torch.no_grad(), watched(model) as heads:
        decision = model(torch.tensor([ids]), torch.tensor([7]))
    below, above = (next(w for n, w in heads.items() if n.startswith(k)) for k in ("enc", "sen"))
    share = decision.levels.sentences[0] @ (above[0].mean(0) + torch.eye(2).double()) / 2
    expected = []
    for row, words in enumerate(SENTENCES):
        size = len(words)
        start = row * len(SENTENCES[0])
        alpha = decision.levels.words[0, start : start + size]
        mixed = (below[row].mean(0)[:size, :size] + torch.eye(size).double()) / 2
        expected.append(share[row] * alpha @ mixed)
    found = find("method", "rollout", METHODS)(ask_label(model, ids, [1])).values
    assert_close(found, torch.cat(expected)[None], **slack())
