"""The recurrent form, and what the chunked form holds in memory."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_oracle import COUNT, DIM, MAPS, VALUE, B, H, S, T, make_inputs
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import qkv
from qkv import LinearState, Mask

each_map = pytest.mark.parametrize("name", MAPS)


def fresh(features, **more) -> LinearState:
    sizes = {"key_dim": DIM, "value_dim": VALUE, "dtype": torch.float64}
    return LinearState.empty(features, **(sizes | more))


# Two orders of the same positive sums: each rounds fewer than m + S + d E times (linear_oracle).
CLOSE = {"atol": 1e-12, "rtol": 1e-12}


@each_map
@settings(max_examples=15)
@given(split=st.lists(st.integers(1, 4), min_size=1, max_size=6), seed=st.integers(0, 999))
def test_recurrent_decoding_equals_the_chunked_pass_for_any_split(name, split, seed):
    """Blocks of any length are appended, and their last position asks; and every single step."""
    torch.manual_seed(seed)
    features, total = MAPS[name](DIM).double(), sum(split)
    query, key, value = (torch.randn(B, H, total, d).double() for d in (DIM, DIM, VALUE))
    slots = {"features": features, "mask": Mask.causal(), "need": "stats", "chunk": 3}
    want = qkv.linear_attend(query, key, value, **slots)
    for sizes in (split, [1] * total):
        state, end = fresh(features), 0
        parts = zip(key.split(sizes, -2), value.split(sizes, -2), strict=True)
        for k, v in parts:
            state, end = state.append(k, v), end + k.shape[-2]
            out = state.read(query[:, :, end - 1 : end], need="stats")
            assert_close(out.context, want.context[:, :, end - 1 : end], **CLOSE)
            logs = want.log_normalizer[:, :, end - 1 : end]
            assert_close(out.log_normalizer, logs, **CLOSE)


@each_map
def test_gradients_through_steps_are_those_of_the_chunked_pass(name):
    features = MAPS[name](DIM).double()
    tensors = [torch.randn(B, H, T, d).double().requires_grad_() for d in (DIM, DIM, VALUE)]
    query, key, value = tensors
    wanted = [*tensors, *features.parameters()]
    weight = torch.randn(B, H, T, VALUE).double()

    state, rows = fresh(features), []
    for i in range(T):
        state = state.append(key[:, :, i : i + 1], value[:, :, i : i + 1])
        rows.append(state.read(query[:, :, i : i + 1]).context)
    steps = torch.autograd.grad((torch.cat(rows, -2) * weight).sum(), wanted)

    out = qkv.linear_attend(*tensors, features=features, mask=Mask.causal(), chunk=2).context
    for mine, theirs in zip(steps, torch.autograd.grad((out * weight).sum(), wanted), strict=True):
        assert_close(mine, theirs, **CLOSE)


@each_map
def test_a_padded_prompt_then_steps_equals_the_sentences_one_by_one(name):
    features, (query, key, value) = MAPS[name](DIM).double(), make_inputs()
    lengths = torch.tensor([S, 3])
    poisoned = key.clone()
    poisoned[1, :, 3:] = math.nan
    state = fresh(features).append(poisoned, value, mask=Mask.lengths(lengths))
    state = state.append(query, torch.ones(B, H, T, VALUE).double())
    for b, n in enumerate(lengths):
        keys = torch.cat([key[b, :, :n], query[b]], -2)
        values = torch.cat([value[b, :, :n], torch.ones(H, T, VALUE).double()], -2)
        want = qkv.linear_attend(query[b], keys, values, features=features).context
        assert_close(state.read(query).context[b], want, **CLOSE)


@each_map
def test_a_state_keeps_its_size_is_a_value_and_goes_through_a_file(name, tmp_path):
    from safetensors.torch import load_file, save_file

    features, (query, key, value) = MAPS[name](DIM).double(), make_inputs()
    empty = fresh(features, leading=(B, H))
    once = empty.append(key, value)
    before = {name: tensor.clone() for name, tensor in once.state_dict().items()}
    twice = once.append(key + 1, value)
    for name_, tensor in once.state_dict().items():
        assert torch.equal(tensor, before[name_])
        assert tensor.shape == empty.state_dict()[name_].shape == twice.state_dict()[name_].shape
    save_file(once.state_dict(), tmp_path / "state.safetensors")
    again = LinearState.from_state_dict(features, load_file(tmp_path / "state.safetensors"))
    assert torch.equal(again.read(query).context, once.read(query).context)
    rows = torch.tensor([1, 0, 0])
    chosen = once.select(rows).append(key[rows], value[rows]).read(query[rows]).context
    assert_close(chosen, once.append(key, value).read(query).context[rows], **CLOSE)


def test_nothing_appended_reads_zeros_even_for_a_nan_and_has_no_gradient():
    for mask in (None, Mask.lengths(torch.zeros(B, dtype=torch.long))):
        state = fresh(MAPS["elu"](DIM), leading=(B, H))
        query, key, value = make_inputs()
        if mask is not None:
            state = state.append(key, value, mask=mask)
        query = query.fill_(math.nan).requires_grad_()
        out = state.read(query, need="stats")
        assert not out.context.any() and out.log_normalizer.isneginf().all()
        assert not torch.autograd.grad(out.context.sum(), query)[0].any()


def test_half_precision_is_summed_in_float32():
    """Ones are added until their sum is beyond what float16 counts: 2048 + 1 is 2048 there."""
    features = MAPS["elu"](1)
    ones = torch.zeros(4096, 1).half()  # elu(0) + 1 = 1
    value = torch.cat([torch.zeros(3072, 1), torch.ones(1024, 1)]).half()
    state = LinearState.empty(features, key_dim=1, value_dim=1, dtype=torch.float16)
    for k, v in zip(ones.split(1), value.split(1), strict=True):
        state = state.append(k, v)
    out = state.read(ones[:1], need="stats")
    assert out.context.dtype == torch.float16
    assert out.context.item() == 0.25  # exact: sums of ones
    assert_close(out.log_normalizer.item(), math.log(4096), atol=4 * 1.2e-7 * 9, rtol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, k: s.append(k, mask=Mask.causal()), r"takes no Mask\.causal\(\): append"),
        (lambda s, k: s.append(k, mask=Mask.window(1, 1)), "shared by all queries"),
        (lambda s, k: s.read(k, need="weights"), "it keeps sums, not keys"),
        (lambda s, k: s.append(k, k[..., :5]), "values of width 11, got 5"),
        (lambda s, k: s.append(k[..., :5]), "holds 11 features a key, but rows of width 5 have 5"),
        (lambda s, k: s.append(k.double()), r"sums in torch\.float32, got rows of torch\.float64"),
        (lambda s, k: s.read(k.double()), "convert them"),
        (lambda s, k: s.append(k, k[:, :, 1:]), "every key needs a value"),
        (lambda s, k: s.append(k).append(k[:, :2]), r"batch and heads \[2, 3\], got rows \[2, 2"),
        (lambda s, k: s.append(k).read(k[:, :2]), "before .* equal or 1"),
        (lambda s, k: s.append(k, mask=Mask.lengths(torch.ones(3).long())), "do not fit"),
        (lambda s, k: s.read(k[0, 0, 0]), "query is"),
    ],
)
def test_what_a_state_cannot_take_is_refused(call, message):
    state = LinearState.empty(MAPS["elu"](DIM), key_dim=DIM, value_dim=DIM)
    with pytest.raises(ValueError, match=message):
        call(state, torch.randn(B, H, 3, DIM))


class Largest(TorchDispatchMode):
    """The largest tensor that any operation writes, forward and backward."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = out if isinstance(out, tuple | list) else [out]
        written = [t for t in tensors if isinstance(t, torch.Tensor) and not t._is_view()]
        self.numbers = max([self.numbers, *(t.numel() for t in written)])
        return out


def held(length: int, mask: Mask | None, chunk: int) -> tuple[int, int]:
    """The largest tensor of a training step, and all numbers that wait for the backward pass."""
    features = MAPS["positive_random"](DIM)
    tensors = [torch.randn(1, 1, length, DIM, requires_grad=True) for _ in range(3)]
    waiting: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        waiting[storage.data_ptr()] = storage.nbytes() // 4
        return tensor

    with Largest() as largest, torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        out = qkv.linear_attend(*tensors, features=features, mask=mask, chunk=chunk).context
        out.sum().backward()
    return largest.numbers, sum(waiting.values())


@pytest.mark.parametrize("mask", [None, Mask.causal(), Mask.causal(100)], ids=repr)
def test_no_tensor_is_quadratic_and_what_waits_for_backward_is_linear(mask):
    """Nothing larger than one [T, features + 1] matrix, a hundredth of [T, T]; twice the length
    holds twice as much.
    """
    length, chunk = 1500, 16
    largest, waiting = held(length, mask, chunk)
    assert largest <= length * (COUNT + 1)
    # features and rows: T each of a few widths; chunk: T C pairs and T / C states, twice each
    per_position = 8 * (COUNT + DIM) + 4 * chunk + 4 * COUNT * (DIM + 1) / chunk
    assert waiting <= length * per_position
    assert held(2 * length, mask, chunk)[1] <= 2.1 * waiting
