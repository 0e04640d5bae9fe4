"""RNNenc against the equations of Cho et al. 2014 written as loops."""

from __future__ import annotations

import loops
import pytest
import torch
from model_cases import Case, built, padded, slack, sources, targets
from torch.testing import assert_close

from qkv.config import RNNencConfig
from qkv.models.encoders import CELLS


def oracle(model, config, source, target):
    """Logits [T][V]: every layer starts from its encoder layer; the context enters every step."""
    _, finals, _, _ = loops.encode(model.encoder, config.cell, source)
    context = finals[-1]
    W, b = model.initial.weight, model.initial.bias
    hidden = [torch.tanh(W @ final + b) for final in finals]
    cells = [torch.zeros_like(h) for h in hidden]
    logits = []
    for token in target:
        embedded = model.target_embedding.weight[token]
        x = torch.cat([embedded, context])
        for k in range(config.layers):
            weights = loops.weights_of(model.recurrence, f"_l{k}")
            hidden[k], cells[k] = loops.CELLS[config.cell](x, hidden[k], cells[k], weights)
            x = hidden[k]
        features = torch.cat([x, embedded, context])
        logits.append(model.output.project.weight @ features + model.output.project.bias)
    return torch.stack(logits)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_rnnenc_equals_cho_2014_written_as_loops(cell, layers, bidirectional):
    config = RNNencConfig(
        cell=cell, embedding=5, hidden=7, layers=layers, bidirectional=bidirectional, dropout=0.0
    )
    model = built(Case("", config))
    ids, inputs = sources([3, 1, 6]), targets([5, 2, 4])
    logits = model(*padded(ids), padded(inputs)[0])
    for b, (source, target) in enumerate(zip(ids, inputs, strict=True)):
        expected = oracle(model, config, source, target)
        assert_close(logits[b, : len(target)], expected, **slack())


def test_rnnenc_has_no_alignment():
    model = built(Case("", RNNencConfig(embedding=5, hidden=7)))
    source, lengths = padded(sources([3, 2]))
    forced = model.force(source, lengths, padded(targets([2, 2]))[0], need_attention=True)
    step = model.step(torch.ones(2, 1, dtype=torch.long), model.start(source, lengths))
    assert not model.attends and forced.attention is None and step.attention is None
