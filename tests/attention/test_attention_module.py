"""Attention: the slots as one module, prepared keys as values, dropout in training alone."""

from __future__ import annotations

import copy

import pytest
import torch
from attention_oracle import widths
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import qkv
from qkv import Attention, Mask
from qkv.attention.normalizers import NORMALIZERS
from qkv.attention.normalizers import build as build_normalizer
from qkv.attention.scores import SCORES, build

LENGTHS = torch.tensor([4, 0, 7])
MASKS = {
    "none": None,
    "lengths": Mask.lengths(LENGTHS),
    "causal": Mask.causal(1),
    "both": Mask.lengths(LENGTHS) & Mask.causal(1),
    "keep": Mask.keep(torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(1)) < 0.6),
}
NEEDS = ["context", "weights", "stats"]
each_score = pytest.mark.parametrize("name", SCORES)
each_mask = pytest.mark.parametrize("case", MASKS)


def attention(name: str, **slots) -> Attention:
    query_dim, key_dim = widths(name)
    score = build(name, query_dim=query_dim, key_dim=key_dim, hidden=5).double()
    for parameter in score.parameters():
        nn.init.normal_(parameter)
    return Attention(score=score, **slots)


def inputs(name: str):
    query_dim, key_dim = widths(name)
    return (
        torch.randn(3, 5, query_dim).double(),
        torch.randn(3, 7, key_dim).double(),
        torch.randn(3, 7, 2).double(),
    )


def same(a, b) -> None:
    for mine, theirs in zip(a, b, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert_close(mine, theirs)


@each_score
@each_mask
@pytest.mark.parametrize("need", NEEDS)
def test_the_module_is_attend_and_prepared_keys_answer_alike(name, case, need):
    module, (query, key, value) = attention(name), inputs(name)
    mask = MASKS[case]
    functional = qkv.attend(query, key, value, score=module.score, mask=mask, need=need)
    prepared = module.prepare(key, value, mask=mask)
    same(module(query, key, value, mask=mask, need=need), functional)
    same(module.attend(query, prepared, need=need), functional)


@each_score
@settings(max_examples=15)
@given(split=st.lists(st.integers(1, 3), min_size=1, max_size=5), seed=st.integers(0, 999))
def test_step_by_step_equals_all_at_once(name, split, seed):
    """A decoder's steps, any split of the queries, against keys that were prepared once."""
    torch.manual_seed(seed)
    module, (_, key, value) = attention(name), inputs(name)
    query = torch.randn(3, sum(split), widths(name)[0]).double()
    prepared = module.prepare(key, value, mask=Mask.lengths(LENGTHS))
    steps = [module.attend(part, prepared).context for part in query.split(split, dim=1)]
    assert_close(torch.cat(steps, 1), module.attend(query, prepared).context)


@each_score
@each_mask
def test_selecting_batch_items_of_prepared_keys_selects_their_answers(name, case):
    module, (query, key, value) = attention(name), inputs(name)
    rows = torch.tensor([2, 0, 0, 1])
    prepared = module.prepare(key, value, mask=MASKS[case])
    whole = module.attend(query, prepared, need="weights")
    chosen = module.attend(query[rows], prepared.select(rows), need="weights")
    assert_close(chosen.context, whole.context[rows])
    assert_close(chosen.weights, whole.weights[rows])


@each_score
@pytest.mark.parametrize("case", ["lengths", "both"])
def test_prepared_keys_hide_what_no_query_will_ever_meet(name, case):
    """Also from the gradient of the score's own projection, and before queries are known."""
    module, (query, key, value) = attention(name), inputs(name)
    hidden = (torch.arange(7) >= LENGTHS[:, None]).unsqueeze(-1)

    def run(key, value):
        tensors = [t.clone().requires_grad_() for t in (query, key, value)]
        prepared = module.prepare(*tensors[1:], mask=MASKS[case])
        out = module.attend(tensors[0], prepared).context
        return out, *torch.autograd.grad(out.square().sum(), tensors + list(module.parameters()))

    clean = run(key, value)
    poisoned = run(key.masked_fill(hidden, torch.nan), value.masked_fill(hidden, torch.inf))
    for mine, theirs in zip(poisoned, clean, strict=True):
        assert torch.equal(mine, theirs)


@each_score
def test_calling_a_module_leaves_no_data_on_it(name):
    module, (query, key, value) = attention(name, dropout=0.1), inputs(name)

    def everything():
        return [dict(vars(part)) for part in module.modules()]

    before, weights = everything(), copy.deepcopy(module.state_dict())
    module.attend(query, module.prepare(key, value, mask=MASKS["both"]), need="weights")
    module(query, key, value, mask=MASKS["keep"])
    assert everything() == before
    for entry, tensor in module.state_dict().items():
        assert torch.equal(tensor, weights[entry])


@each_score
@pytest.mark.parametrize("need", NEEDS)
def test_eval_twice_is_bitwise_equal_and_drops_nothing(name, need):
    module, (query, key, value) = attention(name, dropout=0.5).eval(), inputs(name)
    first = module(query, key, value, need=need)
    second = module(query, key, value, need=need)
    for a, b in zip(first, second, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    same(first, qkv.attend(query, key, value, score=module.score, need=need))


@each_score
def test_training_drops_weights_by_the_seed_and_shows_them_before(name):
    module, (query, key, _) = attention(name, dropout=0.5).train(), inputs(name)
    value = torch.randn_like(key)  # one width: no kernel has an excuse
    plain = qkv.attend(query, key, value, score=module.score, need="weights")

    def run(need):
        torch.manual_seed(4)
        return module(query, key, value, need=need)

    out = run("weights")
    assert_close(out.weights, plain.weights)
    assert_close(out.weights.sum(-1), torch.ones(3, 5).double())
    torch.manual_seed(4)
    dropped = torch.dropout(plain.weights, 0.5, train=True)
    assert_close(out.context, dropped @ value)
    for need in NEEDS:  # asking changes nothing, here either
        assert torch.equal(run(need).context, out.context)


def test_dropped_weights_keep_their_mean():
    module = Attention(dropout=0.3)
    query, key = torch.randn(1, 2), torch.randn(3, 2)
    mean = sum(module(query, key).context for _ in range(4000)) / 4000
    # A context's spread under dropout is below sqrt(p/(1-p)) |v|: 5 standard errors.
    atol = 5 * (0.3 / 0.7) ** 0.5 * key.norm().item() / 4000**0.5
    assert_close(mean, qkv.attend(query, key).context, atol=atol, rtol=0)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 2])
def test_a_dropout_that_is_no_probability_is_refused(dropout):
    with pytest.raises(ValueError, match="0 <= dropout < 1"):
        Attention(dropout=dropout)


def test_a_learned_bias_is_a_parameter_and_a_fixed_one_moves_with_the_module():
    learned = Attention(bias=nn.Parameter(torch.zeros(5, 7)))
    fixed = Attention(bias=torch.zeros(5, 7)).double()
    assert [name for name, _ in learned.named_parameters()] == ["bias"]
    assert list(fixed.parameters()) == []
    assert fixed.bias.dtype == torch.float64
    with pytest.raises(ValueError, match=r"Mask\.keep"):
        Attention(bias=torch.ones(5, 7).bool())


@pytest.mark.parametrize("name", [name for name in NORMALIZERS if name != "sigmoid"])
def test_a_normalizer_gives_weights_that_sum_to_one_and_none_to_the_forbidden(name):
    energies = torch.randn(5, 7).double()
    energies[:, 3] = -torch.inf
    weights = build_normalizer(name)(energies, stats=True).weights
    assert_close(weights.sum(-1), torch.ones(5).double())
    assert (weights >= 0).all()
    assert not weights[:, 3].any()


def test_softmax_equals_its_equation_and_survives_large_energies():
    energies = torch.tensor([[1000.0, 1001.0, -1000.0]], dtype=torch.float64)
    out = build_normalizer("softmax")(energies, stats=True)
    e = torch.tensor(1.0, dtype=torch.float64).exp()
    assert_close(out.weights, torch.stack([1 / (1 + e), e / (1 + e), 0 * e])[None])
    assert_close(out.log_normalizer, 1000 + torch.log1p(e)[None])


def test_slots_take_objects_as_well_as_names():
    query, key = torch.randn(2, 3), torch.randn(4, 3)
    by_name = qkv.attend(query, key, score="dot", normalizer="softmax")
    by_part = qkv.attend(query, key, score=qkv.scores.Dot(), normalizer=qkv.normalizers.Softmax())
    assert torch.equal(by_name.context, by_part.context)


def test_an_unknown_normalizer_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown normalizer 'softmx'.*Did you mean 'softmax'"):
        qkv.attend(torch.randn(2, 3), torch.randn(4, 3), normalizer="softmx")


def test_queries_with_more_dimensions_than_the_prepared_keys_are_refused():
    module = Attention()
    with pytest.raises(ValueError, match="leading dimensions do not fit"):
        module.attend(torch.randn(2, 3, 5, 7), module.prepare(torch.randn(2, 4, 7)))


def test_prepared_keys_without_as_many_values_are_refused():
    with pytest.raises(ValueError, match="every key needs a value: 4 keys, 3 values"):
        Attention().prepare(torch.randn(2, 4, 7), torch.randn(2, 3, 7))
