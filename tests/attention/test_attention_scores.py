"""Scores: each equals its equation written as loops, and refuses what it cannot compare."""

from __future__ import annotations

import itertools

import pytest
import torch
from attention_oracle import energies_by_loops, make_score, widths
from torch.testing import assert_close

import qkv
from qkv.attention.scores import SCORES, build
from qkv.attention.scores.score import Score

each_score = pytest.mark.parametrize("name", SCORES)


@each_score
@pytest.mark.parametrize(("T", "S", "dim", "hidden"), [(1, 1, 1, 1), (3, 5, 7, 13)])
def test_energies_equal_the_equation_written_as_loops(name, T, S, dim, hidden):
    torch.manual_seed(0)
    key_dim = dim if name in ("dot", "scaled_dot") else 11
    score = build(name, query_dim=dim, key_dim=key_dim, hidden=hidden).double()
    for parameter in score.parameters():
        torch.nn.init.normal_(parameter)
    query, key = torch.randn(1, 1, T, dim).double(), torch.randn(1, 1, S, key_dim).double()

    energies = score(query, score.prepare(key))

    expected, _ = energies_by_loops(name, score, query, key)
    assert_close(energies, torch.tensor(expected, dtype=torch.float64))


def test_additive_equals_bahdanaus_equation():
    """e_ij = v . tanh(W q_i + U k_j), by torch operations one pair at a time."""
    score = make_score("additive")
    W, U, v = score.project_query.weight, score.project_key.weight, score.v
    query, key = torch.randn(3, W.shape[1]).double(), torch.randn(5, U.shape[1]).double()
    energies = score(query, score.prepare(key))
    for i, j in itertools.product(range(3), range(5)):
        assert_close(energies[i, j], v @ torch.tanh(W @ query[i] + U @ key[j]))


def test_concat_equals_luongs_equation_with_the_vectors_laid_end_to_end():
    """e_ij = v . tanh(W [q_i ; k_j]): the query's columns of W come first."""
    score = make_score("concat")
    W, v = score.project.weight, score.v
    query_dim, key_dim = widths("concat")
    query, key = torch.randn(3, query_dim).double(), torch.randn(5, key_dim).double()
    energies = score(query, score.prepare(key))
    for i, j in itertools.product(range(3), range(5)):
        assert_close(energies[i, j], v @ torch.tanh(W @ torch.cat([query[i], key[j]])))


def test_concat_is_additive_with_its_matrices_side_by_side():
    additive, concat = make_score("additive"), make_score("concat")
    with torch.no_grad():
        both = [additive.project_query.weight, additive.project_key.weight]
        concat.project.weight.copy_(torch.cat(both, dim=1))
        concat.v.copy_(additive.v)
    query, key = (torch.randn(4, dim).double() for dim in widths("additive"))
    assert_close(concat(query, concat.prepare(key)), additive(query, additive.prepare(key)))


def test_additive_attention_is_uniform_before_training():
    """v = 0 at the start (Bahdanau et al., appendix B.1): every key gets the same weight."""
    score = qkv.scores.Additive(3, 5, 7)
    out = qkv.attend(torch.randn(2, 3), torch.randn(4, 5), score=score, need="weights")
    assert_close(out.weights, torch.full((2, 4), 0.25))


def test_additive_takes_the_bias_that_some_toolkits_carry():
    score = qkv.scores.Additive(3, 5, 7, bias=True)
    torch.nn.init.normal_(score.v)
    query, key = torch.randn(2, 3), torch.randn(4, 5)
    b = score.project_key.bias
    inside = score.project_query(query)[:, None] + (key @ score.project_key.weight.T)[None] + b
    assert_close(score(query, score.prepare(key)), inside.tanh() @ score.v)


@each_score
def test_preparing_keys_is_done_row_by_row(name):
    """A cache may prepare new keys alone, and beams may select prepared ones."""
    score = make_score(name)
    key = torch.randn(6, widths(name)[1]).double()
    together = score.prepare(key)
    alone = torch.cat([score.prepare(row) for row in key.split(1)])
    assert_close(together, alone)


@each_score
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_energies_are_summed_in_float32(name, dtype):
    score = make_score(name, dtype)
    query, key = (torch.randn(3, dim).to(dtype) for dim in widths(name))
    assert score(query, score.prepare(key)).dtype == torch.float32


@each_score
def test_every_score_has_a_family_that_the_kernels_know(name):
    score = make_score(name)
    assert isinstance(score, Score)
    assert score.family in ("dot", "additive", "other")
    assert score.has_parameters == bool(list(score.parameters()))


@pytest.mark.parametrize("name", ["dot", "scaled_dot"])
def test_a_plain_dot_product_refuses_two_widths_and_names_scores_that_take_them(name):
    with pytest.raises(ValueError, match=r"one width, got query_dim=3 and key_dim=5.*general"):
        build(name, query_dim=3, key_dim=5)
    with pytest.raises(ValueError, match="wants queries of width 5, got 3"):
        qkv.attend(torch.randn(2, 3), torch.randn(4, 5), score=name)


@pytest.mark.parametrize("name", ["general", "additive", "concat"])
def test_a_score_refuses_widths_it_was_not_built_for(name):
    score = build(name, query_dim=3, key_dim=5)
    with pytest.raises(ValueError, match="queries of width 3, got 2"):
        qkv.attend(torch.randn(2, 2), torch.randn(4, 5), score=score)
    with pytest.raises(ValueError, match="keys of width 5, got 2"):
        qkv.attend(torch.randn(2, 3), torch.randn(4, 2), score=score)


@pytest.mark.parametrize("name", ["general", "additive", "concat"])
def test_a_score_with_parameters_is_refused_by_name_alone(name):
    with pytest.raises(ValueError, match=rf"qkv\.scores\.build\('{name}', query_dim="):
        qkv.attend(torch.randn(2, 3), torch.randn(4, 3), score=name)


def test_an_unknown_score_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"unknown score 'aditive'; known: .*Did you mean 'addit"):
        build("aditive", query_dim=3, key_dim=3)


def test_unless_told_otherwise_the_hidden_layer_is_as_wide_as_the_query():
    assert build("additive", query_dim=3, key_dim=5).v.shape == (3,)
