"""The step protocol: any walk that search may take equals reading the whole target at once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cases import CASES, EXACT, FIRST, TARGET, built, padded, slack, sources
from torch.testing import assert_close

from qkv.text import BOS

every_case = pytest.mark.parametrize("case", CASES, ids=str)
SIZES = (5, 1, 4)


@dataclass(frozen=True)
class Move:
    """What search does between two steps: select (None: nothing), then feed tokens."""

    select: tuple[list[int], list[list[int]]] | None
    tokens: list[list[int]]


@st.composite
def walks(draw: st.DrawFn) -> list[Move]:
    """Steps with sentences that leave and change places, and beams that grow, shrink and cross."""
    sentences, beams, moves = len(SIZES), 1, []
    for i in range(draw(st.integers(1, 4))):
        select = None
        if draw(st.booleans()):
            kept = draw(st.permutations(range(sentences)))[: draw(st.integers(1, sentences))]
            width = draw(st.integers(1, 3))
            rows = st.lists(st.integers(0, beams - 1), min_size=width, max_size=width)
            select = (kept, [draw(rows) for _ in kept])
            sentences, beams = len(kept), width
        token = st.integers(FIRST, TARGET - 1) if i else st.just(BOS)
        row = st.lists(token, min_size=beams, max_size=beams)
        moves.append(Move(select, [draw(row) for _ in range(sentences)]))
    return moves


def hypotheses(moves):
    """The bookkeeping in lists: after each move, [(sentence, tokens so far)] row by row."""
    sentences, histories = list(range(len(SIZES))), [[[]] for _ in SIZES]
    for move in moves:
        if move.select is not None:
            kept, beams = move.select
            histories = [
                [histories[i][k] for k in row] for i, row in zip(kept, beams, strict=True)
            ]
            sentences = [sentences[i] for i in kept]
        histories = [
            [[*history, token] for history, token in zip(own, tokens, strict=True)]
            for own, tokens in zip(histories, move.tokens, strict=True)
        ]
        yield [(s, one) for s, own in zip(sentences, histories, strict=True) for one in own]


@every_case
@settings(max_examples=20, deadline=None)
@given(moves=walks())
def test_any_walk_step_by_step_equals_reading_the_whole_target(case, moves):
    model, ids = built(case), sources(SIZES)
    found, rows = [], []
    state = model.start(*padded(ids))
    for move in moves:
        if move.select is not None:
            kept, beams = move.select
            state = state.select(torch.tensor(kept), torch.tensor(beams))
        tokens = torch.tensor(move.tokens)
        log_probs, state, attention = model.step(tokens, state)
        assert log_probs.shape == (*tokens.shape, TARGET)
        found += log_probs.flatten(0, 1)
        if model.attends:
            assert attention.shape == (*tokens.shape, max(SIZES))
            rows += attention.flatten(0, 1)
        assert (attention is not None) == model.attends
    expected = [one for after in hypotheses(moves) for one in after]
    last = torch.tensor([len(tokens) - 1 for _, tokens in expected])
    forced = model.force(
        *padded([ids[sentence] for sentence, _ in expected]),
        padded([tokens for _, tokens in expected])[0],
        need_attention=True,
    )
    picked = torch.arange(len(expected)), last
    whole = model.output(forced.features[picked]).log_softmax(-1)
    assert_close(torch.stack(found), whole, **slack())
    if model.attends:
        assert_close(
            torch.stack(rows)[:, : forced.attention.shape[-1]], forced.attention[picked], **slack()
        )


@every_case
def test_log_probs_are_normalised(case):
    model = built(case)
    step = model.step(torch.full((3, 1), BOS), model.start(*padded(sources(SIZES))))
    assert_close(step.log_probs.exp().sum(-1), torch.ones(3, 1).double(), **slack())


@every_case
def test_a_state_is_a_value_that_no_step_and_no_selection_changes(case):
    model = built(case)
    state = model.start(*padded(sources(SIZES)))
    state = model.step(torch.full((3, 1), BOS), state).state
    state = state.select(torch.arange(3), torch.zeros(3, 2, dtype=torch.long))
    tokens = torch.tensor([[4, 5], [6, 7], [8, 9]])
    before = model.step(tokens, state)
    model.step(tokens + 1, state)
    model.step(tokens + 2, before.state)
    state.select(torch.tensor([2]), torch.tensor([[1]]))
    after = model.step(tokens, state)
    assert_close(after.log_probs, before.log_probs, **EXACT)
