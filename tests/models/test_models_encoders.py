"""Recurrent encoders against loops."""

from __future__ import annotations

import loops
import pytest
import torch
from model_cases import EXACT, SOURCE, padded, slack, sources, stir
from torch.testing import assert_close

from qkv.models.encoders import CELLS, RecurrentEncoder


def make(cell, layers, bidirectional, dropout=0.0):
    encoder = RecurrentEncoder(
        SOURCE, 5, 7, cell=cell, layers=layers, bidirectional=bidirectional, dropout=dropout
    )
    stir(encoder.double())
    return encoder


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_an_encoder_equals_its_recurrence_written_as_loops(cell, layers, bidirectional):
    encoder = make(cell, layers, bidirectional)
    ids = sources([3, 1, 6, 6])
    found = encoder(*padded(ids, extra=2))
    assert found.states.shape == (4, 8, 7 * (1 + bidirectional)) and encoder.width == 7 * (
        1 + bidirectional
    )
    for b, row in enumerate(ids):
        states, finals, cells, first_backward = loops.encode(encoder, cell, row)
        assert_close(found.states[b, : len(row)], torch.stack(states), **slack())
        assert_close(found.final[:, b], torch.stack(finals), **slack())
        assert_close(found.cells[:, b], torch.stack(cells), **slack())
        assert_close(found.first_backward[b], first_backward, **slack())


@pytest.mark.parametrize("cell", CELLS)
def test_annotations_are_zero_at_the_pads(cell):
    ids = sources([3, 1, 6])
    states = make(cell, 2, True)(*padded(ids, extra=2)).states
    for b, row in enumerate(ids):
        assert_close(states[b, len(row) :], torch.zeros(8 - len(row), 14).double(), **EXACT)


def test_dropout_falls_on_embeddings_annotations_and_between_layers_only_in_training():
    encoder = make("gru", 2, True, dropout=0.5)
    source = padded(sources([11] * 13))
    plain = encoder.eval()(*source)
    assert_close(encoder(*source).states, plain.states, **EXACT)
    dropped = encoder.train()(*source).states
    share = (dropped == 0).double().mean().item()
    assert abs(share - 0.5) < 0.06  # 2002 draws: a standard deviation of 0.011
