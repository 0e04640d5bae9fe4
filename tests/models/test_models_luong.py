"""Luong's model against the equations of Luong, Pham and Manning 2015 written as loops."""

from __future__ import annotations

import loops
import pytest
import torch
from model_cases import Case, built, padded, slack, sources, targets
from torch.testing import assert_close

from qkv.config import AttentionConfig, LuongConfig


def oracle(model, config, source, target):
    """Logits [T][V] and alignment [T][S]: eqs. 5 to 8, and section 3.3."""
    score = config.attention.score
    annotations, hidden, cells, _ = loops.encode(model.encoder, "lstm", source)
    if config.bidirectional:
        W, b = model.bridge.weight, model.bridge.bias
        hidden, cells = ([W @ state + b for state in states] for states in (hidden, cells))
    attentional = torch.zeros(config.hidden).double()
    logits, rows = [], []
    for token in target:
        x = model.target_embedding.weight[token]
        if config.input_feeding:
            x = torch.cat([x, attentional])
        for k in range(config.layers):
            weights = loops.weights_of(model.recurrence, f"_l{k}")
            hidden[k], cells[k] = loops.lstm(x, hidden[k], cells[k], weights)
            x = hidden[k]
        context, alpha = loops.attend(score, model.attention.score, x, annotations)  # from h_t
        attentional = torch.tanh(model.combine.weight @ torch.cat([context, x]))
        output = model.output.project
        logits.append(output.weight @ attentional + output.bias)
        rows.append(alpha)
    return torch.stack(logits), torch.stack(rows)


@pytest.mark.parametrize("input_feeding", [True, False])
@pytest.mark.parametrize(
    ("score", "hidden", "layers", "bidirectional"),
    [
        ("concat", 7, 1, True),
        ("general", 7, 3, True),
        ("dot", 7, 2, False),
        *((score, 14, 2, True) for score in loops.SCORES),
    ],
)
def test_luong_equals_luong_2015_written_as_loops(
    score, hidden, layers, bidirectional, input_feeding
):
    config = LuongConfig(
        attention=AttentionConfig(score=score, hidden=3),
        input_feeding=input_feeding,
        embedding=5,
        hidden=hidden,
        layers=layers,
        bidirectional=bidirectional,
    )
    model = built(Case("", config))
    ids, inputs = sources([3, 1, 6]), targets([5, 2, 4])
    source, lengths = padded(ids)
    target = padded(inputs)[0]
    logits = model(source, lengths, target)
    rows = model.force(source, lengths, target, need_attention=True).attention
    for b, (one, other) in enumerate(zip(ids, inputs, strict=True)):
        expected, alpha = oracle(model, config, one, other)
        assert_close(logits[b, : len(other)], expected, **slack())
        assert_close(rows[b, : len(other), : len(one)], alpha, **slack())
