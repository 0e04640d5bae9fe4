"""The compiled step is the model's step: the same numbers, however threads share it."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cases import built, padded, sources, variant
from test_models_ready import COVERED, walk
from test_models_steps import SIZES, Move, walks
from torch.testing import assert_close

from qkv.config import SearchConfig, TransformerConfig
from qkv.models import transformer_compiled as compiled
from qkv.models.build import build_model
from qkv.models.transformer_compiled import CompiledSearch
from qkv.models.transformer_search import TransformerSearch
from qkv.search import search
from qkv.text import BOS, EOS

pytest.importorskip("numba")

# Sums of some 50 numbers near 1 follow each other in some 20 products: 1000 roundings of 2^-24.
CLOSE = {"rtol": 0, "atol": 1000 * 2**-24}


def small(case):
    return built(case, torch.float32)


# A number that another rounding takes to the other side moves by a unit, 1 / 127 of its row's
# largest, and what reads it by a hundredth of a typical sum; on these walks few do.
NEAR = {"rtol": 0, "atol": 0.05}


@pytest.fixture(params=["alone", "columns", "rows"])
def way(request, monkeypatch):
    """One thread; two that share each product's columns; two that take rows through all layers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if request.param == "alone" else 2)
    if request.param == "rows":
        monkeypatch.setattr(compiled, "_SHARED", 0)
        monkeypatch.setattr(compiled, "_CHUNK", 2)
    yield request.param
    torch.set_num_threads(before)


def agree(model, moves):
    """What the compiled step and the model see on a walk."""
    decoder = model.ready()
    assert isinstance(decoder, CompiledSearch)
    for (found, rows), (expected, whole) in zip(
        walk(decoder, moves), walk(model, moves), strict=True
    ):
        assert_close(found, expected, **CLOSE)
        assert_close(rows, whole, **CLOSE)


@pytest.mark.parametrize("case", COVERED, ids=str)
@settings(max_examples=5, deadline=None)
@given(moves=walks())
def test_any_walk_gives_the_numbers_of_the_model(case, moves):
    agree(small(case), moves)


@pytest.mark.parametrize("case", COVERED, ids=str)
def test_int8_too_is_what_torch_computes(case, way):
    model = small(case)
    decoder = model.ready("int8")
    assert isinstance(decoder, CompiledSearch) or "VNNI" in str(model.search_plan("int8"))
    other = TransformerSearch(model, "int8")
    for (found, rows), (expected, whole) in zip(
        walk(decoder, MOVES), walk(other, MOVES), strict=True
    ):
        assert_close(found, expected, **NEAR)
        assert (found - expected).abs().median() < CLOSE["atol"]
        assert_close(rows, whole, **NEAR)


MOVES = [
    Move(None, [[BOS]] * 3),
    Move(([0, 1, 2], [[0, 0, 0]] * 3), [[4, 5, 6], [7, 8, 9], [10, 11, 12]]),
    Move(([0, 2], [[2, 0, 1], [1, 2, 1]]), [[13, 13, 13], [13, 13, 13]]),
    Move(None, [[4, 5, 6], [7, 8, 9]]),
    Move(([1], [[2, 2, 0, 1, 1]]), [[4, 5, 6, 7, 8]]),
]


@pytest.mark.parametrize("case", [COVERED[0], COVERED[2]], ids=str)
def test_threads_that_share_columns_or_rows_find_the_same(case, way):
    agree(small(case), MOVES)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 12, 13, 29])
def test_every_number_of_rows_is_multiplied_whatever_the_widths(rows, way):
    """Tiles of 12, 8, 4, 2 and 1 rows; widths that fill no panel, one, and one and a half."""
    torch.manual_seed(rows)
    config = TransformerConfig(width=44, heads=2, feedforward=67, decoder_layers=2)
    model = build_model(config, 31, 97).eval()
    tokens = torch.randint(4, 31, (rows, 1))
    source = torch.randint(4, 31, (rows, 5)), torch.randint(1, 6, (rows,))
    step, other = (one.step(tokens, one.start(*source)) for one in (model.ready(), model))
    assert_close(step.log_probs, other.log_probs, **CLOSE)
    assert_close(step.attention, other.attention, **CLOSE)


def test_the_state_is_a_value():
    decoder = small(COVERED[0]).ready()
    state = decoder.start(*padded(sources(SIZES)))
    state = decoder.step(torch.full((3, 1), BOS), state).state
    state = state.select(torch.arange(3), torch.zeros(3, 2, dtype=torch.long))
    tokens = torch.tensor([[4, 5], [6, 7], [8, 9]])
    state = decoder.step(tokens, state).state  # of a buffer that has room for what follows
    before = decoder.step(tokens, state)
    decoder.step(tokens + 1, state)
    decoder.step(tokens + 2, before.state)
    state.select(torch.tensor([2]), torch.tensor([[1]]))
    assert_close(decoder.step(tokens, state).log_probs, before.log_probs, rtol=0, atol=0)
    first = decoder.step(tokens, before.state).log_probs
    decoder.step(tokens + 1, state)  # wants the place that `before` took
    assert_close(decoder.step(tokens, before.state).log_probs, first, rtol=0, atol=0)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("rows", [1, 3, 29])
def test_the_best_token_is_the_first_of_the_largest_that_may_be_written(rows, precision, way):
    torch.manual_seed(rows)
    config = TransformerConfig(width=44, heads=2, feedforward=67, decoder_layers=2)
    model = build_model(config, 31, 577).eval()
    with torch.no_grad():
        model.output.project.bias[:2] = 50.0  # PAD and BOS are likeliest
        model.output.project.bias[-1] = 1.0
    decoder = model.ready(precision)
    state = decoder.start(torch.randint(4, 31, (rows, 5)), torch.randint(1, 6, (rows,)))
    tokens = torch.randint(4, 577, (rows, 1))
    step, best = decoder.step(tokens, state), decoder.best(tokens, state)
    log_probs, places = step.log_probs[..., 2:].max(-1)
    assert torch.equal(best.tokens, places + 2)
    assert_close(best.log_probs, log_probs, rtol=0, atol=0)
    assert_close(best.attention, step.attention, rtol=0, atol=0)


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_a_search_longer_than_every_reserve_writes_the_text_of_torch(method, way):
    model = copy.deepcopy(small(COVERED[0]))
    with torch.no_grad():
        model.output.project.bias[EOS] = -99
    config = SearchConfig(method=method, beam=3, max_ratio=0.0, max_extra=40)
    found, expected = (
        search(one, *padded(sources((3, 5))), config)
        for one in (model.ready(), TransformerSearch(model, "float32"))
    )
    for (one, *_), (other, *_) in zip(found, expected, strict=True):
        assert one.tokens == other.tokens
        assert len(one.tokens) == 40
        assert_close(one.log_prob, other.log_prob, rtol=0, atol=40 * CLOSE["atol"])
        assert_close(one.attention, other.attention, **CLOSE)


@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=40))
def test_units_are_whole_sentences_and_all_of_them(lengths):
    bounds = compiled._groups(lengths)
    ends = list(itertools.accumulate(lengths, initial=0))
    assert bounds[0] == 0 and bounds[-1] == ends[-1]
    assert all(a < b for a, b in itertools.pairwise(bounds)) and set(bounds) <= set(ends)
    aim = ends[-1] / max(1, round(ends[-1] / compiled._CHUNK))
    assert max(b - a for a, b in itertools.pairwise(bounds)) <= aim + 1.5 * max(lengths)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", ["output.project.bias", "decoder.0.around_self.norm.weight"])
def test_a_parameter_that_is_not_a_number_is_seen_wherever_it_stands(name, precision, way):
    """In the last column alone, or in all."""
    model = copy.deepcopy(small(COVERED[0]))
    with torch.no_grad():
        dict(model.named_parameters())[name][-1] = torch.nan
    decoder = model.ready(precision)
    step = decoder.step(torch.full((3, 1), BOS), decoder.start(*padded(sources(SIZES))))
    assert step.log_probs.isnan().all()
    best = decoder.best(torch.full((3, 1), BOS), decoder.start(*padded(sources(SIZES))))
    assert best.log_probs.isnan().all()


def test_the_plan_says_which_way_and_why(monkeypatch):
    model = small(COVERED[0])
    assert model.search_plan().path == "compiled"
    assert isinstance(model.ready(), CompiledSearch)
    half = model.search_plan("bfloat16")
    assert half.path == "laid out" and "bfloat16" in half.reason
    assert built(COVERED[0]).search_plan().path == "laid out"
    assert "float64" in str(built(COVERED[0]).search_plan())
    assert small(variant("rnnsearch")).search_plan().path == "model"
    other = small(variant("transformer", kv_heads=1)).search_plan()
    assert other.path == "model" and "attention" in other.reason
    monkeypatch.setenv("QKV_NUMBA", "0")
    compiled.absent.cache_clear()
    try:
        off = model.search_plan()
        assert off.path == "laid out" and "QKV_NUMBA=0" in off.reason
        assert isinstance(model.ready(), TransformerSearch)
    finally:
        compiled.absent.cache_clear()
