"""LinearAttention: the calls of Attention, and prepared keys as values."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_oracle import DIM, MAPS, VALUE, B, H, S, make_inputs
from torch.testing import assert_close

import qkv
from qkv import LinearAttention, Mask

LENGTHS = torch.tensor([4, 0])
MASKS = {
    "none": None,
    "lengths": Mask.lengths(LENGTHS),
    "causal": Mask.causal(1),
    "both": Mask.lengths(LENGTHS) & Mask.causal(1),
}
NEEDS = ["context", "weights", "stats"]
CLOSE = {"atol": 1e-12, "rtol": 1e-12}  # see test_attention_linear_state
each_map = pytest.mark.parametrize("name", MAPS)
each_mask = pytest.mark.parametrize("case", MASKS)


def attention(name: str) -> LinearAttention:
    return LinearAttention(features=MAPS[name](DIM), chunk=2).double()


@each_map
@each_mask
@pytest.mark.parametrize("need", NEEDS)
def test_the_module_is_linear_attend_and_prepared_keys_answer_alike(name, case, need):
    module, (query, key, value) = attention(name), make_inputs()
    mask = MASKS[case]
    want = qkv.linear_attend(query, key, value, features=module.features, mask=mask, need=need)
    prepared = module.prepare(key, value, mask=mask)
    for out in (
        module(query, key, value, mask=mask, need=need),
        module.attend(query, prepared, need=need),
    ):
        for mine, theirs in zip(out, want, strict=True):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                assert_close(mine, theirs, **CLOSE)


@each_map
@settings(max_examples=10)
@given(split=st.lists(st.integers(1, 3), min_size=1, max_size=5), seed=st.integers(0, 999))
def test_step_by_step_equals_all_at_once(name, split, seed):
    torch.manual_seed(seed)
    module, (_, key, value) = attention(name), make_inputs()
    query = torch.randn(B, H, sum(split), DIM).double()
    prepared = module.prepare(key, value, mask=Mask.lengths(LENGTHS))
    steps = [module.attend(part, prepared).context for part in query.split(split, -2)]
    assert_close(torch.cat(steps, -2), module.attend(query, prepared).context, **CLOSE)


@each_map
@each_mask
@pytest.mark.parametrize("heads", [(B, H), (B, 1), (1, H)], ids=str)
def test_selecting_batch_items_of_prepared_keys_selects_their_answers(name, case, heads):
    module, (query, key, value) = attention(name), make_inputs()
    rows = torch.tensor([1, 0, 0])
    key = key[: heads[0], : heads[1]]
    prepared = module.prepare(key, value, mask=MASKS[case])
    want = module.attend(query, prepared, need="weights")
    chosen = module.attend(query[rows], prepared.select(rows), need="weights")
    assert_close(chosen.context, want.context[rows], **CLOSE)
    assert_close(chosen.weights, want.weights[rows], **CLOSE)


@each_map
def test_prepared_keys_hide_padding_from_the_gradient_of_the_features(name):
    module, (query, key, value) = attention(name), make_inputs()
    hidden = (torch.arange(S) >= LENGTHS[:, None])[:, None, :, None]

    def run(key, value):
        tensors = [t.clone().requires_grad_() for t in (query, key, value)]
        prepared = module.prepare(*tensors[1:], mask=MASKS["both"])
        out = module.attend(tensors[0], prepared).context
        wanted = tensors + list(module.parameters())
        return out, *torch.autograd.grad(out.square().sum(), wanted)

    clean = run(key, value)
    poisoned = run(key.masked_fill(hidden, torch.nan), value.masked_fill(hidden, torch.inf))
    for mine, theirs in zip(poisoned, clean, strict=True):
        assert torch.equal(mine, theirs)


@each_map
def test_calling_a_module_leaves_no_data_on_it(name):
    module, (query, key, value) = attention(name), make_inputs()

    def everything():
        return [dict(vars(part)) for part in module.modules()]

    before, weights = everything(), copy.deepcopy(module.state_dict())
    module.attend(query, module.prepare(key, value, mask=MASKS["both"]), need="weights")
    first = module(query, key, value, mask=MASKS["causal"]).context
    assert torch.equal(module.eval()(query, key, value, mask=MASKS["causal"]).context, first)
    module.train()
    assert everything() == before
    for entry, tensor in module.state_dict().items():
        assert torch.equal(tensor, weights[entry])


def test_features_by_name_are_built_for_the_width_and_saved():
    module = LinearAttention(features="positive_random", dim=DIM)
    other = LinearAttention(features="positive_random", dim=DIM)
    query, key, value = make_inputs(torch.float32)
    assert not torch.equal(module(query, key, value).context, other(query, key, value).context)
    other.load_state_dict(module.state_dict())
    assert torch.equal(module(query, key, value).context, other(query, key, value).context)
    assert LinearAttention()(query, key, value).context.shape[-1] == VALUE


def test_what_a_module_cannot_take_is_refused():
    with pytest.raises(ValueError, match="say dim="):
        LinearAttention(features="positive_random")
    with pytest.raises(ValueError, match="chunk is a whole number"):
        LinearAttention(chunk=True)
    with pytest.raises(ValueError, match="shared by all queries"):
        LinearAttention().prepare(torch.randn(2, 3, 4), mask=Mask.block(2))
    prepared = LinearAttention().prepare(torch.randn(2, 3, 4))
    with pytest.raises(ValueError, match="leading dimensions do not fit"):
        LinearAttention().attend(torch.randn(3, 3, 4), prepared)
    with pytest.raises(ValueError, match=r"query is torch\.float64 and the keys were summed in"):
        LinearAttention().attend(torch.randn(2, 3, 4).double(), prepared)
