"""What linear attention refuses, and what it says."""

from __future__ import annotations

import pytest
import torch
from linear_oracle import DIM, MAPS, B, H, S, T, make_inputs

import qkv
from qkv import Mask

LENGTHS = torch.tensor([4, 0])


@pytest.mark.parametrize(
    "mask",
    [
        Mask.window(2, 1),
        Mask.keep(torch.ones(T, S).bool().tril()),
        Mask.causal() | Mask.lengths(LENGTHS),
        ~Mask.causal(),
        Mask.lengths(LENGTHS) & Mask.window(2, 1) & Mask.causal(),
    ],
    ids=repr,
)
def test_any_other_mask_is_refused_with_the_reason_and_what_to_do(mask):
    message = r"its sum over keys is shared by all queries.*qkv\.attend\(query, key, value, mask="
    with pytest.raises(ValueError, match=message):
        qkv.linear_attend(*make_inputs(), mask=mask)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": torch.ones(B, S).bool()}, r"Mask\.keep\(t\).*Mask\.drop\(t\)"),
        ({"features": "elo"}, "unknown features 'elo'; known: elu, positive_random. Did you mean"),
        ({"features": "positive_random"}, r"name is not enough.*qkv\.linear\.PositiveRandom"),
        ({"features": MAPS["positive_random"](7)}, "PositiveRandom was built .* 7, got 11"),
        ({"need": "weight"}, "need is one of context, weights, stats, .* got 'weight'"),
        ({"chunk": 0}, "chunk is a whole number of queries, 1 or more, got 0"),
        ({"query": torch.randn(B, H, T, 7).double()}, "queries of width 7 have 7 features.*11"),
        ({"query": torch.randn(B, H, T, DIM)}, "convert one of them"),
        ({"value": torch.randn(B, H, 6, 2).double()}, "every key needs a value: 7 keys, 6 values"),
        ({"query": torch.randn(5, H, T, DIM).double()}, "leading dimensions do not fit"),
        ({"mask": Mask.lengths(torch.tensor([1, 2, 3]))}, "leading dimensions do not fit"),
        ({"key": torch.randn(B, H, 0, DIM).double()}, "key is .* length and dim of 1 or more"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    query, key, value = make_inputs()
    given = {"query": query, "key": key, "value": value} | change
    with pytest.raises(ValueError, match=message):
        qkv.linear_attend(**given)
