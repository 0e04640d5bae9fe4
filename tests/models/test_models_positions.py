"""Positions: sinusoids and learned tables."""

from __future__ import annotations

import math

import pytest
import torch
from model_cases import EXACT, built, padded, sources, targets, variant
from torch.testing import assert_close

from qkv.models.positions import Learned, Sinusoidal, sinusoids
from qkv.text import BOS

LEARNED = variant("transformer", positions="learned", max_positions=7)
SINUSOIDAL = variant("transformer", positions="sinusoidal", max_positions=7)


@pytest.mark.parametrize("width", [1, 2, 7, 14])
@pytest.mark.parametrize("start", [0, 101])
def test_sinusoids_equal_vaswani_2017_section_3_5(width, start):
    table = sinusoids(11, width, start=start)
    assert table.shape == (11, width)
    for row in range(11):
        for column in range(width):
            pair = column // 2
            angle = (start + row) / 10000 ** (2 * pair / width)
            expected = math.sin(angle) if column % 2 == 0 else math.cos(angle)
            # An angle below 112 that is off by 4 roundings.
            found = table[row, column].item()
            assert_close(found, expected, rtol=0.0, atol=112 * 4 * torch.finfo(torch.float64).eps)


@pytest.mark.parametrize("positions", [Sinusoidal(), Learned(13, 5).double()])
def test_positions_are_added_from_the_start_on(positions):
    embedded = torch.randn(2, 11, 5, dtype=torch.float64)
    whole = positions(embedded)
    assert_close(positions(embedded[:, 4:], 4), whole[:, 4:], **EXACT)
    assert_close(whole[0] - embedded[0], whole[1] - embedded[1], rtol=0.0, atol=1e-15)
    assert not torch.equal(whole[0, 0] - embedded[0, 0], whole[0, 1] - embedded[0, 1])


def test_learned_positions_refuse_what_lies_beyond_their_table():
    model = built(LEARNED)
    model(*padded(sources([7])), padded(targets([7]))[0])
    with pytest.raises(ValueError, match=r"8 tokens.*7 learned positions.*sinusoidal"):
        model(*padded(sources([8])), padded(targets([7]))[0])
    with pytest.raises(ValueError, match=r"8 tokens.*model\.max_positions"):
        model(*padded(sources([7])), padded(targets([8]))[0])
    state = model.start(*padded(sources([2])))
    for _ in range(7):
        state = model.step(torch.tensor([[BOS]]), state).state
    with pytest.raises(ValueError, match="8 tokens"):
        model.step(torch.tensor([[BOS]]), state)


def test_sinusoids_have_no_last_position():
    model = built(SINUSOIDAL)
    logits = model(*padded(sources([1009])), padded(targets([601]))[0])
    assert logits.shape[1] == 601 and logits.isfinite().all()
