"""Models of labels: what holds whatever encoder, score and normaliser they have."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from qkv.attention.normalizers import NORMALIZERS
from qkv.attention.scores import SCORES
from qkv.config import AttentionConfig, ClassifierConfig, HierarchicalConfig, TaggerConfig
from qkv.config.labellers import ENCODERS
from qkv.models.build import LABELLERS, build_model
from qkv.models.hierarchical import Hierarchical, cut_sentences
from qkv.models.labeller import Labeller, without_end
from qkv.text import EOS, PAD

SOURCE, LABELS, MARKS = 19, 3, (5, 11)
SIZES = {"embedding": 5, "hidden": 12, "dropout": 0.0}
KINDS = {
    "classifier": ClassifierConfig,
    "hierarchical": HierarchicalConfig,
    "tagger": TaggerConfig,
}
EXACT = {"rtol": 0.0, "atol": 0.0}
# A number passes through at most 32 layers and steps; each sums at most 64 terms below 8, and each
# term adds an error of at most eps of the sum.
SLACK = {"rtol": 0.0, "atol": 32 * 64 * 8 * torch.finfo(torch.float64).eps}

every_kind = pytest.mark.parametrize("kind", KINDS)
every_encoder = pytest.mark.parametrize("encoder", ENCODERS)


def stirred(kind: str, encoder: str = "lstm", **attention: object) -> Labeller:
    """A model with noise on all parameters, in eval mode: attention is uneven."""
    config = KINDS[kind](encoder=encoder, attention=AttentionConfig(**attention), **SIZES)
    torch.manual_seed(1)
    model = build_model(config, SOURCE, LABELS + 4).double().eval()
    model.learn_symbols([f"mark{i}" if i not in MARKS else ".!"[i == 11] for i in range(SOURCE)])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    assert isinstance(model, Labeller)
    return model


def texts(sizes: list[int], seed: int = 2) -> tuple[Tensor, Tensor]:
    """Random texts of these lengths, padded."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.full((len(sizes), max(sizes)), PAD)
    for row, size in zip(tokens, sizes, strict=True):
        row[:size] = torch.randint(4, SOURCE, (size,), generator=generator)
    return tokens, torch.tensor(sizes)


def alone(model: Labeller, tokens: Tensor, lengths: Tensor, row: int) -> tuple[Tensor, Tensor]:
    """Logits and attention of one text of a batch, asked by itself."""
    size = int(lengths[row])
    found = model(tokens[row : row + 1, :size], lengths[row : row + 1])
    return found.logits[0], found.attention[0]


def real_part(found: Tensor, row: int, size: int, model: Labeller) -> Tensor:
    """What a batch says of one text, without pads."""
    words = (slice(size),) * (found.dim() - 1)
    return found[row][words]


def test_every_kind_of_labeller_is_swept():
    assert KINDS.keys() == LABELLERS.keys()


@every_kind
@every_encoder
def test_neither_pads_nor_other_texts_nor_their_order_change_a_decision(kind, encoder):
    model, dice = stirred(kind, encoder), random.Random(3)
    sizes = [dice.randint(1, 9) for _ in range(17)]
    tokens, lengths = texts(sizes)
    order = dice.sample(range(17), 17)
    wide = nn.functional.pad(tokens, (0, 3), value=PAD)
    for batch in (wide, torch.where(wide == PAD, EOS, wide)):  # nor does what stands in a pad
        found = model(batch[order], lengths[order])
        for place, row in enumerate(order):
            size = sizes[row]
            logits, attention = alone(model, tokens, lengths, row)
            words = (slice(size),) * (found.logits.dim() - 2)
            assert_close(found.logits[place][words], logits, **SLACK)
            assert_close(real_part(found.attention, place, size, model), attention, **SLACK)
            assert not found.attention[place][..., size:].any()


@every_kind
@pytest.mark.parametrize("score", SCORES)
def test_any_score_gives_weights_that_sum_to_1_and_a_gradient_for_every_parameter(kind, score):
    """Exceptions: location does not look at the keys, and a dot product is blind to what moves
    all energies of a query alike."""
    model = stirred(kind, score=score)
    tokens, lengths = texts([5, 2, 7])
    decision = model(tokens, lengths)
    sums = decision.attention.sum(-1)
    there = sums[sums != 0]
    assert len(there) == (14 if kind == "tagger" else 3)
    assert_close(there, torch.ones_like(there), **SLACK)
    rows = model.rows(decision, lengths)
    assert rows.shape == (len(there), LABELS)
    nn.functional.cross_entropy(rows, torch.arange(len(rows)) % LABELS).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@every_kind
@pytest.mark.parametrize("normalizer", [name for name in NORMALIZERS if name != "hard"])
def test_any_normalizer_but_one_that_draws_is_a_word_in_the_config(kind, normalizer):
    decision = stirred(kind, normalizer=normalizer)(*texts([5, 2, 7]))
    assert decision.logits.isfinite().all()
    assert ((decision.attention >= 0) & (decision.attention <= 1)).all()


@every_kind
@every_encoder
@pytest.mark.parametrize("score", ["additive", "scaled_dot"])
def test_a_models_own_weights_given_back_give_its_own_decision(kind, encoder, score):
    model = stirred(kind, encoder, score=score)
    tokens, lengths = texts([5, 1, 7])
    annotations = model.annotate(model.embed(tokens), lengths)
    own = model(tokens, lengths)
    assert_close(model.decide(annotations, lengths), own, **EXACT)
    # products of two levels are taken apart again: a rounding more each way
    slack = SLACK if kind == "hierarchical" else EXACT
    assert_close(model.decide(annotations, lengths, own.attention), own, **slack)


@every_kind
def test_a_decision_is_differentiable_in_annotations_and_in_given_weights(kind):
    model = stirred(kind)
    tokens, lengths = texts([4, 1, 3])
    annotations = model.annotate(model.embed(tokens), lengths).detach().requires_grad_()
    weights = model(tokens, lengths).attention.detach().requires_grad_()
    for given in (lambda h, w: model.decide(h, lengths, w), lambda h, _: model.decide(h, lengths)):
        assert torch.autograd.gradcheck(
            lambda h, w, given=given: given(h, w).logits, (annotations, weights)
        )
    model.decide(annotations, lengths, weights).logits.sum().backward()
    assert weights.grad.any() and not weights.grad[1, ..., 1:].any()


def test_what_is_given_for_a_pad_counts_for_nothing():
    model = stirred("classifier")
    tokens, lengths = texts([4, 2])
    annotations = model.annotate(model.embed(tokens), lengths)
    weights = torch.rand(2, 4).double()
    junk = weights.clone()
    junk[1, 2:] = float("nan")
    expected = model.decide(annotations, lengths, weights)
    assert_close(model.decide(annotations, lengths, junk), expected, **EXACT)


def test_the_classifier_equals_its_equations_written_as_loops():
    model = stirred("classifier", "projection")
    tokens, lengths = texts([4, 2])
    found = model(tokens, lengths)
    score, query = model.pooling.attention.score, model.pooling.query
    project, output = model.encoder.project, model.output
    for row, size in enumerate(lengths.tolist()):
        words = [model.embedding.weight[token] for token in tokens[row, :size]]
        h = [torch.tanh(project.weight @ word + project.bias) for word in words]
        asked = score.project_query.weight @ query
        e = torch.stack([score.v @ torch.tanh(asked + score.project_key.weight @ v) for v in h])
        alpha = e.exp() / e.exp().sum()
        context = sum(weight * v for weight, v in zip(alpha, h, strict=True))
        assert_close(found.attention[row, :size], alpha, **SLACK)
        assert_close(found.logits[row], output.weight @ context + output.bias, **SLACK)


def test_the_tagger_equals_its_equations_written_as_loops():
    model = stirred("tagger", "projection", score="scaled_dot")
    tokens, lengths = texts([4, 2])
    found = model(tokens, lengths)
    h = model.annotate(model.embed(tokens), lengths)
    for row, size in enumerate(lengths.tolist()):
        for i in range(size):
            e = torch.stack([h[row, i] @ h[row, j] / 12**0.5 for j in range(size)])
            alpha = e.exp() / e.exp().sum()
            context = sum(alpha[j] * h[row, j] for j in range(size))
            logits = model.output.weight @ torch.cat([h[row, i], context]) + model.output.bias
            assert_close(found.attention[row, i, :size], alpha, **SLACK)
            assert_close(found.logits[row, i], logits, **SLACK)


def test_sentences_are_cut_after_runs_of_their_ends():
    """The loop: a sentence goes on until after a mark that no mark follows."""
    ends = torch.zeros(SOURCE, dtype=torch.bool)
    ends[list(MARKS)] = True
    dice = random.Random(4)
    sizes = [dice.randint(1, 12) for _ in range(50)]
    tokens, lengths = texts(sizes)
    tokens = torch.where((torch.rand(tokens.shape) < 0.4) & (tokens != PAD), 5, tokens)
    cut = cut_sentences(ends[tokens], lengths)
    apart = cut.apart(tokens)
    assert_close(cut.together(apart), tokens)
    for row, size in enumerate(sizes):
        expected: list[list[int]] = [[]]
        for place, token in enumerate(tokens[row, :size].tolist()):
            before = tokens[row, place - 1].item() if place else -1
            if before in MARKS and token not in MARKS:
                expected.append([])
            assert cut.row[row, place] == cut.rows[row, len(expected) - 1]
            assert cut.place[row, place] == len(expected[-1])
            expected[-1].append(token)
        assert cut.counts[row] == len(expected)
        for number, words in enumerate(expected):
            line = int(cut.rows[row, number])
            assert cut.lengths[line] == len(words)
            assert apart[line].tolist() == words + [PAD] * (apart.shape[1] - len(words))


def test_a_words_attention_is_its_share_of_its_sentence_times_that_of_the_sentence():
    model = stirred("hierarchical", "gru")
    tokens, lengths = torch.tensor([[6, 5, 7, 8, 11, 9]]), torch.tensor([6])
    levels = model(tokens, lengths).levels
    vectors = []
    for words in ([6, 5], [7, 8, 11], [9]):
        ids, size = torch.tensor([words]), torch.tensor([len(words)])
        h = model.annotate(model.embed(ids), size)[..., :-1]
        alpha = model.word_pooling(h, size)
        vectors.append((alpha @ h[0]).squeeze(0))
        place = {2: slice(0, 2), 3: slice(2, 5), 1: slice(5, 6)}[len(words)]
        assert_close(levels.words[0, place], alpha[0], **SLACK)
    three = torch.tensor([3])
    sentences = model.sentence_encoder(torch.stack(vectors).unsqueeze(0), three)
    beta = model.sentence_pooling(sentences, three)
    assert_close(levels.sentences, beta, **SLACK)
    shares = levels.words * beta[0, torch.tensor([0, 0, 1, 1, 1, 2])]
    assert_close(model(tokens, lengths).attention, shares, **SLACK)


def test_given_weights_are_read_as_products_and_a_sentence_without_any_evenly():
    model = stirred("hierarchical", "gru")
    tokens, lengths = torch.tensor([[6, 5, 7, 8, 11, 9]]), torch.tensor([6])
    annotations = model.annotate(model.embed(tokens), lengths)
    given = torch.tensor([[0.1, 0.3, 0, 0, 0, 0.6]], dtype=torch.float64)
    found = model.decide(annotations, lengths, given)
    assert_close(found.attention, given, **SLACK)
    assert_close(
        found.levels.sentences, torch.tensor([[0.4, 0, 0.6]], dtype=torch.float64), **SLACK
    )
    within = torch.tensor([[0.25, 0.75, 1 / 3, 1 / 3, 1 / 3, 1]], dtype=torch.float64)
    assert_close(found.levels.words, within, **SLACK)


def test_no_gradient_reaches_the_mark_of_a_sentences_end_and_silence_keeps_it():
    model = stirred("hierarchical", "gru")
    tokens, lengths = texts([5, 2, 7])
    embedded = model.embed(tokens).detach().requires_grad_()
    model.decide(model.annotate(embedded, lengths), lengths).logits.sum().backward()
    assert not embedded.grad[..., -1].any() and embedded.grad[..., :-1].any()
    silent = model.silence(tokens)
    assert_close(silent[..., -1], embedded[..., -1], **EXACT)
    pad = model.embedding(torch.tensor(PAD)).expand_as(silent[..., :-1])
    assert_close(silent[..., :-1], pad, **EXACT)


def test_a_vocabulary_without_any_end_of_a_sentence_is_refused():
    model = build_model(HierarchicalConfig(**SIZES), SOURCE, LABELS + 4)
    assert isinstance(model, Hierarchical)
    with pytest.raises(ValueError, match=r"sentence_ends = .* none of these tokens"):
        model.learn_symbols(["a", "b"])


@pytest.mark.parametrize("kind", ["classifier", "hierarchical"])
def test_all_of_a_pooling_learns_from_the_first_update(kind):
    model = build_model(KINDS[kind](attention=AttentionConfig(), **SIZES), SOURCE, LABELS + 4)
    torch.logsumexp(model(*texts([4, 4])).logits, -1).sum().backward()
    named = model.named_parameters()  # of one sentence there is nothing to choose among sentences
    pooling = [pair for pair in named if "pooling" in pair[0] and "sentence" not in pair[0]]
    assert len(pooling) == 4  # the query, W, U and v
    assert not [name for name, one in pooling if not one.grad.any()]


def test_the_end_symbol_of_a_batch_is_not_read():
    tokens, lengths = texts([4, 2])
    ended = torch.full((2, 5), PAD)
    ended[:, :4] = tokens
    ended[0, 4] = ended[1, 2] = EOS
    model = stirred("classifier")
    read = without_end(ended, lengths + 1)
    assert_close(model(*read), model(tokens, lengths), **SLACK)
