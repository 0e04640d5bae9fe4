"""The three places of attention in an encoder-decoder, against loops over positions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from qkv import Attention, LinearAttention, Mask, MultiHeadAttention, biases
from qkv.attention.local import LocalM
from qkv.attention.rotary import Rotary
from qkv.attention.scores import SCORES
from qkv.nn import CrossAttention, KeyValueCache, MaskedSelfAttention, SelfAttention

B, T, S, WIDTH, HEADS, HEAD = 3, 5, 7, 12, 3, 4
LENGTHS = torch.tensor([5, 2, 4])
each_score = pytest.mark.parametrize("score", SCORES)
ATTENTIONS = {
    **dict.fromkeys(SCORES),
    "alibi": lambda: Attention(bias=biases.ALiBi(HEADS)),
    "relative": lambda: Attention(bias=biases.Relative(HEADS, 3)),
    "rotary": lambda: Attention(rotary=Rotary(HEAD)),
    "local": lambda: Attention(local=LocalM(2)),
    "linear": lambda: LinearAttention(features="elu", dim=HEAD),
}


def heads(kind: str = "scaled_dot", **sizes) -> MultiHeadAttention:
    build = ATTENTIONS[kind]
    slots = {"score": kind} if build is None else {"attention": build()}
    built = MultiHeadAttention(WIDTH, HEADS, **slots, **sizes).double()
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.4)
    return built.eval()


def read_by_hand(layer: MultiHeadAttention, query, memory, meets) -> torch.Tensor:
    """One item, position by position, head by head: meets(i) are the keys of query i."""
    score, rows = layer.attention.score, []
    for i, q in enumerate(layer.project_query(query)):
        read = []
        for h in range(layer.heads):
            cut = slice(h * HEAD, (h + 1) * HEAD)
            k, v = (part(memory)[:, cut] for part in (layer.project_key, layer.project_value))
            energies = score(q[None, cut], score.prepare(k))[0].tolist()
            chosen = list(meets(i))
            weights = torch.tensor([math.exp(energies[j]) for j in chosen]).double()
            read.append((weights / weights.sum()) @ v[chosen])
        rows.append(F.linear(torch.cat(read), layer.project_context.weight))
    return torch.stack(rows) + layer.project_context.bias


@each_score
def test_an_encoders_position_reads_every_real_position(score):
    layer, x = heads(score), torch.randn(B, T, WIDTH).double()
    out = SelfAttention(layer)(x, Mask.lengths(LENGTHS), need="weights")
    assert out.weights.shape == (B, HEADS, T, T)
    for b, n in enumerate(LENGTHS.tolist()):
        assert_close(out.context[b], read_by_hand(layer, x[b], x[b], lambda _, n=n: range(n)))


@each_score
def test_a_decoders_position_reads_itself_and_those_before(score):
    layer, x = heads(score), torch.randn(B, T, WIDTH).double()
    attended, past = MaskedSelfAttention(layer)(x)
    assert past.length == T
    for b in range(B):
        want = read_by_hand(layer, x[b], x[b], lambda i: range(i + 1))
        assert_close(attended.context[b], want)


@each_score
def test_a_decoders_position_reads_every_real_position_of_the_source(score):
    layer = heads(score, key_dim=11)
    x, source = torch.randn(B, T, WIDTH).double(), torch.randn(B, S, 11).double()
    read, lengths = CrossAttention(layer), LENGTHS + 2
    out = read(x, read.remember(source, Mask.lengths(lengths)), need="weights")
    assert out.weights.shape == (B, HEADS, T, S)
    for b, n in enumerate(lengths.tolist()):
        want = read_by_hand(layer, x[b], source[b], lambda _, n=n: range(n))
        assert_close(out.context[b], want)


@pytest.mark.parametrize("kind", ATTENTIONS)
@given(split=st.lists(st.integers(1, 4), min_size=1, max_size=5), kv_heads=st.sampled_from([1, 3]))
@settings(max_examples=8)
def test_for_any_split_a_decoder_reads_what_it_reads_at_once(kind, split, kv_heads):
    """The offset, and the positions of biases, rotary positions and windows, are worked out."""
    torch.manual_seed(sum(split))
    layer = heads(kind, kv_heads=kv_heads)
    decode, x = MaskedSelfAttention(layer), torch.randn(B, sum(split), WIDTH).double()
    whole = layer(x, mask=Mask.causal()).context
    past, steps = None, []
    for part in x.split(split, dim=1):
        attended, past = decode(part, past)
        steps.append(attended.context)
    # Sums of at most 20 terms of size 10 or less, one after another in four products.
    assert_close(torch.cat(steps, 1), whole, atol=4 * 20 * 10 * 2.3e-16, rtol=1e-12)


def test_what_is_remembered_is_a_value_that_beams_select():
    decode, x = MaskedSelfAttention(heads()), torch.randn(B, T, WIDTH).double()
    _, past = decode(x[:, :3], KeyValueCache.empty())
    first, _ = decode(x[:, 3:], past)
    again, longer = decode(x[:, 3:], past)
    assert torch.equal(first.context, again.context)
    assert (past.length, longer.length) == (3, T)
    rows = torch.tensor([2, 2, 0, 1])
    chosen, _ = decode(x[rows, 3:], past.select(rows))
    assert_close(chosen.context, first.context[rows])


def test_another_mask_narrows_what_a_decoder_reads():
    layer, x = heads(), torch.randn(B, T, WIDTH).double()
    decode = MaskedSelfAttention(layer)
    mask = Mask.keep(torch.arange(T) >= torch.tensor([[0], [1], [2]])[:, None])  # pads on the left
    whole, _ = decode(x, mask=mask)
    for b in range(B):
        want = read_by_hand(layer, x[b, b:], x[b, b:], lambda i: range(i + 1))
        assert_close(whole.context[b, b:], want)
        assert not whole.context[b, :b].any()


@each_score
def test_a_memory_is_projected_once_and_follows_the_beams(score):
    read = CrossAttention(heads(score, kv_heads=1))
    x, source = torch.randn(B, T, WIDTH).double(), torch.randn(B, S, WIDTH).double()
    memory = read.remember(source, Mask.lengths(LENGTHS))
    want = read.heads(x, source, mask=Mask.lengths(LENGTHS)).context
    calls = []
    hook = read.heads.project_key.register_forward_hook(lambda *_: calls.append(1))
    steps = torch.cat([read(x[:, i : i + 1], memory).context for i in range(T)], 1)
    hook.remove()
    assert not calls
    assert_close(steps, want)
    rows = torch.tensor([1, 1, 0, 2])
    assert_close(read(x[rows], memory.select(rows)).context, want[rows])
    unmasked = read.remember(source)
    assert_close(read(x[rows], unmasked.select(rows)).context, read(x, unmasked).context[rows])


def test_a_nan_in_the_padding_of_a_memory_reaches_no_gradient():
    read = CrossAttention(heads())
    x, source = torch.randn(B, T, WIDTH).double(), torch.randn(B, S, WIDTH).double()
    poisoned = source.masked_fill(torch.arange(S)[:, None] >= LENGTHS[:, None, None], torch.nan)
    found = []
    for states in (source, poisoned):
        out = read(x, read.remember(states, Mask.lengths(LENGTHS))).context
        found.append([out, *torch.autograd.grad(out.sum(), list(read.parameters()))])
    for clean, dirty in zip(*found, strict=True):
        assert torch.equal(clean, dirty)


def test_local_windows_across_stand_where_the_queries_stand():
    read = CrossAttention(heads("local"))
    x, source = torch.randn(B, T, WIDTH).double(), torch.randn(B, S, WIDTH).double()
    memory = read.remember(source)
    whole = read(x, memory).context
    last = read(x[:, 3:], memory, positions=torch.arange(3, T)).context
    assert_close(last, whole[:, 3:])


@pytest.mark.parametrize("kind", [SelfAttention, MaskedSelfAttention, CrossAttention])
def test_a_composition_holds_the_parameters_of_its_heads_alone(kind):
    layer = heads("general")
    module = kind(layer)
    assert module.heads is layer
    assert {name for name, _ in module.named_parameters()} == {
        f"heads.{name}" for name, _ in layer.named_parameters()
    }
    smaller = kind(layer.without([0]))
    assert smaller.heads.heads == HEADS - 1
