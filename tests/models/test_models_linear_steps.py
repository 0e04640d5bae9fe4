"""A Transformer with linear attention decodes with sums of a fixed size, as it reads at once."""

from __future__ import annotations

import pytest
import torch
from model_cases import TARGET, attention, built, padded, slack, sources, variant
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from qkv.attention.linear.features import FEATURES
from qkv.nn import KeyValueCache, SummedCache
from qkv.text import BOS

SIZES = (5, 1, 4)
each_map = pytest.mark.parametrize("features", FEATURES)


def model_of(features: str, **more):
    chosen = attention(score="scaled_dot", features=features)
    return built(variant("transformer", decoder_attention=chosen, **more))


def remembered(past: KeyValueCache | SummedCache) -> list[Tensor]:
    """All tensors that a cache holds."""
    if isinstance(past, KeyValueCache):
        return list(past.state_dict().values())
    return [*past.state.state_dict().values(), *past.rows.state_dict().values()]


class Work(TorchDispatchMode):
    """Count the numbers that the operations of a step give."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.numbers += sum(
            part.numel() for part in torch.utils._pytree.tree_leaves(out) if torch.is_tensor(part)
        )
        return out


@each_map
def test_a_step_computes_as_much_after_a_hundred_tokens_as_after_three(features):
    model = model_of(features)
    state, tokens = model.start(*padded(sources(SIZES))), torch.full((3, 1), BOS)
    work, kept = [], []
    with torch.no_grad():
        for _ in range(101):
            with Work() as counted:
                state = model.step(tokens, state).state
            work.append(counted.numbers)
            kept.append([tensor.shape for past in state.past for tensor in remembered(past)])
    assert len(set(work[2:])) == 1
    assert all(sizes == kept[2] for sizes in kept[2:])


@each_map
@pytest.mark.parametrize("more", [{}, {"kv_heads": 1}], ids=str)
def test_any_split_of_the_target_gives_what_reading_it_at_once_gives(features, more):
    model, ids = model_of(features, **more), padded(sources(SIZES))
    target = torch.randint(4, TARGET, (3, 11))
    whole = model.force(*ids, target).features
    for split in ([1] * 11, [4, 1, 6], [1, 10], [3, 3, 5]):
        state, found = model.start(*ids), []
        for tokens in target.split(split, 1):
            read, _, past = model._decode(tokens, state, need_attention=False)
            state = type(state)(past, state.sources, state.mask, 1)
            found.append(read)
        assert_close(torch.cat(found, 1), whole, **slack())


@each_map
def test_training_asks_for_no_sums(features):
    """What is read at once leaves its rows, and gradients are those of the whole."""
    model = model_of(features)
    *_, past = model._decode(
        torch.randint(4, TARGET, (3, 7)),
        model.start(*padded(sources(SIZES))),
        need_attention=False,
    )
    assert all(isinstance(one, SummedCache) and one.rows.length == 7 for one in past)
    assert all(one.state.sums.count_nonzero() == 0 for one in past)


def test_any_other_attention_remembers_its_keys():
    state = built(variant("transformer")).start(*padded(sources(SIZES)))
    assert all(isinstance(past, KeyValueCache) for past in state.past)


@each_map
def test_gradients_reach_through_the_steps(features):
    """The derivative of the last step's features, by steps and at once."""
    model, ids = model_of(features), padded(sources(SIZES))
    target, found = torch.randint(4, TARGET, (3, 5)), []
    parameters: list[Tensor] = list(model.parameters())
    for split in ([5], [1] * 5):
        state = model.start(*ids)
        for tokens in target.split(split, 1):
            read, _, past = model._decode(tokens, state, need_attention=False)
            state = type(state)(past, state.sources, state.mask, 1)
        grads = torch.autograd.grad(read[:, -1].square().sum(), parameters, allow_unused=True)
        found.append([torch.zeros(1) if one is None else one for one in grads])
    for one, other in zip(*found, strict=True):
        assert_close(one, other, **slack())
