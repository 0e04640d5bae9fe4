"""Single heads of a layer: what each adds, how much it counts, and the layer without some."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from qkv import Attention, LinearAttention, Mask, MultiHeadAttention, biases, normalizers
from qkv.attention.local import LocalP
from qkv.attention.normalizers import NORMALIZERS
from qkv.attention.rotary import Rotary
from qkv.attention.scores import SCORES, Cosine
from qkv.nn import KeyValueCache, head_importance

B, T, S, WIDTH, HEADS, HEAD = 3, 5, 7, 12, 6, 2
LENGTHS = torch.tensor([7, 2, 4])
each_score = pytest.mark.parametrize("score", SCORES)
TOLERANCE = {
    "atol": 1e-13,
    "rtol": 0,
}  # sums of at most 12 terms of size 10 or less: 12 * 10 * eps


def layer(score: str = "scaled_dot", **sizes) -> MultiHeadAttention:
    built = MultiHeadAttention(WIDTH, HEADS, score=score, **sizes).double()
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.4)
    return built.eval()


def inputs(key_dim: int = WIDTH, value_dim: int = WIDTH):
    return [torch.randn(B, n, w).double() for n, w in ((T, WIDTH), (S, key_dim), (S, value_dim))]


def with_contexts_zeroed(module: MultiHeadAttention, heads, *given, **named):
    """The old layer, with zeros where these heads' contexts enter its last projection."""

    def zero(_, arguments):
        contexts = arguments[0].clone()
        for h in heads:
            contexts[..., h * module.head_dim : (h + 1) * module.head_dim] = 0
        return (contexts,)

    hook = module.project_context.register_forward_pre_hook(zero)
    try:
        return module(*given, **named)
    finally:
        hook.remove()


@each_score
@pytest.mark.parametrize("kv_heads", [6, 3, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_what_the_heads_add_and_the_bias_are_the_output(score, kv_heads, bias):
    module, given = layer(score, kv_heads=kv_heads, bias=bias), inputs()
    mask = Mask.lengths(LENGTHS) & Mask.causal(1)
    added = module.by_head(*given, mask)
    assert added.shape == (B, HEADS, T, WIDTH)
    summed = added.sum(1) + (module.project_context.bias if bias else 0)
    assert_close(summed, module(*given, mask).context, **TOLERANCE)


def test_what_a_head_adds_is_its_context_through_its_rows_alone():
    module, given = layer(), inputs()
    added = module.by_head(*given)
    for h in range(HEADS):
        others = set(range(HEADS)) - {h}
        alone = with_contexts_zeroed(module, others, *given).context
        assert_close(added[:, h], alone - module.project_context.bias, **TOLERANCE)


def test_a_query_that_may_meet_nothing_adds_nothing():
    module, given = layer(), inputs()
    mask = Mask.lengths(torch.tensor([7, 0, 4])) & Mask.causal(-1)
    dead = ~mask.dense(T, S).any(-1)
    added = module.by_head(*given, mask)
    assert not added.transpose(1, 2)[dead].any()


def test_a_cache_is_read_head_by_head_as_well():
    module, (x, _, _) = layer(), inputs()
    whole = module.by_head(x, mask=Mask.causal())
    cache = module.extend(x, KeyValueCache.empty())
    last = module.by_head(x[:, -1:], cache=cache, mask=Mask.causal(T - 1))
    assert_close(last, whole[:, :, -1:], **TOLERANCE)


@each_score
@pytest.mark.parametrize(
    ("kv_heads", "left_out", "kv_left"),
    [
        (6, [0], 5),
        (6, [5, 1, 3], 3),
        (3, [2, 3], 2),  # a whole group
        (3, [0, 3, 5], 3),  # one of each group
        (3, [4], 5),  # one group is smaller now: no two heads share any more
        (2, [0], 5),
        (2, [1, 2, 4], 3),  # 1 and 2 of 3 left
        (1, [2, 4], 1),
        (2, [], 2),
    ],
)
def test_a_layer_without_heads_is_the_layer_with_their_contexts_zeroed(
    score, kv_heads, left_out, kv_left
):
    module = layer(score, kv_heads=kv_heads, key_dim=5, value_dim=11)
    given, mask = inputs(5, 11), Mask.lengths(LENGTHS)

    smaller = module.without(left_out)

    kept = [h for h in range(HEADS) if h not in left_out]
    assert (smaller.heads, smaller.kv_heads, smaller.head_dim) == (len(kept), kv_left, HEAD)
    out = smaller(*given, mask, "weights")
    want = with_contexts_zeroed(module, left_out, *given, mask, "weights")
    assert_close(out.context, want.context, **TOLERANCE)
    assert_close(out.weights, want.weights[:, kept], **TOLERANCE)


@pytest.mark.parametrize("bias", biases.BIASES)
@pytest.mark.parametrize("normalizer", [*NORMALIZERS])
def test_what_other_parts_have_for_each_head_goes_with_the_head(bias, normalizer):
    attention = Attention(
        score="dot",
        bias=biases.build(bias, heads=HEADS),
        normalizer=normalizers.build(normalizer, heads=HEADS),
        rotary=Rotary(HEAD),
    )
    module, (x, _, _) = layer(attention=attention), inputs()
    want = with_contexts_zeroed(module, [1, 4], x, mask=Mask.causal(), need="weights")
    out = module.without([1, 4])(x, mask=Mask.causal(), need="weights")
    assert_close(out.context, want.context, **TOLERANCE)
    assert_close(out.weights, want.weights[:, [0, 2, 3, 5]], **TOLERANCE)


@pytest.mark.parametrize("shape", [(HEADS, T, S), (B, HEADS, T, S), (1, T, S), (T, S)])
@pytest.mark.parametrize("learned", [True, False])
def test_a_tensor_added_to_the_energies_follows(shape, learned):
    bias = torch.randn(shape).double()
    bias = nn.Parameter(bias, requires_grad=False) if learned else bias
    module, given = layer(attention=Attention(bias=bias)), inputs()
    smaller = module.without({0, 3})
    want = with_contexts_zeroed(module, [0, 3], *given).context
    assert_close(smaller(*given).context, want, **TOLERANCE)
    assert smaller.state_dict().keys() == module.state_dict().keys()
    assert isinstance(smaller.attention.bias, nn.Parameter) == learned
    assert not smaller.attention.bias.requires_grad


@pytest.mark.parametrize("attention", ["local", "elu", "positive_random", "shared_alpha"])
def test_what_the_heads_share_stays(attention):
    built = {
        "local": lambda: Attention(local=LocalP(HEAD, 2)),
        "elu": lambda: LinearAttention(features="elu", dim=HEAD),
        "positive_random": lambda: LinearAttention(features="positive_random", dim=HEAD),
        "shared_alpha": lambda: Attention(normalizer=normalizers.LearnedEntmax()),
    }[attention]()
    module, given = layer(attention=built), inputs()
    want = with_contexts_zeroed(module, [2], *given).context
    assert_close(module.without([2])(*given).context, want, **TOLERANCE)


def test_the_smaller_layer_is_a_copy_in_the_same_state():
    """Its own parameters, dtype, training, what is frozen; and no random number is drawn."""
    module = MultiHeadAttention(WIDTH, HEADS, kv_heads=3, dropout=0.5).to(torch.bfloat16)
    module.project_key.weight.requires_grad_(False)
    before, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    smaller = module.without([0])
    assert torch.equal(torch.get_rng_state(), random)
    assert smaller.training
    assert smaller.attention.training
    assert smaller.attention.dropout == 0.5
    assert not smaller.project_key.weight.requires_grad
    assert smaller.project_query.weight.requires_grad
    for parameter in smaller.parameters():
        assert parameter.dtype == torch.bfloat16
        assert parameter.device.type == "cpu"
        with torch.no_grad():
            parameter.zero_()
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not module.eval().without([1]).training


def test_heads_can_be_left_out_again_and_weights_saved_and_loaded():
    module, given = layer(kv_heads=3), inputs()
    want = with_contexts_zeroed(module, [0, 1, 4], *given).context
    twice = module.without([0, 1]).without([2])  # the third of those left is head 4
    assert_close(twice(*given).context, want, **TOLERANCE)
    fresh = MultiHeadAttention(
        WIDTH, twice.heads, kv_heads=twice.kv_heads, head_dim=twice.head_dim
    ).double()
    fresh.load_state_dict(twice.state_dict())
    assert torch.equal(fresh(*given).context, twice(*given).context)


def test_slopes_that_no_formula_gives_are_saved_with_the_weights():
    module = layer(attention=Attention(bias=biases.ALiBi(HEADS)))
    smaller = module.without([0])
    assert_close(smaller.state_dict()["attention.bias.slopes"], module.attention.bias.slopes[1:])
    fresh = layer(attention=Attention(bias=biases.ALiBi(HEADS))).without([5])
    fresh.load_state_dict(smaller.state_dict())
    assert_close(fresh.attention.bias.slopes, smaller.attention.bias.slopes)


def test_what_cannot_be_left_out_is_refused():
    module = layer()
    with pytest.raises(ValueError, match="all 6 heads would be left out"):
        module.without(range(6))
    with pytest.raises(ValueError, match=r"heads 0 to 5, got \[-1, 6\]"):
        module.without([6, 0, -1])
    with pytest.raises(ValueError, match="Cosine has a beta for each query"):
        layer(Cosine(torch.ones(B, HEADS, T, 1).double())).without([0])
    with pytest.raises(ValueError, match="reweighter function may hold numbers for each head"):
        layer(attention=Attention(reweighter=lambda weights: weights)).without([0])


def test_the_width_of_a_head_may_be_given():
    module = MultiHeadAttention(7, 3, head_dim=5).double()
    assert module(torch.randn(2, 4, 7).double()).context.shape == (2, 4, 7)
    with pytest.raises(ValueError, match="head_dim is 1 or more"):
        MultiHeadAttention(7, 3, head_dim=0)


@pytest.mark.parametrize("heads", [2, 5])
def test_a_mask_of_other_heads_is_refused(heads):
    module, given = layer(), inputs()
    masks = [Mask.window(h, 0) for h in range(heads)]
    with pytest.raises(ValueError, match=f"the mask is for {heads} heads, the layer has 6"):
        module(*given, Mask.per_head(masks))
    with pytest.raises(ValueError, match=f"the mask is for {heads} heads, the layer has 1"):
        MultiHeadAttention(WIDTH, 1).double()(*given, Mask.per_head(masks))


@pytest.mark.parametrize("kv_heads", [6, 2])
def test_each_head_of_the_layer_follows_its_own_mask(kv_heads):
    module, given = layer(kv_heads=kv_heads), inputs()
    masks = [Mask.window(h, 1) & Mask.lengths(LENGTHS) for h in range(HEADS)]
    out = module.by_head(*given, Mask.per_head(masks))
    for h, mask in enumerate(masks):
        assert_close(out[:, h], module.by_head(*given, mask)[:, h], **TOLERANCE)


class TwoLayers(nn.Module):
    """Self-attention, twice through one layer, then across."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.across, self.unused = layer(kv_heads=2), layer("additive"), layer()

    def forward(self, query, memory, lengths, factors=None):
        """factors: for each layer [batch, heads], on what each head adds."""
        for _ in range(2):
            query = query + self.out(self.own, "own", (query, None, None), None, factors)
        mask = Mask.lengths(lengths)
        return self.out(self.across, "across", (query, memory, memory), mask, factors)

    def out(self, module, name, given, mask, factors):
        if factors is None:
            return module(*given, mask).context
        added = module.by_head(*given, mask) * factors[name][:, :, None, None]
        return added.sum(1) + module.project_context.bias


def test_importance_is_the_mean_size_of_the_derivative_by_a_factor_on_each_head():
    """Item by item, by finite differences of a sum that is written with by_head()."""
    model = TwoLayers()
    query, memory, _ = inputs()
    want = {name: torch.zeros(HEADS).double() for name in ("own", "across", "unused")}

    def loss_of(b: int, name: str = "own", head: int = 0, step: float = 0.0) -> float:
        factors = {n: torch.ones(1, HEADS).double() for n in want}
        factors[name][0, head] += step
        with torch.no_grad():
            item = slice(b, b + 1)
            out = model(query[item], memory[item], LENGTHS[item], factors)
        return out.square().sum().item()

    step = 1e-5
    for name, total in want.items():
        for h in range(HEADS):
            for b in range(B):
                rise = loss_of(b, name, h, step) - loss_of(b, name, h, -step)
                total[h] += abs(rise / (2 * step)) / B

    found = head_importance(model, lambda: model(query, memory, LENGTHS).square().sum())

    assert found.keys() == want.keys()
    for name, importance in want.items():
        # A central difference errs by step^2 times the third derivative, and by eps / step.
        assert_close(found[name], importance, rtol=1e-6, atol=1e-6)
    assert found["own"].all()
    assert not found["unused"].any()


def test_importance_is_the_context_times_its_gradient_as_in_the_paper():
    module, given = layer(), inputs()
    contexts = []
    hook = module.project_context.register_forward_pre_hook(
        lambda _, arguments: contexts.append(arguments[0])
    )
    loss = module(*given).context.sin().sum()
    hook.remove()
    (gradient,) = torch.autograd.grad(loss, contexts)
    inner = (contexts[0] * gradient).unflatten(-1, (HEADS, HEAD)).sum((1, 3))
    found = head_importance(module, lambda: module(*given).context.sin().sum())
    assert_close(found[""], inner.abs().mean(0), **TOLERANCE)


def test_importance_leaves_the_model_as_it_was_and_needs_no_trainable_parameter():
    model, (query, memory, _) = TwoLayers().requires_grad_(False), inputs()
    before, random = model(query, memory, LENGTHS), torch.get_rng_state()
    with torch.no_grad():
        head_importance(model, lambda: model(query, memory, LENGTHS).square().sum())
    assert torch.equal(model(query, memory, LENGTHS), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())

    def fails():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        head_importance(model, fails)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_importance_of_what_has_no_heads_or_no_loss_is_refused():
    module, given = layer(), inputs()
    with pytest.raises(ValueError, match="Linear holds no MultiHeadAttention"):
        head_importance(nn.Linear(2, 2), lambda: torch.zeros(()))
    with pytest.raises(ValueError, match=r"one differentiable number, got \[3, 5, 12\]"):
        head_importance(module, lambda: module(*given).context)
    with pytest.raises(ValueError, match="without a gradient"):
        head_importance(module, lambda: torch.zeros(()))
