"""Where queries stand: with a cache, as beams, with a bias, rotary positions or a window."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import qkv
from qkv import Mask, MultiHeadAttention
from qkv.attention.biases import BIASES
from qkv.attention.biases import build as build_bias
from qkv.attention.linear.features import FEATURES
from qkv.attention.local import build as build_local
from qkv.nn import KeyValueCache

WIDTH, HEADS, B = 24, 6, 2
HEAD = WIDTH // HEADS
PLACED = {
    **{name: lambda name=name: {"bias": build_bias(name, heads=HEADS)} for name in BIASES},
    "rotary": lambda: {"rotary": qkv.Rotary(HEAD)},
    "local-m": lambda: {"local": build_local("local-m", query_dim=HEAD, window=2)},
    "all": lambda: {
        "rotary": qkv.Rotary(HEAD),
        "bias": build_bias("relative", heads=HEADS),
        "local": build_local("local-m", query_dim=HEAD, window=3),
    },
}
each_placed = pytest.mark.parametrize("name", PLACED)


def stirred(module: nn.Module) -> nn.Module:
    """In float64, no parameter zero."""
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def layer(name: str, kv_heads: int = HEADS, **more) -> MultiHeadAttention:
    if name in FEATURES:
        attention = qkv.LinearAttention(features=name, dim=HEAD)
    else:
        attention = qkv.Attention(**PLACED[name](), **more)
    return stirred(MultiHeadAttention(WIDTH, HEADS, kv_heads=kv_heads, attention=attention))


def in_steps(module, x, split, mask_of):
    cache, outs, start = KeyValueCache.empty(), [], 0
    for size in split:
        part = x[:, start : start + size]
        cache = module.extend(part, cache)
        places = torch.arange(start, start + size)
        outs.append(module(part, cache=cache, mask=mask_of(start), positions=places).context)
        start += size
    return torch.cat(outs, 1)


@pytest.mark.parametrize("name", [*PLACED, *FEATURES])
@settings(max_examples=12)
@given(
    split=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    kv_heads=st.sampled_from([1, 2, 3, 6]),
    seed=st.integers(0, 999),
)
def test_step_by_step_with_a_cache_equals_the_whole_for_any_split(name, split, kv_heads, seed):
    torch.manual_seed(seed)
    module = layer(name, kv_heads)
    x = torch.randn(B, sum(split), WIDTH).double()
    steps = in_steps(module, x, split, Mask.causal)
    assert_close(steps, module(x, mask=Mask.causal()).context)


@each_placed
@settings(max_examples=12)
@given(
    split=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    window=st.integers(0, 4),
    tiles=st.booleans(),
)
def test_a_window_before_the_query_moves_along_with_the_cache(name, split, window, tiles):
    """Causal and a window: with an offset each, in tiles and without."""
    module = layer(name, 3)
    x = torch.randn(B, sum(split), WIDTH).double()

    def mask_of(start: int) -> Mask:
        return Mask.window(window - start, start) & Mask.causal(start)

    with pytest.MonkeyPatch.context() as patch:
        if tiles:
            patch.setattr("qkv.attention.tiles.SMALLEST", 1)
            patch.setattr("qkv.attention.tiles.WORTH", {"fused": 10, "composed": 10})
        steps = in_steps(module, x, split, mask_of)
    assert_close(steps, module(x, mask=mask_of(0)).context)


@each_placed
@pytest.mark.parametrize("need", ["context", "weights", "stats"])
def test_beams_side_by_side_are_their_sentences_repeated(name, need):
    """[batch, beams * steps] queries against one set of keys, positions.repeat(beams)."""
    module, beams, steps = layer(name, 2), 3, 4
    x, memory = torch.randn(B, beams, steps, WIDTH).double(), torch.randn(B, 7, WIDTH).double()
    mask = Mask.lengths(torch.tensor([7, 5]))
    places = torch.arange(2, 2 + steps)
    cache = module.project_key_value(memory, mask=mask)
    side = module(
        x.flatten(1, 2), cache=cache, mask=mask, need=need, positions=places.repeat(beams)
    )
    rows = torch.arange(B).repeat_interleave(beams)
    apart = module(
        x.flatten(0, 1),
        cache=cache.select(rows),
        mask=mask.select(rows),
        need=need,
        positions=places,
    )
    assert_close(side.context.view(B * beams, steps, WIDTH), apart.context)
    if need == "weights":
        weights = side.weights.unflatten(2, (beams, steps)).transpose(1, 2).flatten(0, 1)
        assert_close(weights, apart.weights)


@each_placed
def test_positions_count(name):
    """Where a query stands changes what it reads: no part forgets the positions it was given."""
    module, x = layer(name), torch.randn(1, 5, WIDTH).double()
    memory = torch.randn(1, 40, WIDTH).double()
    first = module(x, memory).context
    assert_close(module(x, memory, positions=torch.arange(5)).context, first)
    moved = module(x, memory, positions=torch.arange(9, 14)).context
    assert (moved - first).abs().amax(-1).min() > 1e-3


@pytest.mark.parametrize("causal", [False, True])
def test_a_row_beyond_every_window_is_zero_and_has_no_gradient(causal):
    """Not W_o's bias: the window forbids as a mask does."""
    module = layer("local-m")
    x, memory = torch.randn(1, 9, WIDTH).double(), torch.randn(1, 4, WIDTH).double()
    x.requires_grad_()
    out = module(x, memory, mask=Mask.causal() if causal else None).context
    assert not out[:, 6:].any()
    assert out[:, :6].abs().amax(-1).all()
    out.square().sum().backward()
    assert not x.grad[:, 6:].any() and x.grad[:, :6].any()


def test_a_reweighter_that_needs_all_keys_gets_them_behind_a_mask_that_tiles_would_serve():
    x = torch.randn(1, 512, WIDTH).double()
    module = layer("rotary", reweighter=lambda weights: weights.flip(-1).flip(-1))
    plain = MultiHeadAttention(
        WIDTH, HEADS, attention=qkv.Attention(**PLACED["rotary"]())
    ).double()
    plain.load_state_dict(module.state_dict())
    mask = Mask.window(3, 3)
    assert_close(module(x, mask=mask).context, plain(x, mask=mask).context)
