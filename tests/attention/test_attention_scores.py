"""Scores: each equals its equation written as loops, and refuses what it cannot compare."""

from __future__ import annotations

import itertools

import pytest
import torch
from attention_oracle import ONE_WIDTH, energies_by_loops, make_inputs, make_score, widths
from test_attention_sparse import Sizes
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

import qkv
from qkv.attention.scores import SCORES, build
from qkv.attention.scores.score import Score

each_score = pytest.mark.parametrize("name", SCORES)


@each_score
@pytest.mark.parametrize(("T", "S", "dim", "hidden"), [(1, 1, 1, 1), (3, 5, 7, 13)])
def test_energies_equal_the_equation_written_as_loops(name, T, S, dim, hidden):
    torch.manual_seed(0)
    key_dim = dim if name in ONE_WIDTH else 11
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


def test_location_looks_at_the_query_alone():
    """e_ij = (W q_i)_j, whatever the keys are, a NaN included; their number counts."""
    score = make_score("location")
    query, key = torch.randn(2, 3, 11).double(), torch.full((2, 5, 13), torch.nan).double()
    out = qkv.attend(query, key, torch.ones(2, 5, 1).double(), score=score, need="weights")
    assert_close(out.weights, torch.softmax(query @ score.places.weight[:5].T, -1))
    key.requires_grad_()
    out = qkv.attend(query, key, torch.randn(2, 5, 1).double(), score=score)
    (gradient,) = torch.autograd.grad(out.context.sum(), [key])  # it has one: of zeros
    assert not gradient.any()


def test_location_refuses_more_keys_than_it_was_built_for():
    score = qkv.scores.Location(3, max_keys=4)
    query = torch.randn(2, 3)
    qkv.attend(query, torch.randn(4, 7), score=score)
    with pytest.raises(ValueError, match=r"Location .* max_keys=4, got 5 keys: build a larger"):
        qkv.attend(query, torch.randn(5, 7), score=score)
    assert build("location", query_dim=3, key_dim=7).max_keys == 512


def test_cosine_is_torchs_times_beta_and_looks_at_directions_alone():
    query, key = torch.randn(3, 7).double(), torch.randn(5, 7).double()
    expected = 2.5 * F.cosine_similarity(query[:, None], key[None], dim=-1)
    score = qkv.scores.Cosine(beta=2.5)
    assert_close(score(query, score.prepare(key)), expected)
    for size in (1e-300, 1e200):  # squares of these vanish, or overflow
        assert_close(score(size * query, score.prepare(key / size)), expected)
    same = F.scaled_dot_product_attention(
        F.normalize(query, dim=-1), F.normalize(key, dim=-1), key, scale=2.5
    )
    for kernel in ("sdpa", "reference"):
        assert_close(qkv.attend(query, key, score=score, kernel=kernel).context, same)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("smallest", [0.0, 1e-45])
def test_a_vector_of_zeros_has_cosine_zero_and_a_finite_gradient(dtype, smallest):
    query, key = torch.randn(3, 7, dtype=dtype), torch.randn(5, 7, dtype=dtype)
    query[1] = key[2] = 0
    if dtype == torch.float32:
        key[2] = smallest  # so small that its inverse overflows
    query.requires_grad_(), key.requires_grad_()
    score = qkv.scores.Cosine()
    energies = score(query, score.prepare(key))
    assert not energies[1].any()
    assert_close(energies[:, 2], torch.zeros(3, dtype=dtype))
    for gradient in torch.autograd.grad(energies.square().sum() + energies.sum(), [query, key]):
        assert gradient.isfinite().all()


def test_cosine_needs_a_finite_beta():
    with pytest.raises(ValueError, match="beta is a finite number, got nan"):
        qkv.scores.Cosine(float("nan"))


def test_deep_with_one_layer_is_additive_and_each_further_layer_is_applied():
    additive, deep = make_score("additive"), qkv.scores.Deep(11, 13, 17, layers=1).double()
    deep.load_state_dict(additive.state_dict())
    query, key = torch.randn(3, 11).double(), torch.randn(5, 13).double()
    assert_close(deep(query, deep.prepare(key)), additive(query, additive.prepare(key)))

    three = qkv.scores.Deep(11, 13, 17, layers=3).double()
    torch.nn.init.normal_(three.v)
    first, second = three.further
    inside = three.project_query(query)[:, None] + three.project_key(key)[None]
    expected = second(first(inside.tanh()).tanh()).tanh() @ three.v
    assert_close(three(query, three.prepare(key)), expected)
    with pytest.raises(ValueError, match="1 layer or more, got layers=0"):
        qkv.scores.Deep(3, 3, 3, layers=0)


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
    """A cache may prepare new keys alone, where they stand, and beams may select prepared ones."""
    score = make_score(name)
    key = torch.randn(6, widths(name)[1]).double()
    together = score.prepare(key)
    rows = enumerate(key.split(1))
    alone = torch.cat([score.prepare_at(row, torch.tensor([n])) for n, row in rows])
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


@pytest.mark.parametrize("name", ONE_WIDTH)
def test_a_plain_dot_product_refuses_two_widths_and_names_scores_that_take_them(name):
    with pytest.raises(ValueError, match=r"one width, got query_dim=3 and key_dim=5.*general"):
        build(name, query_dim=3, key_dim=5)
    with pytest.raises(ValueError, match="wants queries of width 5, got 3"):
        qkv.attend(torch.randn(2, 3), torch.randn(4, 5), score=name)


@pytest.mark.parametrize("name", ["general", "additive", "concat", "deep"])
def test_a_score_refuses_widths_it_was_not_built_for(name):
    score = build(name, query_dim=3, key_dim=5)
    with pytest.raises(ValueError, match="queries of width 3, got 2"):
        qkv.attend(torch.randn(2, 2), torch.randn(4, 5), score=score)
    with pytest.raises(ValueError, match="keys of width 5, got 2"):
        qkv.attend(torch.randn(2, 3), torch.randn(4, 2), score=score)


@pytest.mark.parametrize("name", ["general", "additive", "concat", "location", "deep"])
def test_a_score_with_parameters_is_refused_by_name_alone(name):
    with pytest.raises(ValueError, match=rf"qkv\.scores\.build\('{name}', query_dim="):
        qkv.attend(torch.randn(2, 3), torch.randn(4, 3), score=name)


def test_an_unknown_score_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"unknown score 'aditive'; known: .*Did you mean 'addit"):
        build("aditive", query_dim=3, key_dim=3)


def test_unless_told_otherwise_the_hidden_layer_is_as_wide_as_the_query():
    assert build("additive", query_dim=3, key_dim=5).v.shape == (3,)


def largest_of_deep(queries: int, keys: int, most: int, monkeypatch) -> tuple[int, list[Tensor]]:
    """Bytes of the largest tensor, forward and backward, and the energies with their gradients."""
    monkeypatch.setattr("qkv.attention.scores.deep.MOST", most)
    torch.manual_seed(3)
    score = build("deep", query_dim=5, key_dim=7, hidden=11).double()
    nn.init.normal_(score.v)
    query, key = (
        torch.randn(2, n, d).double().requires_grad_() for n, d in ((queries, 5), (keys, 7))
    )
    with Sizes() as sizes:
        energies = score(query, score.prepare(key))
        energies.square().sum().backward()
    grads = [part.grad for part in (query, key, *score.parameters())]
    return sizes.largest, [energies.detach(), *grads]


def test_the_deep_scores_memory_is_bounded_and_tiles_change_nothing(monkeypatch):
    """Four times the pairs: no tensor beyond the energies grows, forward or backward."""
    most = 2 * 101 * 11 * 3  # three queries a tile
    for queries in (101, 404):
        largest, tiled = largest_of_deep(queries, 101, most, monkeypatch)
        assert largest == max(8 * most, 8 * 2 * queries * 101)  # a layer of a tile, or energies
        whole, at_once = largest_of_deep(queries, 101, 2**40, monkeypatch)
        assert whole == 8 * 2 * queries * 101 * 11
        for mine, want in zip(tiled, at_once, strict=True):
            # Sums of at most 2 * 404 * 101 terms, in another order, relative to their size.
            assert_close(mine, want, rtol=0, atol=2.3e-16 * 1e5 * want.abs().max().item())


def test_of_a_tile_of_the_deep_score_only_its_inputs_are_kept_for_the_way_back(
    monkeypatch,
):
    """Forty tiles keep their queries and the keys, not a layer of every pair."""
    score = make_score("deep")
    hidden = score.v.numel()
    monkeypatch.setattr("qkv.attention.scores.deep.MOST", 101 * hidden)
    dims = ((40, score.query_dim), (101, score.key_dim))
    query, key = (torch.randn(*size).double().requires_grad_() for size in dims)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        score(query, score.prepare(key))
    assert sum(kept.values()) < 8 * 40 * 101 * hidden  # one layer of all pairs


@pytest.mark.parametrize("kernel", ["reference", "sparse"])
def test_the_deep_score_is_differentiable_twice_tile_by_tile(kernel, monkeypatch):
    monkeypatch.setattr("qkv.attention.scores.deep.MOST", 1)
    score = make_score("deep")
    parameters = dict(score.named_parameters())
    query, key, value = (t.requires_grad_() for t in make_inputs("deep", leading=(2,)))
    attention = qkv.Attention(score=score)

    def ask(query, key, value, *given):
        state = {f"score.{name}": one for name, one in zip(parameters, given, strict=True)}
        slots = {"mask": qkv.Mask.window(2, 1), "kernel": kernel}
        return torch.func.functional_call(attention, state, (query, key, value), slots).context

    given = (query, key, value, *parameters.values())
    assert torch.autograd.gradcheck(ask, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(ask, given, fast_mode=True)


def test_the_plan_knows_that_the_deep_score_holds_no_more_than_a_tile():
    score = build("deep", query_dim=5, key_dim=5, hidden=11)
    x = torch.randn(1, 2048, 5)
    plan = qkv.plan(x, x, score=score)
    layers, pairs = 2, 2048 * 2048
    assert plan.bytes == 4 * (layers * 2**24 + pairs)
    few = qkv.plan(x[:, :16], x[:, :16], score=score)
    assert few.bytes == 4 * 256 * (layers * 11 + 1)
