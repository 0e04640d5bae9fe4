"""Multi-head attention: against torch's, against loops over heads, and step by step."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

import qkv
from qkv import Mask, MultiHeadAttention
from qkv.attention.scores import SCORES
from qkv.nn import KeyValueCache

B, T, S, WIDTH, HEADS = 3, 5, 7, 12, 6
LENGTHS = torch.tensor([7, 2, 4])
NEEDS = ["context", "weights", "stats"]
each_score = pytest.mark.parametrize("score", SCORES)


def layer(score: str = "scaled_dot", **sizes) -> MultiHeadAttention:
    built = MultiHeadAttention(WIDTH, HEADS, score=score, **sizes).double()
    for parameter in built.parameters():  # biases and additive's v start at zero, and would hide
        nn.init.normal_(parameter, std=0.4)
    return built


def inputs(*, key_dim: int = WIDTH, value_dim: int = WIDTH):
    return (
        torch.randn(B, T, WIDTH).double(),
        torch.randn(B, S, key_dim).double(),
        torch.randn(B, S, value_dim).double(),
    )


def head_by_head(
    module: MultiHeadAttention, query, key, value, keep
) -> tuple[torch.Tensor, torch.Tensor]:
    """section 3.2.2 read aloud: project, attend in each head alone, lay side by side, project."""
    width = module.head_dim
    read, weights = [], []
    for h in range(module.heads):
        g = h * module.kv_heads // module.heads  # the head of keys and values that h reads
        rows, shared = slice(h * width, (h + 1) * width), slice(g * width, (g + 1) * width)
        q, k, v = (
            F.linear(x, part.weight[cut], None if part.bias is None else part.bias[cut])
            for x, part, cut in (
                (query, module.project_query, rows),
                (key, module.project_key, shared),
                (value, module.project_value, shared),
            )
        )
        score = module.attention.score
        e = score(q, score.prepare(k)).masked_fill(~keep, -math.inf)
        weights.append(torch.softmax(e, -1))
        read.append(weights[-1] @ v)
    return module.project_context(torch.cat(read, -1)), torch.stack(weights, 1)


@each_score
@pytest.mark.parametrize("kv_heads", [6, 3, 1])
@pytest.mark.parametrize("need", NEEDS)
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_its_heads_one_by_one(score, kv_heads, need, bias):
    module = layer(score, kv_heads=kv_heads, bias=bias, key_dim=5, value_dim=11)
    query, key, value = inputs(key_dim=5, value_dim=11)
    keep = torch.rand(B, T, S) < 0.6
    keep[..., 0] = True

    out = module(query, key, value, Mask.keep(keep), need)

    context, weights = head_by_head(module, query, key, value, keep)
    assert_close(out.context, context)
    assert (out.weights is not None) == (need == "weights")
    assert (out.log_normalizer is not None) == (need == "stats")
    if need == "weights":
        assert out.weights.shape == (B, HEADS, T, S)
        assert_close(out.weights, weights)


@pytest.mark.parametrize("cross", [False, True], ids=["self", "cross"])
@pytest.mark.parametrize("causal", [False, True])
def test_with_the_same_parameters_it_is_torchs_multihead_attention(cross, causal):
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64)
    nn.init.normal_(theirs.in_proj_bias)
    module = layer()
    with torch.no_grad():
        parts = (module.project_query, module.project_key, module.project_value)
        for part, W, b in zip(
            parts, theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True
        ):
            part.weight.copy_(W)
            part.bias.copy_(b)
        module.project_context.load_state_dict(theirs.out_proj.state_dict())
    query, memory, _ = inputs()
    source = memory if cross else query
    lengths = LENGTHS.clamp(max=source.shape[1])
    drop = ~Mask.causal().dense(T, source.shape[1]) if causal else None
    padding = ~Mask.lengths(lengths).dense(1, source.shape[1]).squeeze(1)

    context, weights = theirs(
        query, source, source, padding, True, drop, average_attn_weights=False
    )

    mask = Mask.lengths(lengths) & Mask.causal() if causal else Mask.lengths(lengths)
    ours = module(query, memory if cross else None, mask=mask, need="weights")
    assert_close(ours.context, context)
    assert_close(ours.weights, weights)


def test_torchs_encoder_layer_and_this_one_start_with_the_same_variance():
    torch.manual_seed(0)
    module = MultiHeadAttention(64, 4)
    bound = math.sqrt(6 / 128)
    for part in (module.project_query, module.project_key, module.project_value):
        assert part.weight.abs().max() <= bound
        assert_close(part.weight.std().item(), bound / 3**0.5, rtol=0.05, atol=0)
        assert not part.bias.any()


def run_in_steps(module, x, split, mask_of, memory_first: int = 0):
    cache, outs, start = KeyValueCache.empty(), [], 0
    for size in split:
        part = x[:, start : start + size]
        cache = module.extend(part, cache)
        outs.append(module(part, cache=cache, mask=mask_of(start)).context)
        start += size
    assert cache.length == x.shape[1]
    return torch.cat(outs, 1)


@each_score
@settings(max_examples=12)
@given(
    split=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    kv_heads=st.sampled_from([1, 2, 3, 6]),
    padded=st.booleans(),
    seed=st.integers(0, 999),
)
def test_step_by_step_with_a_cache_equals_the_whole(score, split, kv_heads, padded, seed):
    """For any split of the sequence, causal, with and without padding on the left."""
    torch.manual_seed(seed)
    module = layer(score, kv_heads=kv_heads)
    x = torch.randn(B, sum(split), WIDTH).double()
    left = torch.arange(x.shape[1]) >= torch.tensor([[0], [1], [2]])

    def mask_of(start: int, seen: int | None = None) -> Mask:
        causal = Mask.causal(start)
        return causal & Mask.keep(left[:, None, :seen]) if padded else causal

    ends = iter([sum(split[: i + 1]) for i in range(len(split))])
    steps = run_in_steps(module, x, split, lambda start: mask_of(start, next(ends)))
    assert_close(steps, module(x, mask=mask_of(0)).context)


@each_score
def test_reading_a_projected_memory_equals_reading_the_memory(score):
    module, (query, key, value) = layer(score, kv_heads=2), inputs()
    mask = Mask.lengths(LENGTHS)
    whole = module(query, key, value, mask, need="weights")
    for cache in (
        module.project_key_value(key, value),
        module.project_key_value(key, value, mask=mask),
    ):
        out = module(query, cache=cache, mask=mask, need="weights")
        assert_close(out.context, whole.context)
        assert_close(out.weights, whole.weights)


@each_score
def test_beams_select_what_is_remembered_and_the_mask(score):
    module, (query, key, value) = layer(score), inputs()
    rows = torch.tensor([2, 2, 0])
    mask = Mask.lengths(LENGTHS)
    cache = module.project_key_value(key, value, mask=mask)
    whole = module(query, cache=cache, mask=mask).context
    out = module(query[rows], cache=cache.select(rows), mask=mask.select(rows)).context
    assert_close(out, whole[rows])


@each_score
@pytest.mark.parametrize("poison", [torch.nan, torch.inf, 1e30])
@pytest.mark.parametrize("way", ["at_once", "projected", "projected_with_mask"])
def test_padding_does_not_exist_for_the_layer_either(score, poison, way):
    """NaN in a padded input reaches no output and no gradient, of inputs or of parameters."""
    module, (query, key, value) = layer(score, kv_heads=2), inputs()
    hidden = (torch.arange(S) >= LENGTHS[:, None]).unsqueeze(-1)
    mask = Mask.lengths(LENGTHS)

    def run(key, value):
        tensors = [t.clone().requires_grad_() for t in (query, key, value)]
        if way == "at_once":
            out = module(*tensors, mask=mask).context
        else:
            told = mask if way == "projected_with_mask" else None
            cache = module.project_key_value(*tensors[1:], mask=told)
            out = module(tensors[0], cache=cache, mask=mask).context
        wanted = tensors if way == "projected" else [*tensors, *module.parameters()]
        return out, *torch.autograd.grad(out.square().sum(), wanted)

    clean = run(key, value)
    poisoned = run(key.masked_fill(hidden, poison), value.masked_fill(hidden, poison))
    assert torch.equal(poisoned[0], clean[0])
    if way != "projected":  # without the mask the projection has met the padding: see extend()
        for mine, theirs in zip(poisoned[1:], clean[1:], strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("kv_heads", [6, 3, 1])
@pytest.mark.parametrize("cached", [False, True])
def test_each_head_may_have_its_own_mask(kv_heads, cached):
    module, (query, key, value) = layer(kv_heads=kv_heads), inputs()
    keep = torch.rand(B, HEADS, 1, S) < 0.5  # some keys are hidden in some heads alone
    keep[..., 0] = True
    keep[0, :, :, 3:] = False
    mask = Mask.keep(keep)
    cache = module.project_key_value(key, value) if cached else None
    given = {"cache": cache} if cached else {"key": key, "value": value}
    out = module(query, **given, mask=mask, need="weights")
    for h in range(HEADS):
        _, weights = head_by_head(module, query, key, value, keep[:, h])
        assert_close(out.weights[:, h], weights[:, h])


def test_what_a_second_mask_hides_does_not_exist_either():
    """The memory was projected with one mask and is read with a narrower one."""
    module, (query, key, value) = layer(), inputs()
    first, second = Mask.lengths(LENGTHS), Mask.lengths(LENGTHS - 1)
    last = torch.arange(S) == LENGTHS[:, None] - 1
    poisoned = key.masked_fill(last.unsqueeze(-1), torch.nan)
    clean, dirty = (module.project_key_value(k, value, mask=first) for k in (key, poisoned))
    assert torch.equal(
        module(query, cache=dirty, mask=second).context,
        module(query, cache=clean, mask=second).context,
    )


@each_score
def test_a_dead_row_of_the_layer_is_zero_and_has_no_gradient(score):
    module, (query, key, value) = layer(score), inputs()
    mask = Mask.lengths(torch.tensor([7, 0, 4])) & Mask.causal(-1)
    dead = ~mask.dense(T, S).any(-1)
    query.requires_grad_()
    for need in NEEDS:
        out = module(query, key, value, mask, need)
        assert not out.context[dead].any()
        gradients = torch.autograd.grad(out.context.sum(), [query, *module.parameters()])
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert not gradients[0][dead].any()

    poisoned = query.detach().masked_fill(dead.unsqueeze(-1), torch.nan)
    again = module(poisoned, key, value, mask).context
    assert torch.equal(again, module(query, key, value, mask).context)
    gradients = torch.autograd.grad(again.sum(), list(module.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


@each_score
def test_appending_padding_changes_no_output(score):
    module, (query, key, value) = layer(score), inputs()
    longer = [torch.cat([t, torch.randn(B, 3, t.shape[-1])], 1) for t in (key, value)]
    mask = Mask.lengths(LENGTHS)
    assert_close(module(query, *longer, mask).context, module(query, key, value, mask).context)


@each_score
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_batch_in_any_order_gives_each_item_what_it_gets_alone(score, batch):
    module = layer(score, kv_heads=3)
    x, lengths = torch.randn(batch, T, WIDTH).double(), torch.randint(0, T + 1, (batch,))
    order = torch.randperm(batch)
    together = module(x[order], mask=Mask.lengths(lengths[order])).context
    for place, row in enumerate(order.split(1)):
        alone = module(x[row], mask=Mask.lengths(lengths[row])).context
        assert_close(together[place], alone[0])


@each_score
def test_eval_twice_is_bitwise_equal_and_training_drops_by_the_seed(score):
    module, (query, key, value) = layer(score, dropout=0.5), inputs()
    module.eval()
    first, second = module(query, key, value), module(query, key, value)
    assert torch.equal(first.context, second.context)
    module.train()
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(module(query, key, value, need="weights"))
    assert torch.equal(runs[0].context, runs[1].context)
    assert not torch.equal(runs[0].context, runs[2].context)
    assert_close(runs[0].weights.sum(-1), torch.ones(B, HEADS, T).double())


@each_score
def test_derivatives_of_the_layer_are_those_of_its_equation(score):
    module = MultiHeadAttention(4, 2, kv_heads=1, score=score).double()
    x = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    mask = Mask.causal(-1)
    assert torch.autograd.gradcheck(lambda x: module(x, mask=mask).context, x)
    assert torch.autograd.gradgradcheck(lambda x: module(x, mask=mask).context, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@each_score
def test_half_precision_stays_within_what_rounding_explains(score, dtype):
    module, (query, key, value) = layer(score), inputs()
    mask = Mask.lengths(LENGTHS)
    want = module(query, key, value, mask).context
    low = MultiHeadAttention(WIDTH, HEADS, score=score).to(dtype)
    low.load_state_dict(module.state_dict())
    exact = MultiHeadAttention(WIDTH, HEADS, score=score).double()
    exact.load_state_dict(low.state_dict())
    rounded = [t.to(dtype) for t in (query, key, value)]
    want = exact(*(t.double() for t in rounded), mask).context

    out = low(*rounded, mask).context

    # Five matrix products one after another, each of WIDTH terms and rounded as it is stored;
    # an energy's error becomes a relative error of the weights, twice.
    eps = torch.finfo(dtype).eps
    size = want.abs().max().item()
    assert out.dtype == dtype
    assert_close(out.double(), want, atol=5 * WIDTH * eps * max(1.0, size), rtol=0)


def test_the_layer_keeps_no_data():
    module, (query, key, value) = layer(), inputs()
    before = [dict(vars(part)) for part in module.modules()]
    cache = module.extend(query, KeyValueCache.empty())
    module(query, cache=cache, mask=Mask.causal(), need="weights")
    module(query, key, value, Mask.lengths(LENGTHS))
    assert [dict(vars(part)) for part in module.modules()] == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d_model": 10, "heads": 4}, "heads must divide d_model, got d_model=10 and heads=4"),
        ({"d_model": 8, "heads": 0}, "heads must divide d_model"),
        ({"d_model": 8, "heads": 4, "kv_heads": 3}, "kv_heads must divide heads"),
        ({"d_model": 8, "heads": 4, "kv_heads": 0}, "kv_heads must divide heads"),
        ({"d_model": 8, "heads": 4, "score": "doot"}, "unknown score 'doot'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**arguments)


def test_inputs_that_do_not_fit_are_refused():
    module, (query, key, value) = layer(), inputs()
    cache = module.project_key_value(key, value)
    with pytest.raises(ValueError, match=r"query is \[batch, time, 12\], got \[5, 12\]"):
        module(query[0])
    with pytest.raises(ValueError, match=r"key is \[batch, time, 12\], got \[3, 7, 11\]"):
        module(query, key[..., :11])
    with pytest.raises(ValueError, match=r"Mask\.keep.*Mask\.drop"):
        module(query, mask=torch.ones(T, T).bool())
    with pytest.raises(ValueError, match="either key and value, or a cache"):
        module(query, key, cache=cache)
    with pytest.raises(ValueError, match="the cache is empty"):
        module(query, cache=KeyValueCache.empty())
    with pytest.raises(ValueError, match="leading dimensions do not fit"):
        module(query, key[:2], value[:2])
    with pytest.raises(ValueError, match="every key needs a value: 7 keys, 6 values"):
        module(query, key, value[:, :6])
    with pytest.raises(ValueError, match="need is one of"):
        module(query, need="everything")


def test_the_public_name_is_the_layer():
    assert qkv.MultiHeadAttention is MultiHeadAttention
