"""Local attention (Luong, Pham and Manning 2015, section 3.2) against loops from its equations."""

from __future__ import annotations

import itertools
import math
from copy import deepcopy

import pytest
import torch
from attention_oracle import HIDDEN, KEY, QUERY, VALUE, dot, numbers, times
from test_attention_sparse import Sizes
from torch import Tensor, nn
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention.local import LOCALS, build
from qkv.attention.scores import SCORES
from qkv.attention.scores import build as build_score
from qkv.attention.slots import Slots

B, T, S, D = 3, 5, 17, 2
LENGTHS = (17, 11, 4)
ONE_WIDTH = ("dot", "scaled_dot", "cosine")
each_local = pytest.mark.parametrize("name", LOCALS)
each_score = pytest.mark.parametrize("score", SCORES)


def attention(name: str, score: str = "general", window: int = D, **slots) -> qkv.Attention:
    """In float64, with parameters that are no zeros, and windows all over the keys."""
    key_dim = QUERY if score in ONE_WIDTH else KEY
    built = qkv.Attention(
        score=build_score(score, query_dim=QUERY, key_dim=key_dim, hidden=HIDDEN),
        local=build(name, query_dim=QUERY, window=window),
        **slots,
    ).double()
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.5)
    return built


def inputs(score: str = "general", queries: int = T, keys: int = S, batch: int = B):
    key_dim = QUERY if score in ONE_WIDTH else KEY
    sizes = ((queries, QUERY), (keys, key_dim), (keys, VALUE))
    return [torch.randn(batch, *size).double().requires_grad_() for size in sizes]


def middle(name: str, local: nn.Module, query: list[float], place: int, length: int) -> float:
    """p_t: eq. 7's t, or eq. 9's S sigmoid(v_p . tanh(W_p h_t))."""
    if name == "local-m":
        return float(place)
    W, v = numbers(local.project_query.weight), numbers(local.v)
    return length / (1 + math.exp(-dot(v, [math.tanh(x) for x in times(W, query)])))


def by_loops(name: str, module: qkv.Attention, query: Tensor, key: Tensor, value: Tensor, places):
    """Contexts and weights (eq. 10's, its Gaussian in them), query by query."""
    energies = module.score(query, module.score.prepare(key)).tolist()
    contexts = torch.zeros(len(query), query.shape[1], VALUE).double()
    weights = torch.zeros(len(query), query.shape[1], key.shape[1]).double()
    for b, i in itertools.product(range(len(query)), range(query.shape[1])):
        p = middle(name, module.local, numbers(query[b, i]), places[i], LENGTHS[b])
        D = module.local.window
        inside = [s for s in range(LENGTHS[b]) if p - D <= s <= p + D]
        total = sum(math.exp(energies[b][i][s]) for s in inside)
        for s in inside:
            near = math.exp(-((s - p) ** 2) / (2 * (D / 2) ** 2)) if name == "local-p" else 1.0
            weights[b, i, s] = math.exp(energies[b][i][s]) / total * near
            contexts[b, i] += weights[b, i, s] * value[b, s].detach()
    return contexts, weights


@each_local
@each_score
@pytest.mark.parametrize("window", [1, 2, 5])
def test_local_attention_is_the_papers_equations_written_as_loops(name, score, window):
    """Sums of at most 17 terms of size about 30 and their exponentials: 17 * 30 * 100 eps."""
    module, tensors = attention(name, score, window), inputs(score)
    mask = Mask.lengths(torch.tensor(LENGTHS))
    context, weights = by_loops(name, module, *tensors, places=range(T))
    exact = {"atol": 17 * 30 * 100 * 2.3e-16, "rtol": 0}
    for need in ("context", "weights", "stats"):
        out = module(*tensors, mask=mask, need=need)
        assert_close(out.context, context, **exact)
        if need == "weights":
            assert_close(out.weights, weights, **exact)
    step = module.attend(tensors[0], module.prepare(*tensors[1:], mask=mask), need="weights")
    assert_close(step.context, context, **exact)
    assert_close(step.weights, weights, **exact)


@pytest.mark.parametrize("score", ["dot", "additive"])
@pytest.mark.parametrize("keys", [S, 64 * S])
def test_padding_on_either_side_changes_nothing_of_what_local_p_reads(score, keys):
    """The predicted position counts from the first key that may be met; long keys have tiles."""
    module, lengths = attention("local-p", score), torch.tensor([keys, keys - 6, 1, 0])
    query, key, value = inputs(score, keys=keys, batch=4)
    place = torch.arange(keys)
    right = place < lengths.unsqueeze(-1)
    turned = (place - (keys - lengths).unsqueeze(-1)) % keys  # what stands at each place
    left = torch.gather(right, 1, turned)
    assert left[:, -1].tolist() == [True, True, True, False]
    rows = torch.arange(4).unsqueeze(-1)
    found = []
    for keep, order in ((right, place.expand(4, -1)), (left, turned)):
        given = query, key[rows, order], value[rows, order]
        mask = Mask.keep(keep.unsqueeze(1))
        out = module(*given, mask=mask)
        step = module.attend(query, module.prepare(*given[1:], mask=mask))
        heads = module(*(part.unsqueeze(1) for part in given), mask=mask)
        found.append([out.context, step.context, heads.context.squeeze(1)])
    for mine, want in zip(found[1], found[0], strict=True):
        # p is a sum with an offset of up to `keys`: its rounding, times the slope of the Gaussian.
        assert_close(mine, want, atol=keys * 100 * 2.3e-16, rtol=0)


@each_local
def test_hypotheses_side_by_side_stand_at_their_own_places(name):
    """Each of five queries asked alone, in any order and twice, is what all are at once."""
    module, (query, key, value) = attention(name), inputs()
    prepared = module.prepare(key, value, mask=Mask.lengths(torch.tensor(LENGTHS)))
    whole = module.attend(query, prepared, need="weights")
    order = torch.tensor([3, 0, 3, 4, 1])
    some = module.attend(query[:, order], prepared, need="weights", positions=order)
    assert_close(some.context, whole.context[:, order])
    assert_close(some.weights, whole.weights[:, order])
    rows = torch.tensor([2, 0, 2])
    chosen = module.attend(query[rows], prepared.select(rows))
    assert_close(chosen.context, whole.context[rows])


@each_local
@pytest.mark.parametrize("heads", [(), (3,)])
def test_tiles_change_neither_result_nor_gradient(name, heads, monkeypatch):
    """Long keys, where the plan lays out tiles, against the same with tiles forbidden."""
    queries, keys = 96, 256
    module = attention(name, "dot")
    query, key = (torch.randn(2, *heads, n, QUERY).double() for n in (queries, keys))
    if heads:
        module.score = qkv.scores.Dot()
    tensors = [query.requires_grad_(), key.requires_grad_()]
    mask, found = Mask.lengths(torch.tensor([256, 100])), []
    monkeypatch.setattr(Slots, "narrow", False)
    for worth in (0.5, -1.0):  # the second: never worth it
        monkeypatch.setattr("qkv.attention.tiles.WORTH", {"fused": worth, "composed": worth})
        monkeypatch.setattr("qkv.attention.tiles.SPARSE", worth)
        with Sizes() as sizes:
            out = module(*tensors, mask=mask, need="stats")
        torch.manual_seed(2)
        parts = [*tensors, *module.parameters()]
        grads = torch.autograd.grad(out.context, parts, torch.randn(out.context.shape).double())
        found.append([out.context, out.log_normalizer, *grads])
        whole = 4 * 2 * 3 ** len(heads) * queries * keys  # bytes: half a number a pair
        assert (sizes.largest < whole) == (worth > 0)
    for mine, want in zip(*found, strict=True):
        # Sums of up to 96 gradients of size about 100, in another order.
        assert_close(mine, want, atol=96 * 100 * 2.3e-16 * 10, rtol=1e-12)


@each_local
def test_what_no_window_holds_does_not_exist(name):
    """NaN there changes no result and no gradient, by a bit."""
    module, (query, key, value) = attention(name), inputs(keys=400)
    met = module(query, key, value, need="weights").weights.sum(1) > 0
    outside = ~met.unsqueeze(-1)
    assert outside.float().mean() > 0.5
    results = []
    for poison in (0.0, torch.nan, torch.inf):
        bad = [t.detach().masked_fill(outside, poison).requires_grad_() for t in (key, value)]
        module.zero_grad()
        out = module(query, *bad).context
        stepped = module.attend(query, module.prepare(*bad)).context
        grads = torch.autograd.grad(out.sum(), [query, *bad, *module.parameters()])
        results.append([out, stepped, *grads])
    for other in results[1:]:
        for mine, want in zip(other, results[0], strict=True):
            assert torch.equal(mine, want)


@each_local
@pytest.mark.parametrize("way", ["dead_item", "masked_row"])
def test_a_query_whose_window_holds_nothing_gets_zeros_and_gives_none(name, way):
    """Places beyond the last key (local-m), no keys at all, or a row that the mask forbids."""
    module, (query, key, value) = attention(name), inputs()
    keep = torch.ones(B, T, S, dtype=torch.bool)
    places = torch.arange(T)
    if way == "masked_row":
        keep[1, 2] = False
    else:
        keep[1] = False
        if name == "local-m":
            keep[1], places = True, places + S + D - 1  # the first still sees the last key
    with torch.no_grad():
        if way == "masked_row":
            query[1, 2] = torch.nan
    out = module(query, key, value, mask=Mask.keep(keep), need="weights", positions=places)
    dead = out.weights.sum(-1) == 0
    assert dead.any() and not dead.all()
    assert not out.context[dead].any()
    assert not out.context.isnan().any()
    out.context.square().sum().backward()
    assert not query.grad[dead].any()
    for parameter in (key, value, *module.parameters()):
        assert parameter.grad.isfinite().all()


@each_local
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_finds_the_same_keys(name, dtype):
    """Positions are not rounded as queries are: bfloat16 has no odd numbers above 256."""
    local = build(name, query_dim=QUERY, window=D)
    query = torch.randn(1, 1, QUERY).to(dtype)
    places, lengths = torch.tensor([1003]), torch.tensor([2009])
    found = []
    local.to(dtype)  # its parameters are rounded for both
    for module, given in ((local, query), (deepcopy(local).double(), query.double())):
        out = qkv.Attention(score="dot", local=module)(
            given,
            torch.zeros(1, 2011, QUERY, dtype=given.dtype),
            mask=Mask.lengths(lengths),
            need="weights",
            positions=places,
        )
        found.append(out.weights[0, 0].nonzero().flatten())
    if name == "local-m":
        assert torch.equal(*found)
        assert found[0].tolist() == [1001, 1002, 1003, 1004, 1005]
    else:
        # tanh, v and the query are rounded, to 3 digits: so far may the position go, not more.
        eps = torch.finfo(dtype).eps
        assert len(found[0]) in (4, 5)
        assert (found[0][0] - found[1][0]).abs() <= 2009 / 4 * 3 * eps + 1


@each_local
def test_one_query_against_long_keys_makes_nothing_of_their_size(name):
    """A decoder's step: beyond the keys themselves, nothing holds keys x width numbers."""
    keys, width = 4096, 16
    module = qkv.Attention(score="dot", local=build(name, query_dim=width, window=3))
    key = torch.randn(2, keys, width)
    prepared = module.prepare(key, mask=Mask.lengths(torch.tensor([keys, keys - 7])))
    query = torch.randn(2, 1, width, requires_grad=True)
    with Sizes() as sizes:
        module.attend(query, prepared, positions=torch.tensor([5])).context.sum()
    assert sizes.largest < 4 * keys * width // 2


@each_local
@pytest.mark.parametrize("score", ["dot", "additive"])
def test_no_tensor_grows_faster_than_the_number_of_queries(name, score):
    """Both lengths doubled, the largest tensor at most doubled, forward and backward."""
    largest = []
    for length in (512, 1024):
        torch.manual_seed(1)
        x = torch.randn(1, length, 4, requires_grad=True)
        score_ = build_score(score, query_dim=4, key_dim=4, hidden=3)
        module = qkv.Attention(score=score_, local=build(name, query_dim=4, window=3))
        if name == "local-p":
            with torch.no_grad():  # queries that point to where they are
                module.local.project_query.weight.copy_(torch.eye(4))
                module.local.v.copy_(torch.tensor([8.0, 0, 0, 0]))
                x[0, :, 0] = torch.linspace(-0.5, 0.5, length)
        with Sizes() as sizes:
            module(x, x).context.sum().backward()
        largest.append(sizes.largest)
    assert largest[1] <= 2 * largest[0] + 4096
    assert largest[1] < 1024 * 1024  # in bytes: not even a boolean a pair


@each_local
@pytest.mark.parametrize("kernel", ["sparse", "reference"])
def test_gradients_are_right_and_so_are_theirs_with_the_predictors(name, kernel):
    module = attention(name, "additive", window=1)
    query, key, value = inputs(queries=3, keys=7, batch=2)
    mask = Mask.lengths(torch.tensor([7, 5]))
    parameters = dict(module.named_parameters())

    def ask(query, key, value, *given):
        state = dict(zip(parameters, given, strict=True))
        kwargs = {"mask": mask, "kernel": kernel}
        return torch.func.functional_call(module, state, (query, key, value), kwargs).context

    given = (query, key, value, *parameters.values())
    assert torch.autograd.gradcheck(ask, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(ask, given, fast_mode=True)
    if name == "local-p":
        grads = torch.autograd.grad(ask(*given).sum(), list(module.local.parameters()))
        assert all(grad.abs().max() > 1e-4 for grad in grads)


def test_local_p_learns_to_point_only_through_its_gaussian():
    """The mask has no gradient, so with equal values nothing but closeness moves p."""
    module, (query, key, _) = attention("local-p"), inputs()
    value = torch.ones(B, S, 1).double()
    context = module(query, key, value).context
    grads = torch.autograd.grad(context.sum(), list(module.local.parameters()))
    assert all(grad.abs().max() > 1e-4 for grad in grads)
    assert ((context > 0) & (context <= 1)).all()  # not renormalised: less than all is read


@each_local
def test_queries_may_be_fewer_dimensions_than_the_keys(name):
    module, (query, key, value) = attention(name), inputs()
    mask = Mask.lengths(torch.tensor(LENGTHS))
    one = module(query[0], key, value, mask=mask).context
    assert_close(one, module(query[:1].expand(B, -1, -1), key, value, mask=mask).context)


def test_a_window_and_a_reweighter_of_ones_own_are_refused_together():
    with pytest.raises(ValueError, match="may bring a reweighter of its own: give one of them"):
        attention("local-m", reweighter=lambda weights: weights)


def test_an_unknown_scope_and_an_empty_window_are_refused():
    with pytest.raises(ValueError, match=r"unknown scope 'local-q'.*Did you mean 'local-"):
        build("local-q", query_dim=3, window=2)
    with pytest.raises(ValueError, match="window is a whole number of 1 or more, got 0"):
        build("local-m", query_dim=3, window=0)


@pytest.mark.parametrize(
    ("positions", "said"),
    [
        (torch.arange(4), r"torch.int64 \[4\]"),
        (torch.arange(5)[None], r"torch.int64 \[1, 5\]"),
        (torch.arange(5.0), r"torch.float32 \[5\]"),
        ([0, 1, 2, 3, 4], "got list"),
    ],
)
def test_positions_that_are_not_one_integer_a_query_are_refused(positions, said):
    module, (query, key, value) = attention("local-m"), inputs()
    with pytest.raises(ValueError, match="each of the 5 queries stands .*" + said):
        module(query, key, value, positions=positions)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_window_around_a_half_precision_position_holds_every_key_near_it(dtype):
    """1004 is a number of both; its neighbours, the keys, are not numbers of bfloat16."""
    met = Mask.around(torch.tensor([1004.0]).to(dtype), 2).dense(1, 2000)
    assert met[0].nonzero().flatten().tolist() == [1002, 1003, 1004, 1005, 1006]
