"""Windows as bands: the keys are read where they are, in views whose rows overlap."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

import qkv
from qkv import Mask
from qkv.attention.kernels import banded
from qkv.attention.tiles import lay_out

CPU = torch.device("cpu")
ENDS = torch.tensor([211, 97])
MASKS = {
    "window": Mask.window(5, 3),
    "diagonal": Mask.window(0, 0),
    "back": Mask.window(40, 0),
    "ahead": Mask.window(0, 33),
    "all behind": Mask.window(13, -4),
    "all ahead": Mask.window(-3, 9),
    "lengths": Mask.window(40, 7) & Mask.lengths(ENDS),
    "causal": Mask.causal() & Mask.window(11, 60),
    "everything": Mask.lengths(ENDS) & Mask.causal(2) & Mask.window(31, 50),
    "nothing left": Mask.window(20, 1) & Mask.lengths(torch.tensor([0, 211])),
}
SIZES = [(211, 211), (211, 293), (293, 211)]


def tensors(T: int, S: int, width: int = 7):
    shapes = ((2, 3, T, width), (2, 3, S, width), (2, 3, S, width))
    return [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]


def band(mask, T: int, S: int):
    tiles = lay_out(mask, T, S, 2, CPU, ask=True)
    assert tiles is not None and tiles.band is not None
    return tiles


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", MASKS)
def test_a_band_changes_neither_result_nor_gradient(name, sizes):
    tensors_ = tensors(*sizes)
    band(MASKS[name], *sizes)
    fast = qkv.attend(*tensors_, mask=MASKS[name], kernel="sparse").context
    plain = qkv.attend(*tensors_, mask=MASKS[name], kernel="reference").context
    assert_close(fast, plain)
    gradient = torch.randn_like(fast)
    for found, wanted in zip(
        torch.autograd.grad(fast, tensors_, gradient),
        torch.autograd.grad(plain, tensors_, gradient),
        strict=True,
    ):
        assert_close(found, wanted)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", MASKS)
def test_a_band_knows_its_dead_queries_and_hidden_keys_without_drawing_them(name, sizes):
    T, S = sizes
    tiles = band(MASKS[name], T, S)
    drawn = MASKS[name].dense(T, S)
    drawn = drawn.reshape(-1, 1, T, S).expand(2, 1, T, S)
    for flags, wanted in (
        (tiles.dead, ~drawn.any(-1, keepdim=True)),
        (tiles.hidden, ~drawn.any(-2)),
    ):
        assert (flags is None) == (not bool(wanted.any()))
        if flags is not None:
            assert torch.equal(flags.expand(wanted.shape), wanted)


@pytest.mark.parametrize("name", ["window", "everything"])
@pytest.mark.parametrize("size", [1, 32, 37, 300])
def test_the_size_of_the_tiles_changes_nothing(name, size, monkeypatch):
    tensors_ = tensors(211, 211)
    plain = qkv.attend(*tensors_, mask=MASKS[name], kernel="reference").context
    for part in ("FORWARD", "BACKWARD", "EDGE"):
        monkeypatch.setattr(banded, part, size)
    monkeypatch.setattr(banded, "SUMMED", 1)
    fast = qkv.attend(*tensors_, mask=MASKS[name], kernel="sparse").context
    assert_close(fast, plain)
    sums = [torch.autograd.grad(out.square().sum(), tensors_) for out in (fast, plain)]
    for found, wanted in zip(*sums, strict=True):
        assert_close(found, wanted)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_what_no_query_may_meet_does_not_exist(value):
    """Keys behind an item's end, keys before the window, and queries without a key."""
    mask = Mask.window(-3, 9) & Mask.lengths(ENDS)
    clean = [tensor.detach() for tensor in tensors(211, 211)]
    spoiled = [tensor.clone() for tensor in clean]
    for tensor in spoiled[1:]:
        tensor[:, :, :3] = value
        tensor[1, :, 97:] = value
    spoiled[0][1, :, 95:] = value
    outs, gradients = [], []
    for given in (clean, spoiled):
        given = [tensor.requires_grad_() for tensor in given]
        out = qkv.attend(*given, mask=mask, kernel="sparse").context
        outs.append(out)
        gradients.append(torch.autograd.grad(out.square().sum(), given))
    assert torch.equal(*outs)
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_a_query_that_is_not_finite_loses_its_own_row_and_no_other():
    query, key, value = (tensor.detach() for tensor in tensors(211, 211))
    whole = qkv.attend(query, key, value, mask=MASKS["window"], kernel="sparse").context
    query[1, 2, 100, 3] = math.nan
    lost = qkv.attend(query, key, value, mask=MASKS["window"], kernel="sparse").context
    assert lost[1, 2, 100].isnan().all()
    whole[1, 2, 100] = lost[1, 2, 100] = 0
    assert torch.equal(lost, whole)


def test_a_band_has_two_derivatives_also_where_keys_are_values():
    query, key, _ = (tensor[..., :41, :] for tensor in tensors(41, 41, width=2))
    mask = Mask.window(3, 2) & Mask.lengths(torch.tensor([41, 17]))

    def read(query, key):
        return qkv.attend(query, key, mask=mask, kernel="sparse").context

    given = (query.detach()[:, :1].requires_grad_(), key.detach()[:, :1].requires_grad_())
    assert torch.autograd.gradgradcheck(read, given, atol=1e-6, nondet_tol=0.0)


def test_heads_that_share_keys_and_rows_out_of_order_are_read_where_they_are():
    query = torch.randn(2, 211, 3, 7).transpose(1, 2)
    key = torch.randn(2, 1, 7, 211).mT
    fast = qkv.attend(query, key, mask=MASKS["window"], kernel="sparse").context
    plain = qkv.attend(query, key, mask=MASKS["window"], kernel="reference").context
    # a context of 9 keys: 9 * 7 products of size up to 4 in an energy, eps = 1.2e-7
    assert_close(fast, plain, atol=63 * 16 * 1.2e-7, rtol=0)


@pytest.mark.parametrize(
    "mask",
    [
        Mask.window(3, 2) | Mask.global_([0]),
        ~Mask.window(3, 2),
        Mask.keep(torch.ones(9, 9).tril().bool()),
        Mask.window(3, 2) & Mask.window(-5, 9),
    ],
    ids=str,
)
def test_what_is_no_band_says_so(mask):
    assert mask.band(9, 9) is None
