"""Rotary positions, against the paper's rotation matrix and its one property."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import qkv
from qkv import Rotary


def matrix(position: int, dim: int, base: float = 10000.0) -> torch.Tensor:
    """R of eq. 15, entry by entry."""
    rotation = torch.zeros(dim, dim, dtype=torch.float64)
    for i in range(dim // 2):
        angle = position * base ** (-2 * i / dim)
        a, b = 2 * i, 2 * i + 1
        rotation[a, a] = rotation[b, b] = math.cos(angle)
        rotation[a, b], rotation[b, a] = -math.sin(angle), math.sin(angle)
    return rotation


@pytest.mark.parametrize(("dim", "base"), [(2, 10000.0), (6, 10000.0), (10, 500.0)])
def test_each_row_is_multiplied_by_the_papers_rotation_matrix(dim, base):
    x, rotary = torch.randn(2, 3, 5, dim).double(), Rotary(dim, base)
    for positions, places in (
        (0, range(5)),
        (11, range(11, 16)),
        (torch.tensor([7, 0, 3, 3, 1000]), [7, 0, 3, 3, 1000]),
    ):
        out = rotary(x, positions)
        for i, m in enumerate(places):
            assert_close(out[..., i, :], x[..., i, :] @ matrix(m, dim, base).mT)


@given(m=st.integers(0, 2000), n=st.integers(0, 2000), shift=st.integers(0, 100_000))
def test_a_dot_product_knows_only_how_far_apart_the_two_stand(m, n, shift):
    query, key, rotary = (
        torch.ones(1, 6).double(),
        torch.linspace(-1, 1, 6).double()[None],
        Rotary(6),
    )

    def product(m, n):
        return (rotary(query, m) * rotary(key, n)).sum()

    # An angle of up to 102 000 is off by u times itself, and so is each of 3 pairs' products.
    atol = 3 * 2 * 4 * 102_000 * 2.3e-16
    assert_close(product(m + shift, n + shift), product(m, n), atol=atol, rtol=0)


def test_norms_are_kept():
    x = torch.randn(3, 7, 8).double()
    # Each of 8 numbers is a sum of two products: 3 roundings.
    assert_close(Rotary(8)(x, 5).norm(dim=-1), x.norm(dim=-1), atol=8 * 3 * 2.3e-16 * 8, rtol=0)


def test_the_layout_of_llama_differs_by_a_permutation_of_dimensions():
    """Its code pairs x_i with x_{i + dim/2}; ours pairs neighbours, as the paper does."""
    llama = pytest.importorskip("transformers.models.llama.modeling_llama", reason="no peer here")
    from transformers import LlamaConfig

    dim, time = 8, 5
    config = LlamaConfig(hidden_size=dim, num_attention_heads=1, num_key_value_heads=1)
    x = torch.randn(1, 1, time, dim)
    cos, sin = llama.LlamaRotaryEmbedding(config)(x, torch.arange(time)[None])
    order = torch.arange(dim).view(2, -1).mT.flatten()  # 0 4 1 5 2 6 3 7: halves become pairs
    theirs, _ = llama.apply_rotary_pos_emb(x, x, cos, sin)
    # Their angles, below 5, are float32: 5 u, on two products of numbers below 4.
    atol = 2 * 4 * 8 * 1.2e-7
    assert_close(Rotary(dim)(x[..., order]), theirs[..., order], atol=atol, rtol=0)
    assert not torch.equal(Rotary(dim)(x)[..., 1:, :], theirs[..., 1:, :])


def test_half_precision_is_rotated_in_float32_however_far_the_position():
    x = torch.randn(2, 31, 4)
    for dtype in (torch.float16, torch.bfloat16):
        rounded = x.to(dtype)
        out = Rotary(4)(rounded, 60_000)
        want = Rotary(4)(rounded.double(), 60_000)
        assert out.dtype == dtype
        # Two products and a sum in float32, and one rounding to what is stored.
        atol = 2 * 3 * 1.2e-7 * x.abs().max().item()
        assert_close(out.double(), want, atol=atol, rtol=0.51 * torch.finfo(dtype).eps)


def test_rotation_is_differentiable_and_later_rows_of_a_cache_are_rotated_alike():
    x = torch.randn(2, 5, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(Rotary(4), (x,))
    whole = Rotary(4)(x)
    steps = [Rotary(4)(x[:, i : i + 1], i) for i in range(5)]
    assert torch.equal(torch.cat(steps, 1), whole)
    assert qkv.attend(whole, whole, x, mask=qkv.Mask.causal()).context.shape == (2, 5, 4)
    assert list(Rotary(4).state_dict()) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: Rotary(5), "pairs of dimensions, so dim is even, got 5: choose 6"),
        (lambda x: Rotary(0), "got 0: choose 2"),
        (lambda x: Rotary(4, 0.0), "above 0, got 0.0"),
        (lambda x: Rotary(6)(x), r"Rotary\(6\) rotates \[..., time, 6\], got \[2, 3, 4\]"),
        (lambda x: Rotary(4)(x, torch.arange(2)), "one integer for each of 3 rows"),
        (lambda x: Rotary(4)(x, torch.zeros(3)), r"got torch\.float32 \[3\]"),
    ],
)
def test_what_cannot_be_rotated_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.randn(2, 3, 4))
