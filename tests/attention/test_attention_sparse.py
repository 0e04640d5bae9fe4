"""Sparse attention: what is left out, that nothing else changes, and that nothing dense exists."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import qkv
from qkv import Mask
from qkv.attention.biases import BIASES, build
from qkv.attention.kernels.additive import compiled
from qkv.attention.kernels.tiled import available
from qkv.attention.masks.reach import Blocks
from qkv.attention.masks.visible import Visible
from qkv.attention.prepared import Prepared
from qkv.attention.tiles import Tiles, lay_out

CPU = torch.device("cpu")
LIMITED = {
    "window": lambda: Mask.window(5, 2),
    "window_ahead": lambda: Mask.window(-3, 9),
    "dilated": lambda: Mask.dilated(2, 7),
    "strided": lambda: Mask.strided(13),
    "block": lambda: Mask.block(11),
    "global": lambda: Mask.global_([0, 17, 400]),
    "random": lambda: Mask.random(2, 3),
    "around": lambda: Mask.around(torch.linspace(-4, 60, 53), 3),
    "longformer": lambda: qkv.masks.longformer(3, [0, 20]),
    "bigbird": lambda: qkv.masks.bigbird(2, [1], 2),
    "fixed": lambda: qkv.masks.sparse_transformer_fixed(9, 1),
    "star": lambda: qkv.masks.star_transformer(5),
    "heads_apart": lambda: Mask.lengths(torch.tensor([31, 41])) & Mask.window(4, 4),
}
each_limited = pytest.mark.parametrize("name", LIMITED)


def inputs(queries: int, keys: int, leading=(2, 3), dtype=torch.float64, read: int = 7):
    """read: the width of the values; 5, that of the keys, lets tiles go a few at a time."""
    torch.manual_seed(1)
    sizes = ((queries, 5), (keys, 5), (keys, read))
    return [torch.randn(*leading, *size, dtype=dtype, requires_grad=True) for size in sizes]


def both(tensors, **slots):
    """Context and gradients of the sparse kernel and of the reference."""
    found = []
    for kernel in ("sparse", "reference"):
        out = qkv.attend(*tensors, **slots, kernel=kernel).context
        torch.manual_seed(2)
        found.append([out, *torch.autograd.grad(out, tensors, torch.randn(out.shape).double())])
    return zip(*found, strict=True)


@each_limited
@pytest.mark.parametrize(("queries", "keys"), [(53, 53), (53, 67), (53, 41)])
@pytest.mark.parametrize("size", [128, 8, 1])  # one tile; many that share keys; one a query
@pytest.mark.parametrize("read", [5, 7])
def test_leaving_out_what_is_forbidden_changes_neither_result_nor_gradient(
    name, queries, keys, size, read, monkeypatch
):
    """Sums of at most 67 terms of size about 10, in another order: 67 * 10 * 2e-16."""
    monkeypatch.setattr("qkv.attention.tiles.SIZES", (size, 1))  # 1: a mask may have no larger
    monkeypatch.setattr("qkv.attention.kernels.tiled.GATHERED", 1)  # a tile at a time
    for mine, want in both(inputs(queries, keys, read=read), mask=LIMITED[name]()):
        assert_close(mine, want, atol=2e-13, rtol=0)


@pytest.mark.parametrize("leading", [(), (2,), (3, 2), (2, 1, 3)])
@pytest.mark.parametrize("name", ["window", "bigbird", "around"])
def test_batch_and_heads_may_be_any_number_of_dimensions(name, leading):
    for mine, want in both(inputs(53, 59, leading), mask=LIMITED[name]()):
        assert_close(mine, want, atol=2e-13, rtol=0)


@pytest.mark.parametrize("kernel", ["sparse", "auto"])
def test_a_dead_row_in_a_tile_is_zero_and_a_hidden_key_reaches_nobody(kernel, monkeypatch):
    """... also where the keys were prepared before their mask was laid out."""
    monkeypatch.setattr("qkv.attention.tiles.SIZES", (8,))
    monkeypatch.setattr("qkv.attention.tiles.SMALLEST", 1)
    monkeypatch.setattr("qkv.attention.tiles.SPARSE", 1.0)
    query, key, value = inputs(53, 59, read=5)
    mask = Mask.window(2, 2) & Mask.lengths(torch.tensor([20, 59]))
    dead = ~mask.dense(53, 59).any(-1).unsqueeze(1).expand(2, 3, 53)
    hidden = ~mask.dense(53, 59).any(-2).unsqueeze(1).unsqueeze(-1).expand(2, 3, 59, 1)
    attention, results = qkv.Attention(), []
    for poison in (0.0, torch.nan):
        asked = query.detach().masked_fill(dead.unsqueeze(-1), poison)
        given = [t.detach().masked_fill(hidden, poison) for t in (key, value)]
        tensors = [t.requires_grad_() for t in (asked, *given)]
        if kernel == "sparse":
            out = qkv.attend(*tensors, mask=mask, kernel=kernel).context
        else:
            prepared = attention.prepare(*tensors[1:], mask=mask)
            assert isinstance(see_of(attention, mask, tensors), Tiles)
            out = attention.attend(tensors[0], prepared).context
        torch.manual_seed(2)  # dead rows are sent a gradient too, and must hand none on
        sent = torch.randn(out.shape).double()
        results.append([out, *torch.autograd.grad(out, tensors, sent)])
    clean = [t.detach().masked_fill(hidden, 0.0).requires_grad_() for t in (key, value)]
    asked = query.detach().requires_grad_()
    want = qkv.attend(asked, *clean, mask=mask, kernel="reference").context
    for mine, theirs in zip(
        results[0][1:], torch.autograd.grad(want, [asked, *clean], sent), strict=True
    ):
        assert_close(mine, theirs, atol=2e-13, rtol=0)
    assert not results[0][0][dead].any() and not results[0][1][dead].any()
    for mine, want in zip(*results, strict=True):
        assert torch.equal(mine, want)


def see_of(attention, mask, tensors):
    return attention.see(mask, (tensors[0].shape[-2], tensors[1].shape[-2], 2), CPU)


@pytest.mark.parametrize("mask", [Mask.window(3, 2), Mask.window(3, 0) & Mask.causal()], ids=repr)
def test_tiles_a_few_at_a_time_have_two_derivatives(mask, monkeypatch):
    monkeypatch.setattr("qkv.attention.tiles.SIZES", (4,))
    monkeypatch.setattr("qkv.attention.kernels.tiled.GATHERED", 1)
    tensors = inputs(11, 13, leading=(1, 2), read=5)

    def context(*tensors):
        return qkv.attend(*tensors, mask=mask, kernel="sparse").context

    assert torch.autograd.gradcheck(context, tensors)
    assert torch.autograd.gradgradcheck(context, tensors, fast_mode=True)


def test_torchs_own_operators_are_found_also_when_nothing_is_recorded():
    with torch.inference_mode():
        assert available.__wrapped__() == available()
        assert compiled._agrees() == (compiled.absent() is None)


def test_where_torchs_own_operators_are_not_there_the_tiles_are_computed_all_the_same(monkeypatch):
    monkeypatch.setattr("qkv.attention.kernels.sparse.available", lambda: False)
    for mine, want in both(inputs(53, 59, read=5), mask=Mask.window(3, 3)):
        assert_close(mine, want, atol=2e-13, rtol=0)


def test_windows_may_differ_by_item_and_by_head():
    for shape in ((2, 53), (2, 3, 53), (1, 3, 53)):
        mask = Mask.around(torch.rand(shape) * 60, 2) | Mask.global_([4])
        for mine, want in both(inputs(53, 59), mask=mask):
            assert_close(mine, want, atol=2e-13, rtol=0)


@each_limited
@given(size=st.sampled_from([1, 2, 8, 32]), queries=st.integers(1, 70), keys=st.integers(1, 70))
@settings(max_examples=25)
def test_no_pair_that_may_meet_is_left_out_and_none_comes_twice(name, size, queries, keys):
    mask = Mask.around(torch.rand(queries) * keys, 3) if name == "around" else LIMITED[name]()
    reach = mask.reach(Blocks(size, queries, keys, 0, CPU))
    if reach is None:
        return
    met = mask.dense(queries, keys)
    met = met.any(0) if met.dim() > 2 else met
    whole = set() if reach.whole is None else set(reach.whole.tolist())
    for block, row in enumerate(reach.keys.tolist()):
        columns = [j for j in row if j < keys]
        assert len(columns) == len(set(columns))
        for i in range(block * size, min(queries, (block + 1) * size)):
            if i not in whole:
                assert set(met[i].nonzero().flatten().tolist()) <= set(columns)


class Sizes(TorchDispatchMode):
    """Remember the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                # What takes memory: a stretched view of a small tensor does not.
                self.largest = max(self.largest, tensor.untyped_storage().nbytes())
        return made


@pytest.mark.parametrize("mask", [Mask.window(8, 8), Mask.window(8, 0) & Mask.causal()], ids=str)
@pytest.mark.parametrize("score", ["scaled_dot", "additive"])
def test_no_tensor_of_a_window_grows_faster_than_the_length(mask, score):
    """Twice the length, twice the largest tensor at most, forward and backward."""
    if score == "additive":
        score = qkv.scores.Additive(4, 4, 3)
    largest = []
    for length in (1024, 2048):
        x = torch.randn(1, 2, length, 4, requires_grad=True)
        with Sizes() as sizes:
            qkv.attend(x, x, x, score=score, mask=mask).context.sum().backward()
        largest.append(sizes.largest)
    assert largest[1] <= 2 * largest[0] + 4096
    assert qkv.plan(x, x, x, score=score, mask=mask).kernel == "sparse"


@pytest.mark.parametrize(
    "mask", [qkv.masks.bigbird(16, [0], 2), qkv.masks.longformer(16), Mask.random(3)], ids=repr
)
def test_no_tensor_of_a_sparse_pattern_is_as_large_as_all_pairs(mask):
    length = 2048
    x = torch.randn(1, 1, length, 4, requires_grad=True)
    with Sizes() as sizes:
        qkv.attend(x, x, x, mask=mask).context.sum().backward()
    assert sizes.largest < length * length  # in bytes: not even a boolean for each pair


def test_auto_leaves_pairs_out_only_where_that_saves_much():
    x = torch.randn(1, 1, 512, 4)
    for mask, kernel in [
        (Mask.window(16, 16), "sparse"),
        (Mask.window(200, 200), "sdpa"),
        (Mask.causal(), "sdpa"),
        (Mask.random(2), "sparse"),
    ]:
        assert qkv.plan(x, x, x, mask=mask).kernel == kernel, mask
    assert qkv.plan(x[..., :16, :], x[..., :16, :], mask=Mask.window(1, 1)).kernel == "sdpa"


def test_the_plan_counts_only_the_pairs_that_are_computed():
    x = torch.randn(1, 1, 4096, 8)
    dense = qkv.plan(x, x, x, mask=Mask.window(16, 16), kernel="reference")
    sparse = qkv.plan(x, x, x, mask=Mask.window(16, 16))
    assert sparse.operations < dense.operations / 20
    assert sparse.bytes < dense.bytes / 20


@pytest.mark.parametrize("name", BIASES)
def test_a_bias_on_positions_is_asked_for_the_pairs_that_are_computed(name):
    bias = build(name, heads=3).double()
    for parameter in bias.parameters():
        torch.nn.init.normal_(parameter)
    query, key, value = inputs(53, 59)
    masks = [Mask.window(3, 3), Mask.around(torch.rand(2, 3, 53).double() * 59, 2)]
    for mask, need in itertools.product(masks, ("context", "weights", "stats")):
        slots = {"mask": mask, "bias": bias, "need": need}
        sparse = qkv.attend(query, key, value, **slots, kernel="sparse")
        dense = qkv.attend(query, key, value, **slots, kernel="reference")
        for mine, want in zip(sparse, dense, strict=True):
            assert (mine is None) == (want is None)
            if mine is not None:
                assert_close(mine, want, atol=2e-13, rtol=1e-12)


def test_a_bias_tensor_of_minus_infinity_forbids_in_tiles_as_well():
    bias = torch.randn(3, 53, 1).double()
    bias[1, 7] = -torch.inf
    for read in (5, 7):
        slots = {"mask": Mask.window(3, 3), "bias": bias}
        for mine, want in both(inputs(53, 59, read=read), **slots):
            assert_close(mine, want, atol=2e-13, rtol=0)


def test_the_gaussian_finds_its_keys_in_tiles():
    positions = torch.rand(2, 3, 53).double() * 59
    reweighter = qkv.reweighters.Gaussian(positions, 1.5)
    slots = {"mask": Mask.around(positions, 3), "reweighter": reweighter}
    for mine, want in both(inputs(53, 59), **slots):
        assert_close(mine, want, atol=2e-13, rtol=0)


def test_a_reweighter_that_needs_all_keys_is_given_all_keys():
    x = torch.randn(1, 1, 512, 4)
    slots = {"mask": Mask.window(4, 4), "reweighter": lambda weights: weights.roll(1, -1)}
    assert qkv.plan(x, x, x, **slots).kernel == "reference"
    with pytest.raises(ValueError, match=r"cannot do reweighter .* needs all keys"):
        qkv.attend(x, x, x, **slots, kernel="sparse")


def test_a_layer_behind_tiles_draws_the_mask_for_a_reweighter_that_needs_all_keys():
    attention = qkv.Attention(reweighter=lambda weights: weights.flip(-1))
    layer = qkv.MultiHeadAttention(4, 2, attention=attention)
    x = torch.randn(1, 512, 4)
    mask = Mask.window(3, 3)
    assert isinstance(layer.attention.see(mask, (512, 512, 2), CPU), Visible)
    split = [t.unflatten(-1, (2, 2)).transpose(1, 2) for t in (x, x)]
    assert layer(x, mask=mask).context.isfinite().all()
    tiles = lay_out(mask, 512, 512, 2, CPU, ask=True)
    known = Prepared(split[1], split[1], mask, tiles)  # laid out before the reweighter was known
    drawn = qkv.attend(*split, mask=mask, reweighter=attention.reweighter)
    assert_close(attention.attend(split[0], known).context, drawn.context)


def test_tiles_know_which_keys_and_queries_meet_nothing():
    mask = Mask.lengths(torch.tensor([20, 53])) & (Mask.window(2, 2) | Mask.global_([7]))
    tiles = lay_out(mask, 53, 53, 2, CPU, ask=True)
    dense = mask.dense(53, 53)
    assert torch.equal(tiles.hidden.squeeze(1), ~dense.any(-2))
    assert tiles.dead is None
    window = Mask.window(0, 0) & Mask.lengths(torch.tensor([20, 53]))
    tiles = lay_out(window, 53, 53, 2, CPU, ask=True)
    assert torch.equal(tiles.dead.squeeze(1).squeeze(-1), ~window.dense(53, 53).any(-1))


def test_a_pattern_is_laid_out_once_for_all_layers_and_trains_after_a_search():
    """What was laid out where nothing is recorded may be used where something is."""
    queries = torch.randn(1, 1, 512, 4)
    first, second = (Mask.window(9, 9) | Mask.global_([0]) for _ in range(2))
    with torch.inference_mode():
        alone = qkv.attend(queries, queries, mask=first).context
    assert lay_out(first, 512, 512, 2, CPU, ask=False) is lay_out(
        second, 512, 512, 2, CPU, ask=False
    )
    queries.requires_grad_()
    bias = qkv.biases.ALiBi(1)
    for slots in ({}, {"bias": bias}, {"normalizer": "sparsemax"}):
        qkv.attend(queries, queries, mask=second, **slots).context.sum().backward()
    assert_close(qkv.attend(queries, queries, mask=second).context, alone)


def test_lengths_are_laid_out_anew_for_each_batch():
    lengths = torch.tensor([512])
    mask = (Mask.window(9, 9) | Mask.global_([0])) & Mask.lengths(lengths)
    found = [lay_out(mask, 512, 512, 2, CPU, ask=True) for _ in range(2)]
    assert found[0] is not found[1]
