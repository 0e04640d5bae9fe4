"""Against other libraries' attention, where its equation is ours: windows, biases, definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import qkv
from qkv import Mask, MultiHeadAttention

B, T, WIDTH, HEADS, WINDOW = 2, 24, 12, 3, 4


def longformer():
    """Theirs with random weights, in float64; window WINDOW on each side."""
    transformers = pytest.importorskip("transformers")
    from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

    config = transformers.LongformerConfig(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        attention_window=[2 * WINDOW],
        attention_probs_dropout_prob=0.0,
    )
    theirs = LongformerSelfAttention(config, layer_id=0).double().eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    return theirs


def ours_of(theirs) -> MultiHeadAttention:
    """Our layer with their projections; they have no W_o."""
    layer = MultiHeadAttention(WIDTH, HEADS).double()
    with torch.no_grad():
        for mine, other in (
            (layer.project_query, theirs.query),
            (layer.project_key, theirs.key),
            (layer.project_value, theirs.value),
        ):
            mine.weight.copy_(other.weight)
            mine.bias.copy_(other.bias)
        layer.project_context.weight.copy_(torch.eye(WIDTH))
        layer.project_context.bias.zero_()
    return layer


def rounding(layer: MultiHeadAttention, x: torch.Tensor) -> dict[str, float]:
    """Their softmax is in float32: an energy of size E is off by E eps, a weight by twice that and
    3 eps, a context by that times the largest value."""
    query, key, value = (
        part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for part in (layer.project_query, layer.project_key, layer.project_value)
    )
    energy = (query @ key.mT).abs().max().item() / (WIDTH / HEADS) ** 0.5
    return {"rtol": 0, "atol": (2 * energy + 3) * 1.2e-7 * value.abs().max().item()}


def their_answer(theirs, x, lengths, seen_by_all):
    """Their mask: below 0 for pads, above 0 for global positions, 0 for all others."""
    kinds = torch.zeros(B, T).double()
    kinds[torch.arange(T) >= lengths[:, None]] = -10000
    kinds[:, seen_by_all] = 10000
    return theirs(
        x,
        attention_mask=kinds,
        is_index_masked=kinds < 0,
        is_index_global_attn=kinds > 0,
        is_global_attn=bool(seen_by_all),
    )[0]


@pytest.mark.parametrize("kernel", ["tiles", "dense"])
@pytest.mark.parametrize("lengths", [(T, T), (T, T - 5)])
def test_a_window_is_hugging_faces_longformer(lengths, kernel, monkeypatch):
    if kernel == "tiles":
        monkeypatch.setattr("qkv.attention.tiles.SMALLEST", 1)
        monkeypatch.setattr("qkv.attention.tiles.WORTH", {"fused": 10, "composed": 10})
    theirs, n = longformer(), torch.tensor(lengths)
    x = torch.randn(B, T, WIDTH).double()
    want = their_answer(theirs, x, n, [])
    layer = ours_of(theirs)
    mine = layer(x, mask=Mask.window(WINDOW, WINDOW) & Mask.lengths(n)).context
    real = torch.arange(T) < n[:, None]  # their pads read zeros, ours what stands before them
    assert_close(mine[real], want[real], **rounding(layer, x))


def test_global_columns_are_hugging_faces_longformer_where_the_equations_coincide():
    """All queries read global keys as any other; global queries have projections of their own."""
    theirs, n = longformer(), torch.tensor([T, T - 5])
    x, chosen = torch.randn(B, T, WIDTH).double(), [0, 9]
    want = their_answer(theirs, x, n, chosen)
    mask = qkv.masks.longformer(WINDOW, chosen) & Mask.lengths(n)
    real = torch.arange(T) < n[:, None]
    real[:, chosen] = False
    layer = ours_of(theirs)
    mine, exact = layer(x, mask=mask).context, rounding(layer, x)
    assert_close(mine[real], want[real], **exact)
    with torch.no_grad():  # with equal projections the global rows are ours as well
        for name in ("query", "key", "value"):
            getattr(theirs, f"{name}_global").load_state_dict(getattr(theirs, name).state_dict())
    real[:, chosen] = True
    want = their_answer(theirs, x, n, chosen)
    assert_close(mine[real], want[real], **exact)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("kernel", ["sparse", "reference"])
def test_windows_and_alibi_are_torchs_flex_attention(kernel):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    query, key, value = (torch.randn(B, HEADS, T, 16) for _ in range(3))
    bias = qkv.biases.ALiBi(HEADS)

    def near(b, h, i, j):
        return (i - j <= WINDOW) & (j - i <= 1)

    def falling(score, b, h, i, j):
        return score - bias.slopes[h] * (i - j).abs()

    blocks = create_block_mask(near, None, None, T, T, device="cpu")
    want = flex_attention(query, key, value, score_mod=falling, block_mask=blocks)
    mine = qkv.attend(query, key, value, bias=bias, mask=Mask.window(WINDOW, 1), kernel=kernel)
    # Dot products of 16 terms and their softmax, about 30 roundings of numbers below 10.
    assert_close(mine.context, want, atol=30 * 10 * 1.2e-7, rtol=0)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_keras_attention_is_dot_or_scaled_dot_by_its_documented_formulas(causal, masked):
    """keras.layers.Attention, score_mode "dot": scores = q k^T, times a learned scalar with
    use_scale=True; masked scores -= 1e9; softmax; output = scores v."""
    query, key, value = (torch.randn(B, n, 7).double() for n in (5, 6, 6))
    keep = torch.rand(B, 6) < 0.6
    keep[:, 0] = True
    scale = 0.37
    scores = torch.einsum("bid,bjd->bij", query, key)
    hidden = torch.zeros(B, 5, 6)
    if masked:
        hidden = hidden + (~keep[:, None, :]) * 1e9
    if causal:
        hidden = hidden + (torch.arange(6) > torch.arange(5)[:, None]) * 1e9
    want = torch.softmax(scores * scale - hidden.clamp(max=1e9), -1) @ value
    mask = Mask.keep(torch.ones(1, 1, dtype=torch.bool))
    mask = mask & Mask.keep(keep[:, None, :]) if masked else mask
    mask = mask & Mask.causal() if causal else mask
    # Ours has no learned scalar: the query carries it, or the temperature.
    assert_close(qkv.attend(query * scale, key, value, score="dot", mask=mask).context, want)
    soft = qkv.normalizers.Softmax(temperature=1 / scale)
    assert_close(
        qkv.attend(query, key, value, score="dot", mask=mask, normalizer=soft).context, want
    )
    scaled = torch.softmax(scores / math.sqrt(7) - hidden.clamp(max=1e9), -1) @ value
    assert_close(qkv.attend(query, key, value, mask=mask).context, scaled)


def test_keras_additive_attention_is_additive_without_projections():
    """keras.layers.AdditiveAttention: scores = sum_d scale_d tanh(q_d + k_d); use_scale: v."""
    score = qkv.scores.Additive(7, 7, hidden=7).double()
    with torch.no_grad():
        score.project_query.weight.copy_(torch.eye(7))
        score.project_key.weight.copy_(torch.eye(7))
        nn.init.normal_(score.v)
    query, key, value = (torch.randn(B, n, 7).double() for n in (5, 6, 6))
    n = torch.tensor([6, 2])
    scores = (score.v * torch.tanh(query[:, :, None] + key[:, None])).sum(-1)
    scores = scores - 1e9 * (torch.arange(6) >= n[:, None, None])
    want = torch.softmax(scores, -1) @ value
    assert_close(qkv.attend(query, key, value, score=score, mask=Mask.lengths(n)).context, want)
