"""What `ready` returns is the model, laid out for search: the same numbers, step by step."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from model_cases import (
    EXACT,
    TARGET,
    attention,
    built,
    fresh,
    padded,
    slack,
    sources,
    targets,
    variant,
)
from test_models_steps import SIZES, Move, walks
from torch import nn
from torch.testing import assert_close

from qkv.config import SearchConfig
from qkv.models.products import HalfLinear, reduced
from qkv.models.transformer_search import TransformerSearch
from qkv.search import search
from qkv.text import BOS, EOS

DOT = {
    name: attention(score="scaled_dot")
    for name in ("encoder_attention", "decoder_attention", "cross_attention")
}
COVERED = [
    variant("transformer", **DOT),
    variant("transformer", **{name: attention(score="dot") for name in DOT}),
    variant("transformer", norm="post", tie_embeddings=False, alignment="0.1", **DOT),
    variant("transformer", positions="learned", max_positions=23, shared=True, **DOT),
    variant("transformer", positions="none", **DOT),
    variant("transformer", **(DOT | {"encoder_attention": attention(score="additive")})),
]


def walk(decoder, moves):
    """Every row of log-probabilities and of alignment that a walk sees."""
    state, seen = decoder.start(*padded(sources(SIZES))), []
    for move in moves:
        if move.select is not None:
            kept, beams = move.select
            rows = sorted(range(len(kept)), key=kept.__getitem__)  # search keeps them in order
            state = state.select(
                torch.tensor([kept[row] for row in rows]),
                torch.tensor([beams[row] for row in rows]),
            )
        log_probs, state, rows = decoder.step(torch.tensor(move.tokens), state)
        seen.append((log_probs, rows))
    return seen


@pytest.mark.parametrize("case", COVERED, ids=str)
@settings(max_examples=20, deadline=None)
@given(moves=walks())
def test_any_walk_gives_the_numbers_of_the_model(case, moves):
    model = built(case)
    decoder = model.ready()
    assert isinstance(decoder, TransformerSearch)
    for (found, rows), (expected, whole) in zip(
        walk(decoder, moves), walk(model, moves), strict=True
    ):
        assert_close(found, expected, **slack())
        assert_close(rows, whole, **slack())


@pytest.mark.parametrize(
    "changes",
    [
        {"cross_attention": attention(score="additive")},
        {"decoder_attention": attention(score="scaled_dot", bias="alibi"), "positions": "none"},
        {"decoder_attention": attention(score="scaled_dot", scope="local-m")},
        {"cross_attention": attention(score="scaled_dot", temperature=0.5)},
        {"decoder_attention": attention(score="scaled_dot", normalizer="sparsemax")},
        {"decoder_attention": attention(score="scaled_dot", features="elu")},
        {"kv_heads": 1},
        {"positions": "rotary", "width": 24},
    ],
    ids=str,
)
def test_what_is_not_laid_out_is_the_model_itself(changes):
    model = fresh(variant("transformer", **(DOT | changes)))
    assert model.ready() is model


@pytest.mark.parametrize("case", COVERED, ids=str)
def test_the_state_is_a_value_too(case):
    decoder = built(case).ready()
    state = decoder.start(*padded(sources(SIZES)))
    state = decoder.step(torch.full((3, 1), BOS), state).state
    state = state.select(torch.arange(3), torch.zeros(3, 2, dtype=torch.long))
    tokens = torch.tensor([[4, 5], [6, 7], [8, 9]])
    before = decoder.step(tokens, state)
    decoder.step(tokens + 1, state)
    decoder.step(tokens + 2, before.state)
    state.select(torch.tensor([2]), torch.tensor([[1]]))
    after = decoder.step(tokens, state)
    assert_close(after.log_probs, before.log_probs, **EXACT)
    first = decoder.step(tokens, before.state).log_probs
    decoder.step(tokens + 1, state)  # wants the place that `before` took
    assert_close(decoder.step(tokens, before.state).log_probs, first, **EXACT)


@pytest.mark.parametrize("case", COVERED[:2], ids=str)
def test_hypotheses_that_change_places_take_their_pasts_along(case):
    moves = [
        Move(None, [[BOS]] * 3),
        Move(([0, 1, 2], [[0, 0, 0]] * 3), [[4, 5, 6], [7, 8, 9], [10, 11, 12]]),
        Move(([0, 2], [[2, 0, 1], [1, 2, 1]]), [[13, 13, 13], [13, 13, 13]]),
    ]
    model = built(case)
    for (found, _), (expected, _) in zip(
        walk(model.ready(), moves), walk(model, moves), strict=True
    ):
        assert_close(found, expected, **slack())


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_a_search_longer_than_every_reserve_finds_what_it_finds_in_the_model(monkeypatch, method):
    """The past doubles twice, and positions go beyond those that are laid out."""
    monkeypatch.setattr("qkv.models.transformer_source._PLACES", 5)
    model = copy.deepcopy(built(COVERED[0]))
    with torch.no_grad():
        model.output.project.bias[EOS] = -99
    config = SearchConfig(method=method, beam=3, max_ratio=0.0, max_extra=40)
    source = padded(sources((3, 5)))
    found, expected = (search(one, *source, config) for one in (model.ready(), model))
    for (one, *_), (other, *_) in zip(found, expected, strict=True):
        assert one.tokens == other.tokens
        assert len(one.tokens) == 40
        assert_close(one.log_prob, other.log_prob, rtol=0, atol=40 * slack()["atol"])
        assert_close(one.attention, other.attention, **slack())


def test_learned_positions_still_end_where_their_table_ends():
    model = built(variant("transformer", positions="learned", max_positions=2, **DOT))
    decoder = model.ready()
    state = decoder.start(*padded(sources([2])))
    for _ in range(2):
        state = decoder.step(torch.tensor([[BOS]]), state).state
    with pytest.raises(ValueError, match="max_positions"):
        decoder.step(torch.tensor([[BOS]]), state)


@pytest.mark.parametrize(
    "case",
    [
        COVERED[0],
        variant("rnnsearch"),
        variant("luong"),
        variant("luong", attention=attention(score="concat")),
    ],
    ids=str,
)
@pytest.mark.parametrize(("precision", "rounding"), [("bfloat16", 2**-9), ("int8", 2**-7)])
def test_less_precision_differs_by_what_its_rounding_explains(case, precision, rounding):
    model = built(case, torch.float32)
    source, tokens = padded(sources(SIZES)), torch.full((3, 1), BOS)
    steps = [
        decoder.step(tokens, decoder.start(*source)).log_probs
        for decoder in (model, model.ready(precision))
    ]
    exact, less = (step.view(3, TARGET) for step in steps)
    assert less.dtype == exact.dtype
    error = (less - exact).abs().max()
    # Each product rounds by so much of numbers of the size of the logits; some ten follow.
    assert 0 < error < 10 * rounding * (1 + exact.abs().max())


@pytest.mark.parametrize("kind", ["rnnsearch", "luong"])
def test_a_known_target_too_is_read_with_rounded_layers(kind):
    model = built(variant(kind, attention=attention(score="additive")), torch.float32)
    given = *padded(sources(SIZES)), padded(targets(SIZES))[0]
    exact, half = (one.force(*given).features for one in (model, reduced(model, "bfloat16")))
    # Features are at most some units; ten roundings by 2^-9 of them follow each other.
    assert 0 < (half - exact).abs().max() < 10 * 2**-9 * (1 + exact.abs().max())


@pytest.mark.parametrize("bias", [True, False])
def test_products_in_int8_are_those_of_rounded_rows(bias):
    torch.manual_seed(0)
    layer = nn.Linear(13, 7, bias=bias)
    with torch.no_grad():
        layer.weight[3] = 0  # a row that is worth nothing
    rows = torch.randn(2, 5, 13)
    rows[0, 2] = 0
    found = reduced(nn.Sequential(layer), "int8")(rows)
    x, w = rows.double(), layer.weight.detach().double()
    units = [t.abs().amax(-1, keepdim=True) / 127 for t in (x, w)]
    x, w = (
        unit * torch.where(unit > 0, t / unit, 0).round()
        for t, unit in zip((x, w), units, strict=True)
    )
    exact = x @ w.t() + (layer.bias.detach().double() if bias else 0)
    # Sums of whole numbers are exact; what follows rounds some three times.
    assert_close(found.double(), exact, rtol=0, atol=4 * 2**-24 * float(exact.abs().max()))


@pytest.mark.parametrize("what", [torch.nan, torch.inf])
def test_what_is_not_finite_is_seen_through_int8(what):
    layer = reduced(nn.Sequential(nn.Linear(5, 3)), "int8")
    rows = torch.ones(2, 5).index_fill(1, torch.tensor([4]), what)
    rows[1] = 1
    found = layer(rows)
    assert found[0].isnan().all() and found[1].isfinite().all()


def test_float32_is_the_model_and_bfloat16_leaves_the_model_alone():
    model = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2, bias=False))
    assert reduced(model, "float32") is model
    half = reduced(model, "bfloat16")
    assert [type(layer) for layer in half] == [HalfLinear, nn.LayerNorm, HalfLinear]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    inputs = torch.randn(7, 3)
    assert half(inputs).dtype == torch.float32
