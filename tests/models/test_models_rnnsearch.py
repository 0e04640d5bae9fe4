"""RNNsearch against the equations of Bahdanau, Cho and Bengio 2015 written as loops."""

from __future__ import annotations

import loops
import pytest
import torch
from model_cases import SOURCE, Case, built, fresh, padded, slack, sources, targets
from torch.testing import assert_close

from qkv.config import AttentionConfig, RNNsearchConfig
from qkv.models.build import build_model


def oracle(model, score, source, target):
    """Logits [T][V] and alignment [T][S]: sections 3.1 and 3.2, appendix A.2.2."""
    annotations, _, _, first_backward = loops.encode(model.encoder, "gru", source)
    s = torch.tanh(model.initial.weight @ first_backward + model.initial.bias)
    hidden, output = model.output.hidden, model.output.linear.project
    sizes = [len(s), model.target_embedding.embedding_dim, len(annotations[0])]
    U, V, C = hidden.weight.split(sizes, dim=1)
    logits, rows = [], []
    for token in target:
        context, alpha = loops.attend(score, model.attention.score, s, annotations)  # from s_{i-1}
        embedded = model.target_embedding.weight[token]
        x = torch.cat([embedded, context])
        s, _ = loops.gru(x, s, s, loops.weights_of(model.cell))
        t = U @ s + V @ embedded + C @ context + hidden.bias
        maxima = torch.stack([max(t[2 * k], t[2 * k + 1]) for k in range(len(t) // 2)])
        logits.append(output.weight @ maxima + output.bias)
        rows.append(alpha)
    return torch.stack(logits), torch.stack(rows)


@pytest.mark.parametrize(
    ("score", "hidden", "layers"),
    [("additive", 7, 1), ("additive", 7, 2), *((score, 14, 1) for score in loops.SCORES)],
)
def test_rnnsearch_equals_bahdanau_2015_written_as_loops(score, hidden, layers):
    attention = AttentionConfig(score=score, hidden=3)
    config = RNNsearchConfig(
        attention=attention, embedding=5, hidden=hidden, maxout=11, layers=layers
    )
    model = built(Case("", config))
    ids, inputs = sources([3, 1, 6]), targets([5, 2, 4])
    source, lengths = padded(ids)
    target = padded(inputs)[0]
    logits = model(source, lengths, target)
    rows = model.force(source, lengths, target, need_attention=True).attention
    for b, (one, other) in enumerate(zip(ids, inputs, strict=True)):
        expected, alpha = oracle(model, score, one, other)
        assert_close(logits[b, : len(other)], expected, **slack())
        assert_close(rows[b, : len(other), : len(one)], alpha, **slack())


@pytest.mark.parametrize("layers", [1, 2])
def test_attention_is_uniform_over_the_real_tokens_before_training(layers):
    """v = 0 at the start (appendix B.1)."""
    model = fresh(Case("", RNNsearchConfig(embedding=5, hidden=7, maxout=11, layers=layers)))
    source, lengths = padded(sources([3, 1, 6]))
    rows = model.force(source, lengths, padded(targets([4] * 3))[0], need_attention=True).attention
    for b, size in enumerate(lengths.tolist()):
        uniform = [1 / size] * size + [0.0] * (6 - size)
        # One rounding of 1 / size.
        expected = torch.tensor(uniform).expand(4, 6)
        assert_close(rows[b], expected, rtol=0.0, atol=torch.finfo(torch.float32).eps)


def test_the_additive_score_has_the_width_that_the_config_says():
    config = RNNsearchConfig(attention=AttentionConfig(hidden=3), embedding=5, hidden=7)
    assert build_model(config, SOURCE, SOURCE).attention.score.v.shape == (3,)
    default = RNNsearchConfig(embedding=5, hidden=7)
    assert build_model(default, SOURCE, SOURCE).attention.score.v.shape == (7,)
