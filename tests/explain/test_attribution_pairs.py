"""Every kind of model as a question: gradients by its embeddings, attention as layers."""

from __future__ import annotations

import copy

import pytest
import torch
from model_cases import CONFIGS, Case, attention, built, slack, variant
from torch.testing import assert_close

from qkv.attention.registry import find
from qkv.config import AttentionConfig
from qkv.explain import every_head, gradient_by_distance
from qkv.explain.attribution import METHODS, integrated_gradients
from qkv.explain.attribution.pair import ask, embedding
from qkv.models.build import MODELS
from qkv.search.forced import force
from qkv.text import BOS, EOS, PAD

SOURCE, WRITTEN = [5, 6, 9, 12], [7, 8, 10]  # no token twice, none on both sides
CASES = [
    *(Case(kind, config) for kind, config in CONFIGS.items()),
    variant("rnnenc", cell="rnn", layers=2, bidirectional=False),
    variant("rnnenc", cell="lstm", layers=2, tie_embeddings=True),
    variant("luong", input_feeding=False, attention=attention(scope="local-p")),
    variant("rnnsearch", attention=attention(normalizer="sparsemax")),
    variant("rnnsearch", attention=attention(normalizer="hard")),
    variant("transformer", positions="learned", max_positions=23, shared=True),
    variant("transformer", norm="post", kv_heads=1),
    variant("transformer", encoder_attention=AttentionConfig(features="elu")),
    variant("hard", alignment="monotonic"),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
# A path through others has kinks (relu, sparsemax) and jumps (a window, a position read alone).
SMOOTH = [case for case in CASES[:9] if case.config.kind != "transformer"]
SMOOTH = [case for case in SMOOTH if "local" not in str(case)]
ATTENDING = [case for case in CASES if built(case).attends]


def answer(name, case, source=SOURCE, target=WRITTEN):
    return find("method", name, METHODS)(ask(built(case), source, target))


def log_probs(model, ids):
    """log p of each target token and of the end symbol, read off the model itself."""
    source = torch.tensor([ids])
    logits = model(source, torch.tensor([len(ids)]), torch.tensor([[BOS, *WRITTEN]]))
    return logits.log_softmax(-1)[0].gather(-1, torch.tensor([*WRITTEN, EOS])[:, None])[:, 0]


def test_every_kind_of_model_is_swept():
    assert {case.config.kind for case in CASES} == set(MODELS)


@every_case
def test_the_gradient_is_what_the_embedding_table_learns_from_each_token(case):
    model = copy.deepcopy(built(case))
    if case.shared:  # the table of the source alone
        model.source_embedding = copy.deepcopy(model.source_embedding)
    table = model.get_submodule(model.source_table)
    ids = [*SOURCE, EOS]
    scores = log_probs(model, ids)
    found = answer("gradient", case).values
    products = answer("gradient-input", case).values
    for i, score in enumerate(scores):
        (slopes,) = torch.autograd.grad(score, table.weight, retain_graph=True)
        assert_close(found[i], slopes[ids].norm(dim=-1), **slack())
        assert_close(products[i], (slopes * table.weight)[ids].sum(-1).detach(), **slack())


@every_case
def test_the_jacobian_is_that_of_torch(case):
    asked = ask(built(case), SOURCE, WRITTEN)
    whole = torch.autograd.functional.jacobian(
        lambda x: asked.features(x[None])[0], asked.embedded
    )
    expected = whole.square().sum((1, 3)).sqrt()
    assert_close(answer("jacobian", case).values, expected, **slack())


@every_case
def test_leaving_one_out_is_reading_a_pad_in_its_place(case):
    model, ids = built(case), [*SOURCE, EOS]
    found = answer("leave-one-out", case).values
    with torch.no_grad():
        whole = log_probs(model, ids)
        for j in range(len(ids)):
            without = log_probs(model, [*ids[:j], PAD, *ids[j + 1 :]])
            assert_close(found[:, j], whole - without, **slack())


@every_case
def test_integrated_gradients_add_up_but_for_their_gap(case):
    found = answer("integrated-gradients", case)
    model = built(case)
    with torch.no_grad():
        change = log_probs(model, [*SOURCE, EOS]) - log_probs(model, [PAD] * 5)
    assert_close(found.values.sum(1) - change, found.gap, **slack())
    if case in SMOOTH:
        missed = found.gap.abs() / change.abs().clamp(min=1)
        assert missed.max() < integrated_gradients.ENOUGH


@every_case
def test_scores_are_those_of_forced_decoding_in_a_batch_with_longer_sentences(case):
    model = built(case)
    sources, targets = [SOURCE, [4, 5, 6, 7, 8, 9, 10]], [WRITTEN, [4, 5, 6, 7, 11, 12]]
    asked = ask(model, SOURCE, WRITTEN)
    with torch.no_grad():
        found = asked.scores(asked.copies(3))
    expected = force(model, sources, targets)[0].log_probs
    # forced decoding keeps log-probabilities in float32
    for row in found:
        assert_close(row.float(), expected, **slack(torch.float32))


@every_case
def test_asking_leaves_the_model_as_it_was(case):
    model = built(case)
    answer("gradient", case)
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_table_of_both_sides_is_replaced_for_the_source_alone():
    table = torch.nn.Embedding(5, 2)
    ids, other = torch.tensor([[1, 2]]), torch.tensor([[1, 2]])
    rows = torch.ones(1, 2, 2)
    with embedding(table, ids, rows):
        assert torch.equal(table(ids), rows)
        assert torch.equal(table(other), table.weight[1:3][None])
    with pytest.raises(ZeroDivisionError), embedding(table, ids, rows):
        table(ids) / (1 // 0)
    assert not table._forward_hooks


@pytest.mark.parametrize("case", ATTENDING, ids=str)
@pytest.mark.parametrize("method", ["rollout", "flow"])
def test_rollout_and_flow_run_wherever_there_is_attention(case, method):
    values = answer(method, case).values
    assert values.shape == (4, 5) and (values >= 0).all()


@pytest.mark.parametrize("kind", ["rnnenc", "ntm"])
@pytest.mark.parametrize("method", ["rollout", "flow"])
def test_without_attention_there_is_none_to_roll_out(kind, method):
    with pytest.raises(ValueError, match="has no attention"):
        answer(method, Case(kind, CONFIGS[kind]))


def test_the_rollout_of_a_single_attention_is_that_attention():
    case = Case("rnnsearch", CONFIGS["rnnsearch"])
    expected = force(built(case), [SOURCE], [WRITTEN])[0].attention
    assert_close(answer("rollout", case).values, expected, **slack())
    assert_close(answer("flow", case).values, expected, rtol=0, atol=2.0**-29)


def test_the_rollout_of_a_transformer_is_the_recursion_over_its_layers():
    case = Case("transformer", CONFIGS["transformer"])
    heads = {
        name: weights.mean(0) for name, weights in every_head(built(case), SOURCE, WRITTEN).items()
    }
    encoded = torch.eye(5).double()
    for n in range(2):
        encoded = (heads[f"encoder.{n}.attention"] @ encoded + encoded) / 2
    decoded = torch.zeros(4, 5).double()
    for n in range(2):
        decoded = (heads[f"decoder.{n}.self_attention"] @ decoded + decoded) / 2
        decoded = (heads[f"decoder.{n}.cross_attention"] @ encoded + decoded) / 2
    found = answer("rollout", case).values
    assert_close(found, decoded, **slack())
    assert_close(found.sum(1), torch.full((4,), 0.75).double(), rtol=0, atol=0.25)


def test_a_flow_is_at_least_the_largest_path_and_at_most_all_that_leaves():
    case = Case("transformer", CONFIGS["transformer"])
    found, rolled = answer("flow", case).values, answer("rollout", case).values
    assert (found >= rolled / 5**4).all() and (found <= 1 + 2**-20).all()


def test_the_gradient_by_distance_is_the_mean_of_the_jacobians_over_equal_distances():
    model = built(Case("rnnenc", CONFIGS["rnnenc"]))
    pairs = [(SOURCE, WRITTEN), ([4, 5], [6])]
    expected = {k: [] for k in range(8)}
    for source, target in pairs:
        norms = find("method", "jacobian", METHODS)(ask(model, source, target)).values
        for i, row in enumerate(norms.tolist()):
            for j, norm in enumerate(row):
                expected[len(source) - j + i].append(norm)
    found = gradient_by_distance(model, *zip(*pairs, strict=True))
    means = torch.tensor([sum(one) / len(one) for one in expected.values()])
    assert_close(found, means, **slack(torch.float32))
    first = gradient_by_distance(model, *zip(*pairs[:1], strict=True), outputs=[0])
    norms = find("method", "jacobian", METHODS)(ask(model, *pairs[0])).values
    assert_close(first, norms[0].flip(0).float(), **slack(torch.float32))


def test_a_gradient_vanishes_with_distance_where_nothing_skips():
    """tanh with small recurrent weights contracts; attention goes past it."""
    case = variant("rnnenc", cell="rnn", bidirectional=False)
    plain = copy.deepcopy(built(case))
    for layer in plain.encoder.layers:
        torch.nn.init.orthogonal_(layer[0].weight_hh_l0, gain=0.5)
    source = [4 + n % 12 for n in range(20)]
    reach = gradient_by_distance(plain, [source], [[5]], outputs=[0])
    assert reach[20] < 0.5**15 * reach[0]
    attending = built(Case("rnnsearch", CONFIGS["rnnsearch"]))
    reach = gradient_by_distance(attending, [source], [[5]], outputs=[0])
    assert reach[20] > 1e-3 * reach.max()


@pytest.mark.parametrize(("sources", "targets"), [([], []), ([[5]], [])])
def test_pairs_that_do_not_pair_are_refused(sources, targets):
    with pytest.raises(ValueError, match=f"{len(sources)} sources and 0 targets"):
        gradient_by_distance(built(CASES[0]), sources, targets)
