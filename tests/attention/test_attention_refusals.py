"""What a caller of attend() can get wrong and what it says then; and what its help says."""

from __future__ import annotations

import re
from importlib import import_module

import numpy as np
import pytest
import torch

import qkv
from qkv.attention.checks import _NEEDS
from qkv.attention.kernels import KERNELS
from qkv.attention.normalizers import NORMALIZERS
from qkv.attention.scores import SCORES
from qkv.nn import MultiHeadAttention
from qkv.nn.cache import KeyValueCache

X = torch.randn(2, 3, 5)
CALLS = {
    "attend": qkv.attend,
    "plan": qkv.plan,
    "module": qkv.Attention(),
    "linear": qkv.linear_attend,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (X.tolist(), "is a list; attention takes tensors"),
        (X.numpy(), "is a numpy.ndarray; attention takes tensors"),
        (X.long(), "is torch.int64; attention takes floating-point numbers"),
        (X > 0, "is torch.bool; attention takes floating-point numbers"),
    ],
)
def test_what_is_no_tensor_of_numbers_is_refused_by_its_name(call, place, given, said):
    inputs = [X, X, X]
    inputs[place] = given
    with pytest.raises(ValueError, match=f"^{['query', 'key', 'value'][place]} {said}"):
        call(*inputs)


def test_ids_are_refused_when_they_are_all_that_is_given():
    ids = torch.tensor([[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="embed the ids"):
        qkv.attend(ids, ids)


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        (
            {"score": qkv.scores.Additive},
            r"score is the class Additive itself.*Additive\(\.\.",
        ),
        ({"normalizer": qkv.normalizers.Entmax}, "normalizer is the class Entmax itself"),
        ({"reweighter": qkv.reweighters.Gaussian}, "reweighter is the class Gaussian itself"),
        ({"score": 3}, r"score is a name, or an object of qkv\.scores, got a int"),
        ({"normalizer": torch.softmax}, r"normalizer is a name, or an object of qkv\.normalizers"),
    ],
)
def test_a_class_in_the_place_of_an_object_is_refused_with_what_to_write(slots, said):
    for call in (qkv.attend, qkv.plan):
        with pytest.raises(ValueError, match=said):
            call(X, X, **slots)
    with pytest.raises(ValueError, match=said):
        qkv.Attention(**slots)


LENGTHS = qkv.Mask.lengths(torch.tensor([3, 4]))


@pytest.mark.parametrize(
    "mask",
    [LENGTHS, LENGTHS & qkv.Mask.causal(), qkv.Mask.causal() | LENGTHS, ~LENGTHS],
    ids=["alone", "and", "or", "not"],
)
def test_lengths_of_more_keys_than_there_are_are_refused_with_the_batch_item(mask):
    said = "says 4 keys for batch item 1, but there are 3 keys"
    for call in (qkv.attend, qkv.plan, qkv.Attention()):
        with pytest.raises(ValueError, match=said):
            call(X, X, mask=mask)
    with pytest.raises(ValueError, match=said):
        qkv.Attention().prepare(X, mask=mask)
    assert qkv.attend(X, torch.randn(2, 4, 5), mask=mask).context.isfinite().all()


def test_linear_attention_refuses_them_too():
    with pytest.raises(ValueError, match="says 4 keys for batch item 1"):
        qkv.linear_attend(X, X, mask=LENGTHS)


def test_a_cache_may_still_grow_to_the_lengths_of_its_mask():
    """A decoder may know how long each item becomes before all of its keys are there."""
    torch.manual_seed(1)
    layer = MultiHeadAttention(6, heads=2).eval()
    inputs = torch.randn(2, 4, 6)
    whole = layer(inputs, mask=LENGTHS & qkv.Mask.causal()).context
    cache, steps = KeyValueCache.empty(), []
    for i in range(4):
        step = inputs[:, i : i + 1]
        cache = layer.extend(step, cache)
        steps.append(layer(step, cache=cache, mask=LENGTHS).context)
    # Sums of 6 terms of about 1, twice (a projection on each side of the attention).
    found = torch.cat(steps, 1)
    torch.testing.assert_close(found, whole, rtol=0, atol=12 * 2 * torch.finfo(found.dtype).eps)


def test_the_help_of_attend_has_every_name_that_it_takes():
    text = qkv.attend.__doc__
    for registry, package in ((SCORES, "scores"), (NORMALIZERS, "normalizers")):
        for name, home in registry.items():
            module, _, class_name = home.partition(":")
            if getattr(import_module(module), class_name).has_parameters:
                assert re.search(rf"\b{class_name}\b", text), (package, name)
            else:
                assert f'"{name}"' in text, (package, name)
    for name in (*_NEEDS, "auto", *KERNELS):
        assert f'"{name}"' in text, name
    registered = {*SCORES, *NORMALIZERS, *_NEEDS, "auto", *KERNELS}
    assert set(re.findall(r'"(\w+)"', text)) <= registered


def test_the_example_in_the_help_of_attend_runs():
    lines = re.findall(r"^ {8}(\w.* = .*)$", qkv.attend.__doc__, re.MULTILINE)
    assert len(lines) == 3
    names = {"torch": torch, "qkv": qkv}
    exec("\n".join(lines), names)
    rows = names["weights"].sum(-1)
    torch.testing.assert_close(rows, torch.ones(2, 3), rtol=0, atol=5 * 2**-23)  # 5 terms
    assert np.count_nonzero(names["weights"][1, :, 2:]) == 0
